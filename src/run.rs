//! A run's folder: everything that eval and predict need, and what happened.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | the config as resolved, with overrides |
//! | `schema.json` | vocabularies and statistics of the training rows |
//! | `best.safetensors` | parameters of the best epoch by the validation rows; of the last where there are none |
//! | `last.safetensors` | parameters after the last epoch, or at an interruption |
//! | `metrics.jsonl` | a line per report of steps, per epoch, and for the end |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;

use crate::checkpoint::{self, CheckpointError, WriteError, write_atomically};
use crate::config::{Config, ConfigError};
use crate::data::Schema;
use crate::model::ModelError;
use crate::plan::{Parameters, Plan};
use crate::train::{Event, Fitted, Prepared, plan};

/// A run folder that cannot be made or read.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{0} is not empty; name another folder with --out, or remove it")]
    NotEmpty(PathBuf),
    #[error("cannot make the run's folder {path}")]
    Create { path: PathBuf, source: std::io::Error },
    #[error("{path} is no run folder: {missing} is missing")]
    NotARun { path: PathBuf, missing: &'static str },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

const CONFIG: &str = "config.toml";
const SCHEMA: &str = "schema.json";
const METRICS: &str = "metrics.jsonl";

/// A run's folder while it is being written. One that is dropped before it holds parameters leaves nothing behind.
pub struct RunFolder {
    path: PathBuf,
    /// Whether the run made it, or found it empty.
    is_new: bool,
    plan: Arc<Plan>,
    metrics: File,
}

impl RunFolder {
    /// Makes the folder with config and schema in it. Without `out` it is `runs/<config's name>`, with a number behind
    /// where that exists.
    ///
    /// # Errors
    /// Where the folder cannot be written, or holds something.
    pub fn create(out: Option<&Path>, config_file: &Path, p: &Prepared) -> Result<Self, RunError> {
        let path = out.map_or_else(|| free_name(config_file), Path::to_path_buf);
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RunError::NotEmpty(path));
        }
        let failed = |source| RunError::Create { path: path.clone(), source };
        let config = toml::to_string(&p.config).map_err(|e| failed(std::io::Error::other(e)))?;
        let is_new = !path.exists();
        fs::create_dir_all(&path).map_err(failed)?;
        let metrics = File::create(path.join(METRICS)).map_err(failed)?;
        let folder = Self { path, is_new, plan: p.plan.clone(), metrics };
        write_atomically(&folder.path.join(CONFIG), |w| w.write_all(config.as_bytes()))?;
        write_atomically(&folder.path.join(SCHEMA), |w| Ok(serde_json::to_writer(w, &p.schema)?))?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what training tells.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn observe(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Steps { epoch, step, progress, samples_per_second, .. } => {
                let tasks: serde_json::Map<String, Value> = self
                    .plan
                    .tasks
                    .iter()
                    .zip(&progress.tasks)
                    .map(|(task, sums)| {
                        let mean = (sums.count > 0.0).then(|| sums.loss / sums.count);
                        (task.name.clone(), json!({ "loss": mean, "streaming_auc": sums.histogram.auc() }))
                    })
                    .collect();
                self.line(&json!({
                    "event": "steps", "epoch": epoch, "step": step, "tasks": tasks,
                    "samples_per_second": samples_per_second,
                }))
            }
            Event::Epoch { epoch, step, split, evaluation, parameters, best } => {
                self.checkpoint("last", parameters, *epoch, *step)?;
                if *best {
                    self.checkpoint("best", parameters, *epoch, *step)?;
                }
                self.line(&json!({
                    "event": "epoch", "epoch": epoch, "step": step, "split": split, "best": best,
                    "evaluation": evaluation,
                }))
            }
            Event::Interrupted { epoch, step, parameters } => {
                self.checkpoint("last", parameters, *epoch, *step)?;
                if !self.path.join("best.safetensors").exists() {
                    self.checkpoint("best", parameters, *epoch, *step)?;
                }
                self.line(&json!({ "event": "interrupted", "epoch": epoch, "step": step }))
            }
        }
    }

    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(&mut self, fitted: &Fitted) -> std::io::Result<()> {
        self.line(&json!({
            "event": "end", "epoch": fitted.epoch, "split": fitted.split, "evaluation": fitted.evaluation,
            "samples_per_second": fitted.samples_per_second, "waited_for_batches": fitted.waited,
        }))
    }

    fn checkpoint(&self, name: &str, parameters: &Parameters<f32>, epoch: usize, step: u64) -> std::io::Result<()> {
        let numbers = [("epoch", epoch.to_string()), ("step", step.to_string())];
        let metadata: BTreeMap<String, String> = numbers.map(|(k, v)| (k.into(), v)).into();
        let path = self.path.join(format!("{name}.safetensors"));
        checkpoint::write(&path, &parameters.to_tensors(&self.plan), &metadata).map_err(std::io::Error::other)
    }

    fn line(&mut self, value: &Value) -> std::io::Result<()> {
        writeln!(self.metrics, "{value}")
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if self.path.join("last.safetensors").exists() {
            return;
        }
        for file in [CONFIG, SCHEMA, METRICS] {
            let _ = fs::remove_file(self.path.join(file));
        }
        if self.is_new {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// `runs/<stem>`, or the first of `runs/<stem>-2`, `-3`, ... that is not there.
fn free_name(config_file: &Path) -> PathBuf {
    let stem = config_file.file_stem().map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned());
    let name = |n: usize| Path::new("runs").join(if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(1))
}

/// A run read back.
#[derive(Debug)]
pub struct Run {
    pub config: Config,
    pub schema: Schema,
    pub plan: Arc<Plan>,
    pub parameters: Parameters<f32>,
}

/// Which parameters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    #[default]
    Best,
    Last,
}

impl Run {
    /// # Errors
    /// Names the file that is missing or does not fit.
    pub fn load(path: &Path, which: Which) -> Result<Self, RunError> {
        for missing in [CONFIG, SCHEMA] {
            if !path.join(missing).is_file() {
                return Err(RunError::NotARun { path: path.into(), missing });
            }
        }
        let config = Config::load(&path.join(CONFIG), &[])?;
        let schema_file = path.join(SCHEMA);
        let damaged = |reason: String| RunError::Damaged { path: schema_file.clone(), reason };
        let text = fs::read(&schema_file).map_err(|e| damaged(e.to_string()))?;
        let schema: Schema = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        schema.check(&config.task).map_err(damaged)?;
        let plan = Arc::new(plan(&config, &schema)?);
        let name = match which {
            Which::Best => "best",
            Which::Last => "last",
        };
        let tensors = checkpoint::read(&path.join(format!("{name}.safetensors")))?;
        let parameters = Parameters::from_tensors(&plan, &tensors)?;
        Ok(Self { config, schema, plan, parameters })
    }
}
