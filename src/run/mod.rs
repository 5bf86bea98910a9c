//! A run's folder: everything that eval and predict need, what happened, and what a killed run goes on from.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | the config as resolved, with overrides |
//! | `schema.json` | vocabularies and statistics of the training rows |
//! | `init.safetensors` | the parameters that training started from, where `--init`, a table's `init` or `--continue` named some |
//! | `best.safetensors` | parameters of the best evaluation by the validation rows; the last where there are none |
//! | `last.safetensors` | parameters after the last epoch, or where training stopped |
//! | `metrics.jsonl` | a line per report of steps, per evaluation, and for the end |
//! | `events.out.tfevents.polygate` | the same for TensorBoard, and gate weights as histograms |
//! | `checkpoints/` | all that `--resume` goes on from, after some steps |

mod board;
mod checkpoints;
mod load;
mod resume;

pub use crate::train::Which;
pub use load::Run;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;

use crate::checkpoint::{self, CheckpointError, WriteError, write_atomically};
use crate::config::ConfigError;
use crate::executor::{Executor, Progress, is_parameter};
use crate::initial::InitialError;
use crate::model::ModelError;
use crate::plan::{Parameters, Plan};
use crate::tensorboard::EventFile;
use crate::train::{Event, Fitted, Keeper, Prepared, TrainError, TrainState, read_finite, write_all};
use checkpoints::{Checkpoints, Digests, Note};

/// A run folder that cannot be made or read.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{0} is not empty; name another folder with --out, or remove it")]
    NotEmpty(PathBuf),
    #[error("cannot make the run's folder {path}")]
    Create { path: PathBuf, source: std::io::Error },
    #[error("{path} is no run folder: {missing} is missing")]
    NotARun { path: PathBuf, missing: &'static str },
    #[error("there is no run at {0} to resume; start one with --out")]
    NoRun(PathBuf),
    #[error("the run at {0} was ended before its first step could be; remove it and start it again")]
    NeverBegan(PathBuf),
    #[error("{run} was trained with another config: {differences}; take its own, {run}/config.toml")]
    OtherConfig { run: PathBuf, differences: String },
    #[error("{run} was fitted to other training rows: its schema.json is not what this data gives")]
    OtherSchema { run: PathBuf },
    #[error("{checkpoint} was made with other data: the {splits} rows differ")]
    OtherRows { checkpoint: PathBuf, splits: String },
    #[error("cannot cut {path} back to the checkpoint's {bytes} bytes")]
    Cut { path: PathBuf, bytes: u64, source: io::Error },
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
    #[error(transparent)]
    Initial(#[from] InitialError),
}

const CONFIG: &str = "config.toml";
const SCHEMA: &str = "schema.json";
const INIT: &str = "init.safetensors";
const METRICS: &str = "metrics.jsonl";

/// The file of a run's parameters.
fn parameters_file(which: Which) -> &'static str {
    match which {
        Which::Best => "best.safetensors",
        Which::Last => "last.safetensors",
    }
}

/// A run's folder while it is being written. One that is dropped before it holds parameters leaves nothing behind.
pub struct RunFolder {
    path: PathBuf,
    made: Made,
    plan: Arc<Plan>,
    metrics: File,
    events: EventFile,
    checkpoints: Checkpoints,
    data: Digests,
}

/// What of a folder is this process's, to be removed where nothing comes of it.
#[derive(Clone, Copy, PartialEq)]
enum Made {
    Folder,
    /// It was there, and empty.
    Files,
    /// The run is resumed.
    Nothing,
}

impl RunFolder {
    /// Makes the folder with config and schema in it, and `init`, if training starts from parameters of a file. Without
    /// `out` it is `runs/<config's name>`, with a number behind where that exists. The config comes last: a folder with
    /// one can be resumed.
    ///
    /// # Errors
    /// Where the folder cannot be written, or holds something.
    pub fn create(
        out: Option<&Path>,
        config_file: &Path,
        p: &Prepared,
        init: Option<&Parameters<f32>>,
    ) -> Result<Self, RunError> {
        let path = out.map_or_else(|| free_name(config_file), Path::to_path_buf);
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RunError::NotEmpty(path));
        }
        let failed = |source| RunError::Create { path: path.clone(), source };
        let config = toml::to_string(&p.config).map_err(|e| failed(io::Error::other(e)))?;
        let made = if path.exists() { Made::Files } else { Made::Folder };
        fs::create_dir_all(&path).map_err(failed)?;
        let folder = Self::open(&path, made, p).map_err(failed)?;
        folder.checkpoints.make_folder().map_err(|source| RunError::Create { path: folder.path.clone(), source })?;
        write_atomically(&folder.path.join(SCHEMA), |w| Ok(serde_json::to_writer(w, &p.schema)?))?;
        if let Some(init) = init {
            init.write(&p.plan, &folder.path.join(INIT))?;
        }
        write_atomically(&folder.path.join(CONFIG), |w| w.write_all(config.as_bytes()))?;
        Ok(folder)
    }

    /// Opens the files that grow, to write behind what they hold.
    fn open(path: &Path, made: Made, p: &Prepared) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            made,
            plan: p.plan.clone(),
            metrics: OpenOptions::new().append(true).create(true).open(path.join(METRICS))?,
            events: EventFile::open(&path.join(board::FILE))?,
            checkpoints: Checkpoints::new(path, p.config.train.keep_checkpoints),
            data: Digests::of(p),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(&mut self, fitted: &Fitted) -> io::Result<()> {
        self.line(&json!({
            "event": "end", "epoch": fitted.epoch, "step": fitted.step, "split": fitted.split,
            "evaluation": fitted.evaluation, "samples_per_second": fitted.samples_per_second,
            "waited_for_batches": fitted.waited,
        }))
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        // At once, so that a killed process leaves whole lines.
        self.metrics.write_all(format!("{value}\n").as_bytes())
    }

    /// Each task's mean loss and streamed AUC.
    fn sums(&self, progress: &Progress) -> serde_json::Map<String, Value> {
        let tasks = self.plan.tasks.iter().zip(&progress.tasks).map(|(task, sums)| {
            let mean = (sums.count > 0.0).then(|| sums.loss / sums.count);
            (task.name.clone(), json!({ "loss": mean, "streaming_auc": sums.histogram.auc() }))
        });
        tasks.collect()
    }
}

impl Keeper for RunFolder {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        let (step, values) = board::values(&self.plan, event);
        self.events.add(step, &values)?;
        self.line(&match event {
            Event::Steps { epoch, step, progress, samples_per_second, learning_rate, gradient_norm, .. } => json!({
                "event": "steps", "epoch": epoch, "step": step, "tasks": self.sums(progress),
                "samples_per_second": samples_per_second, "learning_rate": learning_rate,
                "gradient_norm": gradient_norm,
            }),
            Event::Alarm { epoch, step, during, alarm } => json!({
                "event": "alarm", "epoch": epoch, "step": step, "during": during, "alarm": alarm,
                "text": alarm.to_string(),
            }),
            Event::Evaluated { epoch, step, ends_epoch, split, evaluation, best, .. } => {
                let name = if *ends_epoch { "epoch" } else { "evaluation" };
                json!({
                    "event": name, "epoch": epoch, "step": step, "split": split, "best": best,
                    "evaluation": evaluation,
                })
            }
            Event::Stopped { epoch, step, evaluations } => json!({
                "event": "early_stop", "epoch": epoch, "step": step, "evaluations_without_gain": evaluations,
            }),
            Event::Interrupted { epoch, step } => json!({ "event": "interrupted", "epoch": epoch, "step": step }),
        })
    }

    fn keep(&mut self, which: Which, executor: &mut dyn Executor, at: (usize, u64)) -> Result<(), TrainError> {
        let numbers = [("epoch", at.0.to_string()), ("step", at.1.to_string())];
        let metadata: BTreeMap<String, String> = numbers.map(|(k, v)| (k.into(), v)).into();
        let mut tensors = executor.state();
        tensors.retain(|(name, _)| is_parameter(name));
        let values = |name: &str, rows| read_finite(executor, name, rows, at).map(Into::into);
        checkpoint::write_with(&self.path.join(parameters_file(which)), &tensors, &metadata, values)
    }

    fn recall_best(&mut self, executor: &mut dyn Executor) -> Result<(), TrainError> {
        let mut reader = checkpoint::Reader::open(&self.path.join(parameters_file(Which::Best)))?;
        write_all(executor, &mut reader)
    }

    fn checkpoint(&mut self, executor: &mut dyn Executor, state: &TrainState) -> Result<(), TrainError> {
        // What they hold up to here must last as long as the checkpoint that counts on it.
        let mut lengths = BTreeMap::new();
        for (name, file) in [(METRICS, &self.metrics), (board::FILE, self.events.file())] {
            file.sync_data()?;
            lengths.insert(name.to_owned(), file.metadata()?.len());
        }
        self.checkpoints.write(executor, &Note { train: state.clone(), data: self.data.clone(), lengths })
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let is_of_use = self.path.join(parameters_file(Which::Last)).exists() || self.checkpoints.any();
        if self.made == Made::Nothing || is_of_use {
            return;
        }
        for file in [CONFIG, SCHEMA, INIT, METRICS, board::FILE] {
            let _ = fs::remove_file(self.path.join(file));
        }
        self.checkpoints.remove_folder();
        if self.made == Made::Folder {
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
