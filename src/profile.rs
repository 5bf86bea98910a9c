//! Where a step's time goes: each dispatch's time against its operations and bytes, and against what the adapter can do.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::data::{Batches, Order};
use crate::executor::{Executor, ExecutorError};
use crate::gpu::{Clock, Gpu, GpuExecutor, Roofs, StepTimes, Stopwatch};
use crate::kernels::StepOp;
use crate::plan::Parameters;
use crate::seed;
use crate::train::Prepared;

/// Steps before those that count: drivers compile and buffers grow in them.
const WARM_UP: usize = 3;

/// A profile of some steps.
#[derive(Debug, Serialize)]
pub struct Profile {
    pub clock: Clock,
    pub steps: usize,
    pub batch_size: usize,
    pub roofs: Roofs,
    pub ops: Vec<OpProfile>,
    pub host: HostProfile,
    /// A step's time in training, many dispatches to a pass and nothing timed in between.
    pub untimed_step_seconds: f64,
}

/// One op over all steps.
#[derive(Debug, Serialize)]
pub struct OpProfile {
    pub op: String,
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
    /// The share of the roof that binds the op at its intensity: of the FLOP rate, or of the byte rate.
    pub roof_share: f64,
    pub bound_by: &'static str,
}

/// Means per step, in seconds.
#[derive(Debug, Default, Serialize)]
pub struct HostProfile {
    /// Waiting for the background thread that gathers and sorts batches.
    pub next_batch: f64,
    /// Laying a batch out and uploading it.
    pub upload: f64,
    /// Recording and submitting, with a pass per op.
    pub submit: f64,
    /// Waiting for the device.
    pub wait: f64,
}

/// Profiles `steps` steps of a config's training on an adapter; the trace is that of the last step.
///
/// # Errors
/// The device's.
pub fn profile(p: &Prepared, gpu: &Gpu, steps: usize) -> Result<(Profile, StepTimes), ExecutorError> {
    let roofs = gpu.measure_roofs()?;
    let mut stopwatch = Stopwatch::new(gpu)?;
    let parameters = Parameters::init(&p.plan, seed::derive(p.config.seed, "init"));
    let mut executor =
        GpuExecutor::new(gpu, p.plan.clone(), &parameters, p.config.train.batch_size, gpu.default_variants())?;
    let rule = p.config.train.rule();
    let (mut host, mut timed) = (HostProfile::default(), Vec::with_capacity(steps));
    let mut batches = batches(p);
    for step in 1..=WARM_UP + steps {
        let start = Instant::now();
        let Some(batch) = batches.next() else { break };
        let next_batch = start.elapsed().as_secs_f64();
        let times = executor.profile_step(&mut stopwatch, &batch, &rule, step as u64)?;
        if step > WARM_UP {
            host.next_batch += next_batch;
            host.upload += times.upload;
            host.submit += times.submit;
            host.wait += times.wait;
            timed.push(times);
        }
    }
    let n = timed.len().max(1) as f64;
    for seconds in [&mut host.next_batch, &mut host.upload, &mut host.submit, &mut host.wait] {
        *seconds /= n;
    }
    let untimed_step_seconds = untimed(p, gpu, &parameters, steps)?;
    let ops = op_profiles(&timed, &roofs);
    let profile = Profile {
        clock: stopwatch.clock(),
        steps: timed.len(),
        batch_size: p.config.train.batch_size,
        roofs,
        ops,
        host,
        untimed_step_seconds,
    };
    let last = timed.pop().ok_or_else(|| ExecutorError::Validation("no step was profiled".into()))?;
    Ok((profile, last))
}

/// Full batches without end: epoch after epoch, the smaller last ones left out where there are others.
fn batches(p: &Prepared) -> impl Iterator<Item = crate::data::Batch> + use<> {
    let (train, input, size) = (p.train.clone(), Arc::new(p.plan.input.clone()), p.config.train.batch_size);
    let shuffle = seed::derive(p.config.seed, "shuffle");
    let least = size.min(train.rows);
    (1..)
        .flat_map(move |epoch| {
            Batches::new(train.clone(), input.clone(), size, Order::Shuffled { seed: shuffle, epoch }, true)
        })
        .filter(move |batch| batch.rows >= least)
}

/// Seconds of a step as training runs it.
fn untimed(p: &Prepared, gpu: &Gpu, parameters: &Parameters<f32>, steps: usize) -> Result<f64, ExecutorError> {
    let mut executor =
        GpuExecutor::new(gpu, p.plan.clone(), parameters, p.config.train.batch_size, gpu.default_variants())?;
    let rule = p.config.train.rule();
    let mut start = Instant::now();
    for (i, batch) in batches(p).take(WARM_UP + steps).enumerate() {
        if i == WARM_UP {
            executor.progress()?;
            start = Instant::now();
        }
        executor.train_step(&batch, &rule, i as u64 + 1)?;
    }
    executor.progress()?;
    Ok(start.elapsed().as_secs_f64() / steps as f64)
}

/// Sums the steps' ops, in the order of a step.
fn op_profiles(timed: &[StepTimes], roofs: &Roofs) -> Vec<OpProfile> {
    let n = timed.len().max(1) as f64;
    let order: Vec<StepOp> = timed.first().map_or_else(Vec::new, |t| t.ops.iter().map(|o| o.op).collect());
    let all: f64 = timed.iter().flat_map(|t| &t.ops).map(|o| o.seconds).sum();
    let profile = |op: StepOp| {
        let of_op = || timed.iter().flat_map(|t| &t.ops).filter(move |o| o.op == op);
        let total: f64 = of_op().map(|o| o.seconds).sum();
        let flops = of_op().map(|o| o.cost.flops).sum::<f64>() / n;
        let bytes = of_op().map(|o| o.cost.bytes).sum::<f64>() / n;
        let seconds = total / n;
        let (by_flops, by_bytes) = (flops / roofs.flops_per_second, bytes / roofs.bytes_per_second);
        OpProfile {
            op: op.to_string(),
            calls: of_op().count(),
            seconds,
            share: total / all.max(f64::MIN_POSITIVE),
            flops,
            bytes,
            intensity: flops / bytes.max(1.0),
            roof_share: by_flops.max(by_bytes) / seconds.max(f64::MIN_POSITIVE),
            bound_by: if by_flops > by_bytes { "flops" } else { "bytes" },
        }
    };
    order.into_iter().map(profile).collect()
}
