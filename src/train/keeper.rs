//! What is kept of a run, and where: a folder keeps files, memory keeps the best parameters alone.

use std::io;
use std::ops::Range;

use super::{TrainError, TrainState};
use crate::alarms::{Alarm, GateSample};
use crate::checkpoint::{Reader, pieces};
use crate::evaluate::Evaluation;
use crate::executor::{Executor, Progress, is_parameter};

/// What a keeper is told while training goes on.
pub enum Event<'a> {
    /// The sums of the steps since the last event of this kind.
    Steps {
        epoch: usize,
        step: u64,
        rows: usize,
        progress: &'a Progress,
        samples_per_second: f64,
        /// Of the dense parameters in the last of the steps.
        learning_rate: f64,
        /// Likewise, as [`Executor::gradient_norm`] has it.
        gradient_norm: Option<f64>,
    },
    /// Something looks wrong, in a report of steps or in an evaluation.
    Alarm { epoch: usize, step: u64, during: During, alarm: &'a Alarm },
    /// The figures of an evaluation: at the end of an epoch, or within.
    Evaluated {
        epoch: usize,
        step: u64,
        ends_epoch: bool,
        split: &'static str,
        evaluation: Option<&'a Evaluation>,
        /// The weights of gates on a sample of its rows.
        gates: &'a [GateSample],
        best: bool,
    },
    /// Patience ran out.
    Stopped { epoch: usize, step: u64, evaluations: usize },
    /// A request to stop came in.
    Interrupted { epoch: usize, step: u64 },
}

/// When an alarm came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum During {
    Training,
    Evaluation,
}

/// Which parameters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    #[default]
    Best,
    Last,
}

/// Where a run keeps what it comes to. All of it lies on the executor's device when it is asked to be kept.
pub trait Keeper {
    /// # Errors
    /// Where it cannot be taken down.
    fn observe(&mut self, event: &Event) -> io::Result<()>;

    /// Keeps the parameters, in place of those kept before under this name.
    ///
    /// # Errors
    /// A parameter that is not finite, the device's, or where they cannot be written; what was kept before stays then.
    fn keep(&mut self, which: Which, executor: &mut dyn Executor, at: (usize, u64)) -> Result<(), TrainError>;

    /// Gives the executor the best parameters back.
    ///
    /// # Errors
    /// The device's, or where they cannot be read.
    fn recall_best(&mut self, executor: &mut dyn Executor) -> Result<(), TrainError>;

    /// Keeps all that training goes on from.
    ///
    /// # Errors
    /// As [`Keeper::keep`].
    fn checkpoint(&mut self, executor: &mut dyn Executor, state: &TrainState) -> Result<(), TrainError>;
}

/// Keeps the best parameters, and nothing that outlives the process.
#[derive(Default)]
pub struct Memory {
    best: Vec<(String, Vec<f32>)>,
}

impl Keeper for Memory {
    fn observe(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn keep(&mut self, which: Which, executor: &mut dyn Executor, at: (usize, u64)) -> Result<(), TrainError> {
        if which == Which::Best {
            let parameters = executor.state().into_iter().filter(|(name, _)| is_parameter(name));
            let values = parameters
                .map(|(name, shape)| read_finite(executor, &name, 0..shape[0], at).map(|values| (name, values)));
            self.best = values.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    fn recall_best(&mut self, executor: &mut dyn Executor) -> Result<(), TrainError> {
        Ok(self.best.iter().try_for_each(|(name, values)| executor.write_state(name, values))?)
    }

    fn checkpoint(&mut self, _: &mut dyn Executor, _: &TrainState) -> Result<(), TrainError> {
        Ok(())
    }
}

/// The values of rows of a tensor of the state, as they may be kept `at` an epoch and a step.
///
/// # Errors
/// The device's, or where a value is not finite: the last update of all has no loss behind it that would tell.
pub fn read_finite(
    executor: &mut dyn Executor,
    name: &str,
    rows: Range<usize>,
    at: (usize, u64),
) -> Result<Vec<f32>, TrainError> {
    let values = executor.read_rows(name, rows)?;
    match values.iter().all(|x| x.is_finite()) {
        true => Ok(values),
        false => Err(TrainError::ParameterNotFinite { step: at.1, epoch: at.0, parameter: name.into() }),
    }
}

/// Replaces every tensor of the state that a file has, some rows at a time.
///
/// # Errors
/// The device's, or where the file cannot be read.
pub fn write_all(executor: &mut dyn Executor, file: &mut Reader) -> Result<(), TrainError> {
    for (name, shape) in file.tensors() {
        for rows in pieces(&shape) {
            executor.write_rows(&name, rows.start, &file.read_rows(&name, rows.clone())?)?;
        }
    }
    Ok(())
}
