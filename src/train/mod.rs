//! Training: a config's data and model, the loop over epochs and steps with its evaluations, and what is kept of it.

mod fit;
mod keeper;
mod state;

pub use fit::{Fitted, Start, fit};
pub use keeper::{During, Event, Keeper, Memory, Which, read_finite};
pub use state::{Best, Saved, TrainState};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::checkpoint::{self, CheckpointError};
use crate::config::Config;
use crate::data::{self, Contents, DataError, Dataset, Loading, Schema};
use crate::evaluate::{BestBy, BestByError};
use crate::executor::{Executor, ExecutorError};
use crate::initial::{self, InitialError};
use crate::model::{self, ModelError};
use crate::optim::Rule;
use crate::plan::{Parameters, Plan, Task};
use crate::seed;

/// Why training did not start or did not go on.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Best(#[from] BestByError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "the loss of task {task:?} is not finite in step {step} (epoch {epoch}); {parameters}; nothing was updated from \
         that step on. Try a smaller train.optimizer.learning_rate, and a transform for features of wide range"
    )]
    NotFinite { step: u64, epoch: usize, task: String, parameters: String },
    #[error(
        "after step {step} (epoch {epoch}) the parameter {parameter} is not finite; what was kept before is intact. Try a \
         smaller train.optimizer.learning_rate, and a transform for features of wide range"
    )]
    ParameterNotFinite { step: u64, epoch: usize, parameter: String },
    #[error(
        "train.patience = {0} takes validation rows to judge by; set data.split.valid_ratio or data.valid, or leave it out"
    )]
    NothingToJudgeBy(usize),
    #[error(transparent)]
    Initial(#[from] InitialError),
    #[error("{0}")]
    Keeper(#[from] std::io::Error),
}

/// A config's data and model, ready to train.
pub struct Prepared {
    pub config: Config,
    pub schema: Schema,
    pub plan: Arc<Plan>,
    pub train: Arc<Dataset>,
    pub valid: Option<Arc<Dataset>>,
    pub test: Option<Arc<Dataset>>,
    pub loading: Loading,
    data_dir: PathBuf,
    best_by: BestBy,
}

/// Reads the data and builds the plan.
///
/// # Errors
/// Whatever is wrong with the data, the model, or `train.best`.
pub fn prepare(config: Config, data_dir: &Path) -> Result<Prepared, TrainError> {
    let data_seed = seed::derive(config.seed, "data");
    let splits = data::load(&config.data, &config.feature, &config.task, data_dir, data_seed)?;
    let plan = Arc::new(plan(&config, &splits.schema)?);
    let best_by = BestBy::parse(config.train.best.as_deref(), &plan)?;
    initial::check(&plan, &config.table)?;
    if let (Some(patience), None) = (config.train.patience, &splits.valid) {
        return Err(TrainError::NothingToJudgeBy(patience));
    }
    Ok(Prepared {
        config,
        schema: splits.schema,
        plan,
        train: Arc::new(splits.train),
        valid: splits.valid.map(Arc::new),
        test: splits.test.map(Arc::new),
        loading: splits.loading,
        data_dir: data_dir.to_owned(),
        best_by,
    })
}

/// The plan of a config over fitted data.
///
/// # Errors
/// Where the model cannot be built.
pub fn plan(config: &Config, schema: &Schema) -> Result<Plan, ModelError> {
    let tasks = config.task.iter().map(|t| Task { name: t.name.clone(), kind: t.kind, weight: t.weight });
    let units: Vec<_> = config.task.iter().map(|t| t.tower_units.clone()).collect();
    model::build(&config.model, tasks.collect(), &units, schema.input().clone())
}

impl Prepared {
    /// Fresh parameters, with the tables that the config takes from files; or all those of a file.
    ///
    /// # Errors
    /// Where a file cannot be read or does not fit the model.
    pub fn parameters(&self, init: Option<&Path>) -> Result<Parameters<f32>, InitialError> {
        if let Some(path) = init {
            return Ok(Parameters::from_tensors(&self.plan, &checkpoint::read(path)?)?);
        }
        let mut parameters = Parameters::init(&self.plan, seed::derive(self.config.seed, "init"));
        initial::read_tables(&self.plan, &self.config.table, &self.data_dir, &mut parameters)?;
        Ok(parameters)
    }

    /// The data of evaluations, with its name: validation rows, else test rows.
    fn judged_by(&self) -> Option<(&'static str, &Arc<Dataset>)> {
        self.valid.as_ref().map(|d| ("valid", d)).or(self.test.as_ref().map(|d| ("test", d)))
    }

    /// The data of the final figures: test rows, else validation rows, else the training rows themselves.
    pub fn reported_on(&self) -> (&'static str, &Arc<Dataset>) {
        match (&self.test, &self.valid) {
            (Some(test), _) => ("test", test),
            (None, Some(valid)) => ("valid", valid),
            (None, None) => ("train", &self.train),
        }
    }

    /// Offers the training rows to a device that can hold them; what batches of them are to carry then.
    ///
    /// # Errors
    /// The device's.
    pub fn offer(&self, executor: &mut dyn Executor) -> Result<Contents, ExecutorError> {
        let most = self.config.train.data_on_device_mb.saturating_mul(1 << 20);
        Ok(if executor.hold(&self.train, most)? { Contents::NumbersAndSegments } else { Contents::ValuesAndSegments })
    }

    /// How a step of this run changes the parameters.
    pub fn rule(&self) -> Rule {
        self.config.rule((self.config.train.epochs * self.steps_per_epoch()) as u64)
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.train.rows.div_ceil(self.config.train.batch_size)
    }
}
