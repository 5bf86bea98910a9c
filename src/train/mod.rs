//! Training: a config's data and model, the loop over epochs and steps with its evaluations, and what is kept of it.

mod fit;
mod keeper;
mod memory;
mod state;

pub use fit::{Fitted, Start, fit};
pub use keeper::{During, Event, Keeper, Memory, Which, read_finite, write_all};
pub use state::{Best, Saved, TrainState};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::checkpoint::{CheckpointError, Reader};
use crate::config::{Config, TableError, check_placements, placements, table_rules};
use crate::data::{self, Contents, DataError, Dataset, Loading, Schema, TrainRows};
use crate::evaluate::{BestBy, BestByError};
use crate::executor::{Executor, ExecutorError};
use crate::initial::{self, InitialError};
use crate::model::{self, ModelError};
use crate::optim::{Rule, TableRule};
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
    Table(#[from] TableError),
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
    pub train: TrainRows,
    pub valid: Option<Arc<Dataset>>,
    pub test: Option<Arc<Dataset>>,
    pub loading: Loading,
    data_dir: PathBuf,
    best_by: BestBy,
    /// Of tables that have their own, by number.
    table_rules: Vec<Option<TableRule>>,
}

/// A config's rows, wherever they lie.
struct Rows {
    schema: Schema,
    train: TrainRows,
    valid: Option<Dataset>,
    test: Option<Dataset>,
    loading: Loading,
}

impl Rows {
    fn load(config: &Config, data_dir: &Path, run: Option<&Schema>) -> Result<Self, DataError> {
        let (data, features, tasks) = (&config.data, &config.feature, &config.task);
        let seed = seed::derive(config.seed, "data");
        Ok(match &data.stream {
            None => {
                let data::Splits { schema, train, valid, test, loading, .. } =
                    data::load(data, features, tasks, data_dir, seed, run)?;
                Self { schema, train: Arc::new(train).into(), valid, test, loading }
            }
            Some(stream) => {
                let data::Streamed { schema, train, valid, test, loading } =
                    data::stream(data, stream, features, tasks, data_dir, seed, run)?;
                Self { schema, train: train.into(), valid, test, loading }
            }
        })
    }
}

/// Reads the data and builds the plan.
///
/// # Errors
/// Whatever is wrong with the data, the model, `[[table]]` or `train.best`.
pub fn prepare(config: Config, data_dir: &Path) -> Result<Prepared, TrainError> {
    prepare_from(config, data_dir, None)
}

/// As [`prepare`], going on from a run's schema if there is one: known texts keep their rows, new ones come behind.
///
/// # Errors
/// As [`prepare`], and where the config's features, tables or tasks are not the run's.
pub fn prepare_from(config: Config, data_dir: &Path, run: Option<&Schema>) -> Result<Prepared, TrainError> {
    let rows = Rows::load(&config, data_dir, run)?;
    let plan = Arc::new(plan(&config, &rows.schema)?);
    let table_rules = table_rules(&config.table, &plan.input)?;
    check_placements(&plan, &Rule { own: table_rules.clone(), ..config.rule(1) })?;
    let best_by = BestBy::parse(config.train.best.as_deref(), &plan)?;
    initial::check(&plan, &config.table)?;
    if let (Some(patience), None) = (config.train.patience, &rows.valid) {
        return Err(TrainError::NothingToJudgeBy(patience));
    }
    Ok(Prepared {
        config,
        schema: rows.schema,
        plan,
        train: rows.train,
        valid: rows.valid.map(Arc::new),
        test: rows.test.map(Arc::new),
        loading: rows.loading,
        data_dir: data_dir.to_owned(),
        best_by,
        table_rules,
    })
}

/// The plan of a config over fitted data.
///
/// # Errors
/// Where the model cannot be built.
pub fn plan(config: &Config, schema: &Schema) -> Result<Plan, ModelError> {
    let tasks = config.task.iter().map(|t| Task { name: t.name.clone(), kind: t.kind, weight: t.weight });
    let units: Vec<_> = config.task.iter().map(|t| t.tower_units.clone()).collect();
    let plan = model::build(&config.model, tasks.collect(), &units, schema.input().clone())?;
    Ok(Plan { placements: placements(&config.table, &plan.input), ..plan })
}

impl Prepared {
    /// Fresh parameters, with the tables that the config takes from files; or all those of a file.
    ///
    /// # Errors
    /// Where a file cannot be read or does not fit the model.
    pub fn parameters(&self, init: Option<&Path>) -> Result<Parameters<f32>, InitialError> {
        if let Some(path) = init {
            return Ok(Parameters::read(&self.plan, &mut Reader::open(path)?)?);
        }
        let mut parameters = Parameters::init(&self.plan, seed::derive(self.config.seed, "init"));
        initial::read_tables(&self.plan, &self.config.table, &self.data_dir, &mut parameters)?;
        Ok(parameters)
    }

    /// A run's parameters, with fresh rows behind those of tables that have grown since.
    ///
    /// # Errors
    /// Where they do not fit the model.
    pub fn grown(&self, run: &Plan, parameters: Parameters<f32>) -> Result<Parameters<f32>, CheckpointError> {
        Parameters::grow(&self.plan, run, parameters, seed::derive(self.config.seed, "continue"))
    }

    /// The data of evaluations, with its name: validation rows, else test rows.
    fn judged_by(&self) -> Option<(&'static str, &Arc<Dataset>)> {
        self.valid.as_ref().map(|d| ("valid", d)).or(self.test.as_ref().map(|d| ("test", d)))
    }

    /// The data of the final figures: test rows, else validation rows, else the training rows themselves, of which streamed
    /// ones have the others beside them.
    pub fn reported_on(&self) -> (&'static str, Arc<Dataset>) {
        match (&self.test, &self.valid, &self.train) {
            (Some(test), ..) => ("test", test.clone()),
            (None, Some(valid), _) => ("valid", valid.clone()),
            (None, None, TrainRows::Memory(train)) => ("train", train.clone()),
            (None, None, TrainRows::Shards(_)) => ("none", Arc::default()),
        }
    }

    /// This, with the training rows in memory: of streamed ones those that are shuffled together first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn in_memory(self) -> Result<Self, DataError> {
        Ok(match &self.train {
            TrainRows::Memory(_) => self,
            TrainRows::Shards(shards) => Self { train: Arc::new(shards.first()?).into(), ..self },
        })
    }

    /// Offers the training rows to a device that can hold them; what batches of them are to carry then.
    ///
    /// # Errors
    /// The device's.
    pub fn offer(&self, executor: &mut dyn Executor) -> Result<Contents, ExecutorError> {
        Ok(match &self.train {
            TrainRows::Memory(train) if executor.hold(train, self.most_held_bytes())? => Contents::NumbersAndSegments,
            TrainRows::Memory(_) | TrainRows::Shards(_) => Contents::ValuesAndSegments,
        })
    }

    /// Bytes of encoded rows that a device is to hold at the most.
    fn most_held_bytes(&self) -> u64 {
        self.config.train.data_on_device_mb.saturating_mul(1 << 20)
    }

    /// How a step of this run changes the parameters.
    pub fn rule(&self) -> Rule {
        let steps = (self.config.train.epochs * self.steps_per_epoch()) as u64;
        Rule { own: self.table_rules.clone(), ..self.config.rule(steps) }
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.train.rows().div_ceil(self.config.train.batch_size)
    }
}
