use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{DeviceArg, table};
use crate::checkpoint::write_atomically;
use crate::data::encode_files;
use crate::evaluate::evaluate;
use crate::run::{Run, Which};

/// Print the exact metrics of a run's model on labelled files.
#[derive(Args)]
pub struct EvalArgs {
    /// The run's folder
    run: PathBuf,
    /// Files of the same columns as those trained on
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The folder of the side tables that the config joins
    #[arg(long, env = "POLYGATE_DATA", value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// Which of the run's parameters
    #[arg(long, value_enum, default_value_t)]
    checkpoint: Which,
    #[command(flatten)]
    device: DeviceArg,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl EvalArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let run = Run::load(&self.run, self.checkpoint)?;
        let device = self.device.select()?;
        let dataset = Arc::new(encode_files(&run.schema, &self.data, &self.data_dir, true, &[])?);
        let batch_size = run.config.train.batch_size;
        let mut executor = device.open(run.plan.clone(), &run.parameters, batch_size)?;
        let weight = run.config.metrics.gauc_weight;
        let evaluation = evaluate(executor.as_mut(), &run.plan, &dataset, batch_size, weight)?;
        println!("{}", table::evaluation(&evaluation));
        if let Some(path) = self.json {
            write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &evaluation)?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
