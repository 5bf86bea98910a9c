use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Opened, RunOnFiles, table};
use crate::checkpoint::write_atomically;
use crate::evaluate::evaluate;

/// Print the exact metrics of a run's model on labelled files.
#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    on: RunOnFiles,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl EvalArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Opened { config, plan, dataset, mut executor } = self.on.open(true, &[])?;
        let batch_size = config.train.batch_size;
        let weight = config.metrics.gauc_weight;
        let evaluation = evaluate(executor.as_mut(), &plan, &dataset, batch_size, weight)?;
        println!("{}", table::evaluation(&evaluation));
        if let Some(path) = self.json {
            write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &evaluation)?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
