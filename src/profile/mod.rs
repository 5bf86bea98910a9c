//! Where a step's time goes: each dispatch's time against its operations and bytes, and against what the device can do.
//!
//! [`Profile`] is all that is known, and what `--json` writes; [`page::write`] and [`trace::write`] show it. On an adapter
//! every kernel is timed; the device `cpu` is timed by whole steps, as the one op `train step`.

mod feed;
mod roofs;
mod steps;
mod timeline;

pub mod page;
pub mod trace;

use std::time::Instant;

use serde::Serialize;

use crate::data::{Batch, Loading};
use crate::device::Device;
use crate::executor::ExecutorError;
use crate::gpu::{AdapterSummary, Clock, Gpu, GpuExecutor, Roofs, Stopwatch};
use crate::kernels::variant::Variants;
use crate::kernels::{self, Cost, Place};
use crate::plan::Parameters;
use crate::seed;
use crate::train::Prepared;
use feed::Feed;
use steps::{Ran, TimedOp, TimedStep, timed_steps};
pub use timeline::{Lane, Span};

/// Steps before those that count: drivers compile and buffers grow in them.
pub const WARM_UP: usize = 3;

/// What the device `cpu` is timed by.
const WHOLE_STEP: &str = "train step";

/// Of [`Profile`] as JSON: goes up when a field goes, is renamed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 2;

/// A profile of some steps.
#[derive(Debug, Serialize)]
pub struct Profile {
    /// [`SCHEMA_VERSION`].
    pub version: u32,
    pub setting: Setting,
    pub roofs: Roofs,
    /// In the order of a step.
    pub ops: Vec<OpProfile>,
    pub host: Vec<HostPhase>,
    pub loading: Loading,
    /// The last step, nothing left out.
    pub timeline: Vec<Span>,
    /// Seconds of a step in training, many dispatches to a pass and nothing timed in between.
    pub untimed_step_seconds: f64,
}

/// What was profiled.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// The version of polygate.
    pub polygate: &'static str,
    /// `release`, or `debug`: of a debug build no figure counts.
    pub build: &'static str,
    /// When, in UTC, as in 2026-01-31T12:00:00Z.
    pub date: String,
    /// The config file's name.
    pub config: String,
    /// Each `--set`.
    pub overrides: Vec<String>,
    pub parameters: usize,
    pub batch_size: usize,
    /// Those that were timed.
    pub steps: usize,
    /// Those before.
    pub warm_up: usize,
    pub device: String,
    /// None for `cpu`.
    pub adapter: Option<AdapterSummary>,
    /// The forms of the kernels that were timed; None for `cpu`.
    pub variants: Option<Variants>,
    /// Where the ops' times come from.
    pub clock: Clock,
}

/// One op over all steps.
#[derive(Debug, Serialize)]
pub struct OpProfile {
    pub op: String,
    /// Over all steps.
    pub calls: usize,
    /// Mean per step.
    pub seconds: f64,
    /// Of the time of all ops.
    pub share: f64,
    /// Per step.
    pub flops: f64,
    pub bytes: f64,
    /// Operations per byte.
    pub intensity: f64,
    /// The share of the roof that binds the op at its intensity: of the FLOP rate, or of the byte rate. None where the
    /// time was too short for the clock.
    pub roof_share: Option<f64>,
    pub bound_by: Bound,
}

/// The roof that binds an op at its intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Flops,
    Bytes,
}

/// What the host does in a step.
#[derive(Debug, Serialize)]
pub struct HostPhase {
    /// In the background: `gather` rows into a batch, `sort` its ids into segments. In the training thread: wait for the
    /// `next batch`, `upload`, `submit` (record and submit, a pass per kernel), `wait` for the device. `submit` and
    /// `wait` are absent where each kernel's own time holds them.
    pub phase: &'static str,
    pub lane: Lane,
    /// Mean per step.
    pub seconds: f64,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Self::Flops => "flops",
            Self::Bytes => "bytes",
        }
    }
}

impl OpProfile {
    fn new(op: &str, calls: usize, seconds: f64, all: f64, cost: Cost, roofs: &Roofs) -> Self {
        let (by_flops, by_bytes) = (cost.flops / roofs.flops_per_second, cost.bytes / roofs.bytes_per_second);
        Self {
            op: op.into(),
            calls,
            seconds,
            share: seconds / all.max(f64::MIN_POSITIVE),
            flops: cost.flops,
            bytes: cost.bytes,
            intensity: cost.flops / cost.bytes.max(1.0),
            roof_share: (seconds > 0.0).then(|| by_flops.max(by_bytes) / seconds),
            bound_by: if by_flops > by_bytes { Bound::Flops } else { Bound::Bytes },
        }
    }
}

impl Profile {
    /// Seconds of all ops in a step.
    pub fn ops_seconds(&self) -> f64 {
        self.ops.iter().map(|op| op.seconds).sum()
    }

    /// Of training, untimed.
    pub fn samples_per_second(&self) -> f64 {
        self.setting.batch_size as f64 / self.untimed_step_seconds
    }
}

/// What the times of ops are, for people.
pub fn describe(clock: Clock) -> &'static str {
    match clock {
        Clock::Gpu => "GPU timestamps, a pass per kernel",
        Clock::WallOfSubmission => "wall time per submission: this adapter has no timestamps",
        Clock::WallOfStep => "wall time of whole steps: the device cpu has no times per kernel",
    }
}

/// What the caller knows of a profile's setting.
pub struct Named {
    /// The config file's name.
    pub config: String,
    pub overrides: Vec<String>,
}

/// Profiles `steps` steps of a config's training on a device, behind [`WARM_UP`].
///
/// # Errors
/// The device's.
pub fn profile(p: &Prepared, device: &Device, named: Named, steps: usize) -> Result<Profile, ExecutorError> {
    let parameters = Parameters::init(&p.plan, seed::derive(p.config.seed, "init"));
    let mut feed = Feed::new(p);
    let variants = device.variants(&p.plan, p.config.train.batch_size)?;
    let (roofs, timed) = match device.gpu().zip(variants) {
        Some((gpu, variants)) => {
            (gpu.measure_roofs()?, adapter_steps(p, gpu, variants, &parameters, &mut feed, steps)?)
        }
        None => (roofs::measure(), cpu_steps(p, device, &parameters, &mut feed, steps)?),
    };
    let setting = Setting {
        polygate: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        config: named.config,
        overrides: named.overrides,
        parameters: p.plan.parameter_count(),
        batch_size: p.config.train.batch_size,
        steps,
        warm_up: WARM_UP,
        device: device.name.clone(),
        adapter: device.adapter.clone(),
        variants,
        clock: roofs.clock,
    };
    Ok(Profile {
        version: SCHEMA_VERSION,
        setting,
        ops: steps::op_profiles(&timed, &roofs),
        host: steps::host_phases(&timed),
        timeline: timed.last().map_or_else(Vec::new, |last| timeline::of_step(last, &mut feed, roofs.clock)),
        roofs,
        loading: p.loading,
        untimed_step_seconds: untimed(p, device, &parameters, &mut feed, steps)?,
    })
}

fn adapter_steps(
    p: &Prepared,
    gpu: &Gpu,
    variants: Variants,
    parameters: &Parameters<f32>,
    feed: &mut Feed,
    steps: usize,
) -> Result<Vec<TimedStep>, ExecutorError> {
    let mut stopwatch = Stopwatch::new(gpu)?;
    let mut executor = GpuExecutor::new(gpu, p.plan.clone(), parameters, p.config.train.batch_size, variants)?;
    feed.carry(p.offer(&mut executor)?);
    let rule = p.rule();
    timed_steps(feed, steps, |batch, step| {
        let times = executor.profile_step(&mut stopwatch, batch, &rule, step)?;
        let mut phases = vec![("upload", times.upload)];
        if stopwatch.clock() == Clock::Gpu {
            phases.extend([("submit", times.submit), ("wait", times.wait)]);
        }
        let op = |o: crate::gpu::OpTime| TimedOp {
            op: o.op.to_string(),
            start: o.start,
            // A timestamp that is missing is no time.
            seconds: if o.seconds.is_finite() { o.seconds } else { 0.0 },
            cost: o.cost,
        };
        Ok(Ran { phases, ops: times.ops.into_iter().map(op).collect() })
    })
}

fn cpu_steps(
    p: &Prepared,
    device: &Device,
    parameters: &Parameters<f32>,
    feed: &mut Feed,
    steps: usize,
) -> Result<Vec<TimedStep>, ExecutorError> {
    let mut executor = device.open(p.plan.clone(), parameters, p.config.train.batch_size)?;
    feed.carry(p.offer(executor.as_mut())?);
    let rule = p.rule();
    timed_steps(feed, steps, |batch, step| {
        let start = Instant::now();
        executor.train_step(batch, &rule, step)?;
        let seconds = start.elapsed().as_secs_f64();
        let op = TimedOp { op: WHOLE_STEP.into(), start: 0.0, seconds, cost: step_cost(p, batch) };
        Ok(Ran { phases: Vec::new(), ops: vec![op] })
    })
}

/// What all ops of a step cost on an adapter.
fn step_cost(p: &Prepared, batch: &Batch) -> Cost {
    let (place, rule) = (Place { plan: &p.plan, capacity: p.config.train.batch_size }, p.rule());
    let costs = kernels::train_ops(&p.plan, &rule, batch.held.is_some()).map(|op| op.cost(place, batch, &rule));
    costs.fold(Cost::default(), |a, b| Cost { flops: a.flops + b.flops, bytes: a.bytes + b.bytes })
}

/// Seconds of a step as training runs it.
fn untimed(
    p: &Prepared,
    device: &Device,
    parameters: &Parameters<f32>,
    feed: &mut Feed,
    steps: usize,
) -> Result<f64, ExecutorError> {
    let mut executor = device.open(p.plan.clone(), parameters, p.config.train.batch_size)?;
    feed.carry(p.offer(executor.as_mut())?);
    feed.form_as_in_training();
    let rule = p.rule();
    let mut start = Instant::now();
    for i in 0..WARM_UP + steps {
        if i == WARM_UP {
            executor.progress()?;
            start = Instant::now();
        }
        executor.train_step(&feed.next().batch, &rule, i as u64 + 1)?;
    }
    executor.progress()?;
    Ok(start.elapsed().as_secs_f64() / steps as f64)
}
