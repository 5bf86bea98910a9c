//! What training asks of a device, be it the CPU reference or an adapter.

use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use crate::data::{Batch, Dataset};
use crate::metrics::HistogramAuc;
use crate::optim::Rule;
use crate::plan::{Parameters, TensorId};

/// Runs a plan's steps. Each executor holds the parameters and the optimizer's state.
pub trait Executor {
    /// Takes in a data set of up to so many bytes, so that a batch of it need only name its rows; whether it did. Without
    /// it, or where it does not fit, batches bring their values along.
    ///
    /// # Errors
    /// The device's.
    fn hold(&mut self, _dataset: &Dataset, _most_bytes: u64) -> Result<bool, ExecutorError> {
        Ok(false)
    }

    /// One step of forward, backward and optimizer. `step` counts from 1.
    ///
    /// # Errors
    /// The device's; a loss that is not finite shows in [`Executor::progress`].
    fn train_step(&mut self, batch: &Batch, rule: &Rule, step: u64) -> Result<(), ExecutorError>;

    /// What the host has done for the steps of training so far; `None` where the host itself does the steps' work.
    fn host_times(&self) -> Option<HostTimes> {
        None
    }

    /// What the steps since the last call summed up; waits for them.
    fn progress(&mut self) -> Result<Progress, ExecutorError>;

    /// The Euclidean norm of the last step's gradient, before weight decay: of the dense parameters, or, where gradients are
    /// clipped, that of all parameters which they are clipped by, before that. `None` before the first step, and where reading the gradient back would take longer than steps do.
    ///
    /// # Errors
    /// The device's.
    fn gradient_norm(&mut self) -> Result<Option<f64>, ExecutorError>;

    /// The logits of batches one after another, `[rows, tasks]`.
    fn predict(&mut self, batches: &mut dyn Iterator<Item = Batch>) -> Result<Vec<f32>, ExecutorError>;

    /// Runs the model on a batch, and gives the values of some of the plan's tensors, `[rows, width]` each.
    ///
    /// # Errors
    /// The device's.
    fn probe(&mut self, batch: &Batch, tensors: &[TensorId]) -> Result<Vec<Vec<f32>>, ExecutorError>;

    /// A copy of the parameters; waits for the steps before.
    fn parameters(&mut self) -> Result<Parameters<f32>, ExecutorError>;

    /// Makes the optimizers' arrays, as they are before the first step of a rule, so that they are in the state and there
    /// is room for them. Where those of the rule's formulas are there already, they stay.
    ///
    /// # Errors
    /// Where the device has no room.
    fn prepare(&mut self, rule: &Rule) -> Result<(), ExecutorError>;

    /// Names and shapes of all that training goes on from, tensor by tensor, the parameters first.
    fn state(&self) -> Vec<(String, Vec<usize>)>;

    /// Some rows of a tensor of the state, along its first dimension, without padding; waits for the steps before.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Panics
    /// Where [`Executor::state`] does not name it, or it has no such rows.
    fn read_rows(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, ExecutorError>;

    /// Replaces the rows of a tensor of the state from `first` on.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Panics
    /// As [`Executor::read_rows`].
    fn write_rows(&mut self, name: &str, first: usize, values: &[f32]) -> Result<(), ExecutorError>;

    /// All of a tensor of the state.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Panics
    /// Where [`Executor::state`] does not name it.
    fn read_state(&mut self, name: &str) -> Result<Vec<f32>, ExecutorError> {
        let state = self.state();
        let shape = state.iter().find(|(own, _)| own == name).map(|(_, shape)| shape);
        let shape = shape.unwrap_or_else(|| panic!("{name} is a tensor of the state"));
        self.read_rows(name, 0..shape[0])
    }

    /// Replaces a tensor of the state.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Panics
    /// As [`Executor::read_state`].
    fn write_state(&mut self, name: &str, values: &[f32]) -> Result<(), ExecutorError> {
        self.write_rows(name, 0, values)
    }
}

/// Whether a tensor of [`Executor::state`] is a parameter; the optimizer's have names that start with `optimizer.`.
pub fn is_parameter(name: &str) -> bool {
    !name.starts_with("optimizer.")
}

/// Why a device cannot go on.
#[derive(Debug, Error)]
pub enum ExecutorError {
    #[error("the device was lost ({0}); the last checkpoint is intact")]
    Lost(String),
    #[error(
        "the device has too little memory for {what}: {message}; use a smaller batch_size, smaller tables, \
         placement = \"host\" for large ones, or --device cpu"
    )]
    OutOfMemory { what: String, message: String },
    #[error("{what}: {bytes} bytes are needed, and this adapter binds at most {limit}; use {advice}, or --device cpu")]
    BindingLimit { what: String, bytes: u64, limit: u64, advice: &'static str },
    #[error("the device refused a command: {0}")]
    Validation(String),
}

/// What the host did for steps of training on an adapter.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostTimes {
    pub steps: u64,
    /// The time in which batches were laid out and their uploads recorded.
    pub upload: Duration,
    /// The time in which kernels were recorded and submitted.
    pub record: Duration,
    /// The wait for the adapter, where as much was submitted as may be in flight. Reports of sums wait apart from it.
    pub wait: Duration,
}

/// Sums over steps.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub tasks: Vec<TaskSums>,
    /// The first step whose loss was not finite. No parameter has changed from that step on.
    pub broken: Option<Broken>,
}

/// Sums of one task over the samples in its mask.
#[derive(Clone, Debug, Default)]
pub struct TaskSums {
    /// Of losses, before the task's weight.
    pub loss: f64,
    /// Of probabilities (values for a regression).
    pub predictions: f64,
    pub labels: f64,
    pub count: f64,
    /// Scores by label; empty for a regression.
    pub histogram: HistogramAuc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub step: u64,
    pub task: usize,
}

impl TaskSums {
    pub fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.predictions += other.predictions;
        self.labels += other.labels;
        self.count += other.count;
        self.histogram.merge(&other.histogram);
    }
}
