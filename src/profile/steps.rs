//! Running and timing steps, and the means over them.

use std::time::Instant;

use super::feed::Feed;
use super::{HostPhase, Lane, OpProfile, WARM_UP};
use crate::data::{Batch, Forming};
use crate::executor::ExecutorError;
use crate::gpu::Roofs;
use crate::kernels::Cost;

/// What a device did in a step.
pub struct Ran {
    /// Of the host, one behind the other, in seconds.
    pub phases: Vec<(&'static str, f64)>,
    pub ops: Vec<TimedOp>,
}

/// One op in one step.
pub struct TimedOp {
    pub op: String,
    /// As [`crate::gpu::OpTime::start`] counts.
    pub start: f64,
    pub seconds: f64,
    pub cost: Cost,
}

/// A step with what the host did for it.
pub struct TimedStep {
    /// When the batch was asked for.
    pub asked: Instant,
    /// When it was there.
    pub given: Instant,
    pub done: Instant,
    pub forming: Forming,
    pub ran: Ran,
}

/// Has `run` do the warm-up's steps and then those that count, which are returned.
pub fn timed_steps(
    feed: &mut Feed,
    steps: usize,
    mut run: impl FnMut(&Batch, u64) -> Result<Ran, ExecutorError>,
) -> Result<Vec<TimedStep>, ExecutorError> {
    let mut timed = Vec::with_capacity(steps);
    for step in 1..=WARM_UP + steps {
        let asked = Instant::now();
        let fed = feed.next();
        let given = Instant::now();
        let ran = run(&fed.batch, step as u64)?;
        if step > WARM_UP {
            timed.push(TimedStep { asked, given, done: Instant::now(), forming: fed.forming, ran });
        }
    }
    Ok(timed)
}

/// Means over steps, in the order of a step.
pub fn op_profiles(timed: &[TimedStep], roofs: &Roofs) -> Vec<OpProfile> {
    let n = timed.len() as f64;
    let mut names: Vec<&str> = Vec::new();
    for op in timed.iter().flat_map(|step| &step.ran.ops) {
        if !names.contains(&op.op.as_str()) {
            names.push(&op.op);
        }
    }
    let all: f64 = timed.iter().flat_map(|step| &step.ran.ops).map(|op| op.seconds).sum();
    let profile = |name: &str| {
        let of_op = || timed.iter().flat_map(|step| &step.ran.ops).filter(move |op| op.op == name);
        let mean = |figure: fn(&TimedOp) -> f64| of_op().map(figure).sum::<f64>() / n;
        let cost = Cost { flops: mean(|op| op.cost.flops), bytes: mean(|op| op.cost.bytes) };
        OpProfile::new(name, of_op().count(), mean(|op| op.seconds), all / n, cost, roofs)
    };
    names.into_iter().map(profile).collect()
}

/// Means over steps: first the background thread's, then the training thread's, each in its order.
pub fn host_phases(timed: &[TimedStep]) -> Vec<HostPhase> {
    let n = timed.len() as f64;
    let mean = |phase, lane, seconds: &dyn Fn(&TimedStep) -> f64| {
        let seconds = timed.iter().map(seconds).sum::<f64>() / n;
        HostPhase { phase, lane, seconds }
    };
    let mut phases = vec![
        mean("gather", Lane::Background, &|s| (s.forming.sort - s.forming.start).as_secs_f64()),
        mean("sort", Lane::Background, &|s| (s.forming.end - s.forming.sort).as_secs_f64()),
        mean("next batch", Lane::Host, &|s| (s.given - s.asked).as_secs_f64()),
    ];
    for (i, &(phase, _)) in timed.first().iter().flat_map(|step| step.ran.phases.iter().enumerate()) {
        phases.push(mean(phase, Lane::Host, &|s| s.ran.phases[i].1));
    }
    phases
}
