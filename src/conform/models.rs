//! Whole models: parameters after some steps on an adapter, beside the reference in f64 and in f32.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::ahead::in_order;
use super::case::Class;
use super::report::{Drift, ModelReport};
use super::scene::{Draw, batches, family_plan};
use crate::data::Batch;
use crate::executor::{Executor, ExecutorError, TaskSums};
use crate::gpu::{Gpu, GpuExecutor};
use crate::optim::Rule;
use crate::plan::{Parameters, Plan};
use crate::reference::{Real, Reference};

/// Steps after which parameters are compared.
const STEPS: [u64; 3] = [1, 10, 100];

/// Rows of a batch, and batches that come in turn.
const ROWS: usize = 96;
const BATCHES: usize = 5;

/// Runs of the reference in f32, all but the first from parameters with a last bit more or less. A unit of relu near zero,
/// or a gradient near Adam's eps, throws one run off and not the other; the largest drift of all says how far rounding
/// alone can take a model. An adapter that drifts farther is held to more runs, since what happens to it may be rare.
const TWINS: [usize; 2] = [64, 1024];

/// An adapter may drift this many times as far as the reference in f32, which rounds as much but in another order.
const TIMES_TWIN: f64 = 4.0;

/// A drift below this is rounding of the last bit, whatever the twin's is.
const LEAST_DRIFT: f64 = 1e-6;

/// As [`LEAST_DRIFT`], of a step's loss.
const LEAST_LOSS: f64 = 1e-6;

pub const FAMILIES: [(&str, &str); 5] = [
    ("shared bottom", "family = 'shared_bottom', bottom_units = [24, 12], tower_units = [8]"),
    ("OMoE", "family = 'omoe', experts = 3, expert_units = [16, 12], gate_units = [8], tower_units = [8]"),
    ("MMoE", "family = 'mmoe', experts = 4, expert_units = [16, 12], tower_units = [8]"),
    ("CGC", "family = 'cgc', task_experts = 2, shared_experts = 2, expert_units = [16, 12], tower_units = [8]"),
    (
        "PLE",
        "family = 'ple', levels = 2, task_experts = 1, shared_experts = 2, expert_units = [16, 12], tower_units = [8]",
    ),
];

/// A family, and what the reference makes of it.
pub struct Model {
    family: &'static str,
    plan: Arc<Plan>,
    start: Parameters<f32>,
    batches: Vec<Batch>,
    exact: Run<f64>,
    twins: Mutex<Twins>,
}

/// Runs of the reference in f32.
struct Twins {
    /// What their beginnings are drawn from.
    draw: Draw,
    /// The largest drift and loss of so many runs, as [`TWINS`] counts them.
    largest: Vec<Vec<Off>>,
}

/// Calls `take` with each family in turn; the reference trains the next ones meanwhile.
///
/// # Errors
/// The first that `take` gives.
pub fn run<E>(seed: u64, mut take: impl FnMut(&Model) -> Result<(), E>) -> Result<(), E> {
    in_order(FAMILIES, |(family, model)| Model::new(seed, family, model), |model| take(&model))
}

impl Model {
    fn new(seed: u64, family: &'static str, model: &str) -> Self {
        let mut draw = Draw::new(crate::seed::derive(seed, family), Class::Normal);
        let plan = family_plan(model);
        let start = Parameters::init(&plan, crate::seed::derive(seed, "init"));
        let batches = batches(&plan, ROWS, BATCHES, &mut draw);
        let exact = reference_run(&plan, start.map(f64::from), &batches);
        let twins = Mutex::new(Twins { draw, largest: Vec::new() });
        let model = Self { family, plan, start, batches, exact, twins };
        model.twins(0);
        model
    }

    /// The largest drift and loss of `TWINS[more]` runs of the reference in f32.
    fn twins(&self, more: usize) -> Vec<Off> {
        let mut twins = self.twins.lock().unwrap_or_else(PoisonError::into_inner);
        while twins.largest.len() <= more {
            let before = twins.largest.len().checked_sub(1);
            let (from, to) = (before.map_or(0, |before| TWINS[before]), TWINS[twins.largest.len()]);
            let mut begin =
                |run: usize| if run == 0 { self.start.clone() } else { nudged(&self.start, &mut twins.draw) };
            let starts: Vec<Parameters<f32>> = (from..to).map(&mut begin).collect();
            let run = |start| self.off(&reference_run(&self.plan, start, &self.batches));
            let runs: Vec<Vec<Off>> = starts.into_par_iter().map(run).collect();
            let mut largest = before.map_or_else(|| vec![Off::default(); STEPS.len()], |b| twins.largest[b].clone());
            for run in runs {
                largest.iter_mut().zip(run).for_each(|(largest, off)| *largest = largest.max(off));
            }
            twins.largest.push(largest);
        }
        twins.largest[more].clone()
    }

    fn off(&self, run: &Run<f32>) -> Vec<Off> {
        run.iter().zip(&self.exact).map(|(a, b)| Off::of(a, b, &self.start)).collect()
    }

    /// Trains it on a device, twice.
    ///
    /// # Errors
    /// The device's.
    pub fn on(&self, gpu: &Gpu) -> Result<ModelReport, ExecutorError> {
        let adapter = adapter_run(gpu, &self.plan, &self.start, &self.batches)?;
        let again = adapter_run(gpu, &self.plan, &self.start, &self.batches)?;
        let (own, mut twins, mut runs) = (self.off(&adapter), self.twins(0), TWINS[0]);
        for (more, count) in TWINS.into_iter().enumerate().skip(1) {
            if !own.iter().zip(&twins).all(|(own, twin)| own.holds(twin)) {
                (twins, runs) = (self.twins(more), count);
            }
        }
        let family = self.family;
        let mut report =
            ModelReport { family: family.into(), drifts: Vec::new(), deterministic: true, failures: Vec::new() };
        for (i, (own, twin)) in own.iter().zip(&twins).enumerate() {
            let steps = STEPS[i] as usize;
            if !own.holds(twin) {
                report.failures.push(format!(
                    "{family}: after {steps} steps off by {:.1e}, its loss by {:.1e}; the reference in f32 by {:.1e} and \
                     {:.1e} at the most, over {runs} runs",
                    own.drift, own.loss, twin.drift, twin.loss
                ));
            }
            report.deterministic &= adapter[i].0.map(f32::to_bits) == again[i].0.map(f32::to_bits);
            report.drifts.push(Drift { steps, adapter: own.drift, twin: twin.drift, loss: own.loss });
        }
        Ok(report)
    }
}

/// How far a run is off after some steps.
#[derive(Clone, Copy, Default)]
struct Off {
    drift: f64,
    loss: f64,
}

impl Off {
    fn of(run: &(Parameters<f32>, f64), exact: &(Parameters<f64>, f64), start: &Parameters<f32>) -> Self {
        let drift = drift(&run.0.map(f64::from), &exact.0, start);
        Self { drift, loss: (run.1 / exact.1 - 1.0).abs() }
    }

    fn max(self, other: Self) -> Self {
        Self { drift: self.drift.max(other.drift), loss: self.loss.max(other.loss) }
    }

    /// NaN never holds.
    fn holds(&self, twin: &Self) -> bool {
        self.drift <= (TIMES_TWIN * twin.drift).max(LEAST_DRIFT)
            && self.loss <= (TIMES_TWIN * twin.loss).max(LEAST_LOSS)
    }
}

/// Parameters with a last bit more or less, or as they are.
fn nudged(parameters: &Parameters<f32>, draw: &mut Draw) -> Parameters<f32> {
    let mut nudge = |x: &f32| if *x == 0.0 { 0.0 } else { f32::from_bits(x.to_bits() + draw.one_of(&[0, 1, 2]) - 1) };
    let [dense, embedding, statistics] = [&parameters.dense, &parameters.embedding, &parameters.statistics]
        .map(|block| block.iter().map(&mut nudge).collect());
    Parameters { dense, embedding, statistics }
}

/// Parameters and the step's loss after each of [`STEPS`].
type Run<T> = Vec<(Parameters<T>, f64)>;

fn reference_run<T: Real>(plan: &Arc<Plan>, start: Parameters<T>, batches: &[Batch]) -> Run<T> {
    let mut reference = Reference::new(plan.clone(), start);
    let mut run = Vec::new();
    for step in 1..=STEPS[STEPS.len() - 1] {
        reference.take_progress();
        reference.train_step(&batches[step as usize % batches.len()], &Rule::default(), step);
        if STEPS.contains(&step) {
            run.push((reference.parameters().clone(), loss(&reference.take_progress().tasks)));
        }
    }
    run
}

fn adapter_run(
    gpu: &Gpu,
    plan: &Arc<Plan>,
    start: &Parameters<f32>,
    batches: &[Batch],
) -> Result<Run<f32>, ExecutorError> {
    let mut executor = GpuExecutor::new(gpu, plan.clone(), start, ROWS, gpu.default_variants())?;
    let mut run = Vec::new();
    for step in 1..=STEPS[STEPS.len() - 1] {
        if STEPS.contains(&step) {
            executor.progress()?;
        }
        executor.train_step(&batches[step as usize % batches.len()], &Rule::default(), step)?;
        if STEPS.contains(&step) {
            let loss = loss(&executor.progress()?.tasks);
            run.push((executor.parameters()?, loss));
        }
    }
    Ok(run)
}

fn loss(tasks: &[TaskSums]) -> f64 {
    tasks.iter().map(|task| task.loss).sum()
}

/// The distance of parameters from the exact ones, by the way that these went.
fn drift(parameters: &Parameters<f64>, exact: &Parameters<f64>, start: &Parameters<f32>) -> f64 {
    let floats = |p: &Parameters<f64>| p.dense.iter().chain(&p.embedding).copied().collect::<Vec<f64>>();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let (parameters, exact, start) = (floats(parameters), floats(exact), floats(&start.map(f64::from)));
    distance(&parameters, &exact) / distance(&exact, &start)
}
