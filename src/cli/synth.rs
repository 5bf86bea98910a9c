use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::checkpoint::write_atomically;
use crate::config::SyntheticConfig;
use crate::data::write_csv;

/// Write synthetic data: the MMoE paper's generator (section 3.2), with category and user columns beside it.
#[derive(Args)]
pub struct SynthArgs {
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    #[arg(long, default_value_t = 2)]
    tasks: usize,
    /// The cosine between the tasks' weight vectors
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true)]
    correlation: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The CSV to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl SynthArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = SyntheticConfig {
            rows: self.rows,
            tasks: self.tasks,
            correlation: self.correlation,
            seed: self.seed,
            ..SyntheticConfig::default()
        };
        let mut failed = None;
        let written = write_atomically(&self.out, |w| {
            write_csv(&config, w).map_err(|e| {
                let kind = std::io::Error::other(e.to_string());
                failed = Some(e);
                kind
            })
        });
        match failed {
            Some(error) => Err(error.into()),
            None => {
                written?;
                println!("{} rows: {}", self.rows, self.out.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
