use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Opened, RunOnFiles};
use crate::checkpoint::write_atomically;
use crate::data::Dataset;
use crate::evaluate::predict;
use crate::metrics::sigmoid;
use crate::plan::{Plan, TaskKind};

/// Write a run's predictions for files: one probability (or value, for a regression) column per task.
///
/// Rows stand in the order of the files; rows that the config's filter leaves out have none. Labels are not needed.
#[derive(Args)]
pub struct PredictArgs {
    #[command(flatten)]
    on: RunOnFiles,
    /// The CSV to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Columns of the data to put before the predictions
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "COLUMN")]
    keep: Vec<String>,
}

impl PredictArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Opened { config, plan, dataset, mut executor } = self.on.open(false, &self.keep)?;
        let batch_size = config.train.batch_size;
        let logits = predict(executor.as_mut(), &plan, &dataset, batch_size)?;
        write_atomically(&self.out, |w| write_csv(w, &plan, &dataset, &logits))?;
        println!("{} rows: {}", dataset.rows, self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn write_csv(out: &mut dyn std::io::Write, plan: &Plan, dataset: &Dataset, logits: &[f32]) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let kept = dataset.kept.iter().map(|(name, _)| name.as_str());
    csv.write_record(kept.chain(plan.tasks.iter().map(|t| t.name.as_str())))?;
    for (row, logits) in logits.chunks(plan.tasks.len()).enumerate() {
        for (_, column) in &dataset.kept {
            csv.write_field(&column[row])?;
        }
        for (task, &logit) in plan.tasks.iter().zip(logits) {
            let value = match task.kind {
                TaskKind::Binary => sigmoid(f64::from(logit)),
                TaskKind::Regression => f64::from(logit),
            };
            csv.write_field(value.to_string())?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    csv.flush()
}
