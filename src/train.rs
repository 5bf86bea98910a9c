//! The training loop: epochs, steps, evaluation, and the choice of the best epoch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::checkpoint::{self, CheckpointError};
use crate::config::Config;
use crate::data::{self, Batches, Contents, DataError, Dataset, Loading, Order, Schema, TrainRows};
use crate::device::Device;
use crate::evaluate::{BestBy, BestByError, Evaluation, evaluate};
use crate::executor::{Executor, ExecutorError, Progress};
use crate::model::{self, ModelError};
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
        "after step {step} (epoch {epoch}) the parameter {parameter} is not finite; nothing of this epoch was kept. Try a \
         smaller train.optimizer.learning_rate, and a transform for features of wide range"
    )]
    ParameterNotFinite { step: u64, epoch: usize, parameter: String },
    #[error("{0}")]
    Observer(#[from] std::io::Error),
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
    best_by: BestBy,
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
    fn load(config: &Config, data_dir: &Path) -> Result<Self, DataError> {
        let (data, features, tasks) = (&config.data, &config.feature, &config.task);
        let seed = seed::derive(config.seed, "data");
        Ok(match &data.stream {
            None => {
                let data::Splits { schema, train, valid, test, loading, .. } =
                    data::load(data, features, tasks, data_dir, seed)?;
                Self { schema, train: Arc::new(train).into(), valid, test, loading }
            }
            Some(stream) => {
                let data::Streamed { schema, train, valid, test, loading } =
                    data::stream(data, stream, features, tasks, data_dir, seed)?;
                Self { schema, train: train.into(), valid, test, loading }
            }
        })
    }
}

/// Reads the data and builds the plan.
///
/// # Errors
/// Whatever is wrong with the data, the model, or `train.best`.
pub fn prepare(config: Config, data_dir: &Path) -> Result<Prepared, TrainError> {
    let rows = Rows::load(&config, data_dir)?;
    let plan = Arc::new(plan(&config, &rows.schema)?);
    let best_by = BestBy::parse(config.train.best.as_deref(), &plan)?;
    Ok(Prepared {
        config,
        schema: rows.schema,
        plan,
        train: rows.train,
        valid: rows.valid.map(Arc::new),
        test: rows.test.map(Arc::new),
        loading: rows.loading,
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
    /// Fresh parameters, or those of a file.
    ///
    /// # Errors
    /// Where the file cannot be read or does not fit the model.
    pub fn parameters(&self, init: Option<&Path>) -> Result<Parameters<f32>, CheckpointError> {
        match init {
            None => Ok(Parameters::init(&self.plan, seed::derive(self.config.seed, "init"))),
            Some(path) => Parameters::from_tensors(&self.plan, &checkpoint::read(path)?),
        }
    }

    /// The data that epochs are judged by, with its name: validation rows, else test rows.
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
        let most = self.config.train.data_on_device_mb.saturating_mul(1 << 20);
        Ok(match &self.train {
            TrainRows::Memory(train) if executor.hold(train, most)? => Contents::NumbersAndSegments,
            TrainRows::Memory(_) | TrainRows::Shards(_) => Contents::ValuesAndSegments,
        })
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.train.rows().div_ceil(self.config.train.batch_size)
    }
}

/// What an observer is told while training goes on.
pub enum Event<'a> {
    /// The sums of the steps since the last event of this kind.
    Steps { epoch: usize, step: u64, rows: usize, progress: &'a Progress, samples_per_second: f64 },
    /// The figures of an epoch, and the parameters after it.
    Epoch {
        epoch: usize,
        step: u64,
        split: &'static str,
        evaluation: Option<&'a Evaluation>,
        parameters: &'a Parameters<f32>,
        best: bool,
    },
    /// A request to stop came in: the parameters as they are.
    Interrupted { epoch: usize, step: u64, parameters: &'a Parameters<f32> },
}

/// What a finished run comes to.
pub struct Fitted {
    /// The epoch whose parameters the figures are of; the last one where there is no validation data.
    pub epoch: usize,
    pub split: &'static str,
    pub evaluation: Evaluation,
    pub samples_per_second: f64,
    /// The share of the time in steps that training waited for batches: what the loader held the device up at most.
    pub waited: f64,
}

/// Trains, from `parameters` on; `None` if `stop` was set before the end.
///
/// # Errors
/// The device's, the observer's, or a loss that is not finite.
pub fn fit(
    p: &Prepared,
    device: &Device,
    parameters: &Parameters<f32>,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event) -> std::io::Result<()>,
) -> Result<Option<Fitted>, TrainError> {
    let mut executor = device.open(p.plan.clone(), parameters, p.config.train.batch_size)?;
    let contents = p.offer(executor.as_mut())?;
    let mut run =
        Run { p, executor, contents, step: 0, best: None, seconds: 0.0, waited: Duration::ZERO, unreported: 0 };
    for epoch in 1..=p.config.train.epochs {
        if run.epoch(epoch, stop, observe)? == Ended::Early {
            let parameters = run.executor.parameters()?;
            observe(Event::Interrupted { epoch, step: run.step, parameters: &parameters })?;
            return Ok(None);
        }
        run.judge(epoch, observe)?;
    }
    run.finish().map(Some)
}

struct Run<'a> {
    p: &'a Prepared,
    executor: Box<dyn Executor>,
    /// What batches of training rows carry.
    contents: Contents,
    step: u64,
    best: Option<Best>,
    /// Spent in steps.
    seconds: f64,
    /// Of those, for batches.
    waited: Duration,
    /// Rows of the steps since the last [`Event::Steps`].
    unreported: usize,
}

struct Best {
    score: f64,
    epoch: usize,
    parameters: Parameters<f32>,
}

#[derive(PartialEq)]
enum Ended {
    Whole,
    Early,
}

type Observe<'a> = &'a mut dyn FnMut(Event) -> std::io::Result<()>;

impl Run<'_> {
    fn epoch(&mut self, epoch: usize, stop: &AtomicBool, observe: Observe) -> Result<Ended, TrainError> {
        let train = &self.p.config.train;
        let order = match self.p.config.data.shuffle {
            true => Order::Shuffled { seed: seed::derive(self.p.config.seed, "shuffle"), epoch: epoch as u64 },
            false => Order::File,
        };
        let input = Arc::new(self.p.plan.input.clone());
        let rule = train.rule();
        let mut since = Instant::now();
        let mut batches = Batches::new(self.p.train.clone(), input, train.batch_size, order, self.contents);
        for batch in batches.by_ref() {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ended::Early);
            }
            self.step += 1;
            self.executor.train_step(&batch, &rule, self.step)?;
            self.unreported += batch.rows;
            if self.step.is_multiple_of(train.log_every as u64) {
                self.report(epoch, &mut since, observe)?;
            }
        }
        batches.check()?;
        self.waited += batches.waited();
        self.report(epoch, &mut since, observe)?;
        Ok(Ended::Whole)
    }

    /// Reads the sums of the steps since the last time.
    fn report(&mut self, epoch: usize, since: &mut Instant, observe: Observe) -> Result<(), TrainError> {
        if self.unreported == 0 {
            return Ok(());
        }
        let progress = self.executor.progress()?;
        if let Some(broken) = progress.broken {
            let parameters = match self.executor.parameters()?.first_not_finite(&self.p.plan) {
                Some(name) => format!("the first parameter that is not finite is {name}"),
                None => "all parameters are finite".into(),
            };
            let task = self.p.plan.tasks[broken.task].name.clone();
            return Err(TrainError::NotFinite { step: broken.step, epoch, task, parameters });
        }
        let seconds = since.elapsed().as_secs_f64();
        let samples_per_second = self.unreported as f64 / seconds.max(1e-9);
        let rows = std::mem::take(&mut self.unreported);
        *since = Instant::now();
        self.seconds += seconds;
        observe(Event::Steps { epoch, step: self.step, rows, progress: &progress, samples_per_second })?;
        Ok(())
    }

    /// Evaluates after an epoch, and keeps its parameters if it is the best by the validation rows.
    fn judge(&mut self, epoch: usize, observe: Observe) -> Result<(), TrainError> {
        let parameters = self.executor.parameters()?;
        // The last update of an epoch has no loss behind it yet that would tell.
        if let Some(name) = parameters.first_not_finite(&self.p.plan) {
            return Err(TrainError::ParameterNotFinite { step: self.step, epoch, parameter: name.into() });
        }
        let evaluation = match self.p.judged_by() {
            Some((_, dataset)) => Some(self.evaluate(dataset)?),
            None => None,
        };
        let score = evaluation.as_ref().and_then(|e| self.p.best_by.score(e));
        // Without validation rows the last epoch counts: choosing by test rows would flatter them.
        let best = match (&self.p.valid, score, &self.best) {
            (Some(_), Some(score), Some(best)) => score > best.score,
            (Some(_), Some(_), None) => true,
            (Some(_), None, best) => best.is_none(),
            (None, _, _) => true,
        };
        let split = self.p.judged_by().map_or("none", |(name, _)| name);
        observe(Event::Epoch {
            epoch,
            step: self.step,
            split,
            evaluation: evaluation.as_ref(),
            parameters: &parameters,
            best,
        })?;
        if best {
            self.best = Some(Best { score: score.unwrap_or(f64::NEG_INFINITY), epoch, parameters });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Fitted, TrainError> {
        let mut epoch = self.p.config.train.epochs;
        if let Some(best) = self.best.take() {
            epoch = best.epoch;
            self.executor.set_parameters(&best.parameters)?;
        }
        let (split, dataset) = self.p.reported_on();
        let evaluation = self.evaluate(&dataset)?;
        let rows = (self.p.train.rows() * self.p.config.train.epochs) as f64;
        let seconds = self.seconds.max(1e-9);
        let waited = (self.waited.as_secs_f64() / seconds).min(1.0);
        Ok(Fitted { epoch, split, evaluation, samples_per_second: rows / seconds, waited })
    }

    fn evaluate(&mut self, dataset: &Arc<Dataset>) -> Result<Evaluation, ExecutorError> {
        let (batch_size, weight) = (self.p.config.train.batch_size, self.p.config.metrics.gauc_weight);
        evaluate(self.executor.as_mut(), &self.p.plan, dataset, batch_size, weight)
    }
}
