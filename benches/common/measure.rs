//! Timing of steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use polygate::data::{Batch, Contents, Dataset};
use polygate::device::Device;
use polygate::executor::{Executor, ExecutorError};
use polygate::optim::Rule;
use polygate::plan::Plan;
use serde::Serialize;

use super::case::{Case, InputKind, flops_per_step};
use super::numbers;

/// How long to measure.
#[derive(Args, Clone, Copy, Debug)]
pub struct Limits {
    /// Steps that count, waited for one by one, and as many again in a row
    #[arg(long, default_value_t = 20)]
    pub steps: usize,
    /// Steps before those that count
    #[arg(long, default_value_t = 3)]
    pub warm_up: usize,
    /// Stop after this time with the steps that there are, three at least
    #[arg(long, default_value_t = 60.0)]
    pub max_seconds: f64,
}

/// The least number of steps that a median is taken of.
const LEAST: usize = 3;

/// What a case took on a device.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Batch over the median of single steps, each waited for.
    pub samples_per_s: f64,
    /// The same steps again with one wait at the end.
    pub samples_per_s_queued: f64,
    pub step_ms_median: f64,
    pub step_ms: Vec<f64>,
    /// The median part of a step in which the host forms the batch; zero for dense input, whose batches are ready.
    pub form_ms_median: f64,
    pub warm_up_ms: Vec<f64>,
    pub open_ms: f64,
    pub parameters: usize,
    /// Of the matrix products.
    pub flops_per_step: f64,
    /// Mean over samples and tasks, in the first step and in the last one that was waited for.
    pub loss_first: f64,
    pub loss_last: f64,
}

/// A case on a device, with its data.
pub struct Runner {
    pub plan: Arc<Plan>,
    executor: Box<dyn Executor>,
    rule: Rule,
    kind: InputKind,
    data: Dataset,
    /// Row numbers of each batch.
    orders: Vec<Vec<u32>>,
    ready: Vec<Batch>,
    contents: Contents,
    step: u64,
}

impl Runner {
    /// `batches` distinct batches come in turn.
    ///
    /// # Errors
    /// Where the model cannot be built or the device cannot hold it.
    pub fn new(case: &Case, device: &Device, batches: u64) -> anyhow::Result<Self> {
        let plan = case.plan()?;
        let mut executor = {
            let parameters = numbers::parameters(&plan);
            device.open(plan.clone(), &parameters, case.batch)?
        };
        let data = numbers::batches(&plan, case.batch, batches);
        // As PyTorch keeps its tensors on the device.
        let contents = match executor.hold(&data, u64::MAX)? {
            true => Contents::NumbersAndSegments,
            false => Contents::ValuesAndSegments,
        };
        let all: Vec<u32> = (0..data.rows as u32).collect();
        let orders: Vec<Vec<u32>> = all.chunks(case.batch).map(<[u32]>::to_vec).collect();
        let ready = orders.iter().map(|order| Batch::gather(&data, &plan.input, order, contents)).collect();
        Ok(Self { plan, executor, rule: case.rule(), kind: case.input, data, orders, ready, contents, step: 0 })
    }

    pub fn batch(&self) -> &Batch {
        &self.ready[self.step as usize % self.ready.len()]
    }

    /// One step, not waited for. With tables it begins with forming the batch: the ids are sorted there, which PyTorch
    /// does inside its step. Returns the time that this took.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self) -> Result<Duration, ExecutorError> {
        let start = Instant::now();
        let i = self.step as usize % self.ready.len();
        let formed;
        let batch = match self.kind {
            InputKind::Dense => &self.ready[i],
            InputKind::Tables | InputKind::OneTable => {
                formed = Batch::gather(&self.data, &self.plan.input, &self.orders[i], self.contents);
                &formed
            }
        };
        let form = start.elapsed();
        self.step += 1;
        self.executor.train_step(batch, &self.rule, self.step)?;
        Ok(form)
    }

    /// Waits for the steps so far; their mean loss over samples and tasks.
    ///
    /// # Errors
    /// The device's.
    pub fn wait(&mut self) -> Result<f64, ExecutorError> {
        let tasks = self.executor.progress()?.tasks;
        Ok(tasks.iter().map(|t| t.loss / t.count).sum::<f64>() / tasks.len() as f64)
    }
}

impl Measured {
    /// Runs a case.
    ///
    /// # Errors
    /// Where the model cannot be built, or the device's.
    pub fn of(case: &Case, device: &Device, limits: &Limits, batches: u64) -> anyhow::Result<Self> {
        let mut timed = Timed::new(case, device, batches)?;
        let begin = Instant::now();
        while timed.step_ms.len() < limits.steps {
            timed.step(limits)?;
            if timed.step_ms.len() >= LEAST && begin.elapsed().as_secs_f64() > limits.max_seconds / 2.0 {
                break;
            }
        }
        timed.finish()
    }

    /// Runs cases side by side, a step of each in turn, so that what else the machine does meets all of them alike.
    ///
    /// # Errors
    /// Where a model cannot be built, or the device's.
    pub fn in_turn(cases: &[Case], device: &Device, limits: &Limits, batches: u64) -> anyhow::Result<Vec<Self>> {
        let mut timed: Vec<Timed> =
            cases.iter().map(|case| Timed::new(case, device, batches)).collect::<Result<_, _>>()?;
        for _ in 0..limits.warm_up + limits.steps {
            timed.iter_mut().try_for_each(|timed| timed.step(limits))?;
        }
        timed.into_iter().map(Timed::finish).collect()
    }
}

/// A case whose steps are being timed.
struct Timed {
    runner: Runner,
    batch: usize,
    flops_per_step: f64,
    open_ms: f64,
    warm_up_ms: Vec<f64>,
    step_ms: Vec<f64>,
    form_ms: Vec<f64>,
    losses: Vec<f64>,
}

impl Timed {
    fn new(case: &Case, device: &Device, batches: u64) -> anyhow::Result<Self> {
        let start = Instant::now();
        let runner = Runner::new(case, device, batches)?;
        let open_ms = milliseconds(start.elapsed());
        let flops_per_step = flops_per_step(&runner.plan, case.batch);
        let (warm_up_ms, step_ms, form_ms, losses) = (vec![], vec![], vec![], vec![]);
        Ok(Self { runner, batch: case.batch, flops_per_step, open_ms, warm_up_ms, step_ms, form_ms, losses })
    }

    /// One step, waited for.
    fn step(&mut self, limits: &Limits) -> anyhow::Result<()> {
        let start = Instant::now();
        let form = self.runner.step()?;
        self.losses.push(self.runner.wait()?);
        let ms = milliseconds(start.elapsed());
        if self.warm_up_ms.len() < limits.warm_up {
            self.warm_up_ms.push(ms);
        } else {
            self.step_ms.push(ms);
            self.form_ms.push(milliseconds(form));
        }
        Ok(())
    }

    /// As many steps again in a row.
    fn finish(mut self) -> anyhow::Result<Measured> {
        let start = Instant::now();
        for _ in 0..self.step_ms.len() {
            self.runner.step()?;
        }
        self.runner.wait()?;
        let queued = start.elapsed().as_secs_f64() / self.step_ms.len() as f64;
        let step_ms_median = median(&self.step_ms);
        Ok(Measured {
            samples_per_s: self.batch as f64 / step_ms_median * 1e3,
            samples_per_s_queued: self.batch as f64 / queued,
            step_ms_median,
            step_ms: self.step_ms,
            form_ms_median: median(&self.form_ms),
            warm_up_ms: self.warm_up_ms,
            open_ms: self.open_ms,
            parameters: self.runner.plan.parameter_count(),
            flops_per_step: self.flops_per_step,
            loss_first: self.losses[0],
            loss_last: self.losses[self.losses.len() - 1],
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (n, middle) if n % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}
