//! One step on a common clock: the device, the training thread, and the thread that forms batches.

use std::time::Instant;

use serde::Serialize;

use super::feed::Feed;
use super::steps::TimedStep;
use crate::data::Forming;
use crate::gpu::Clock;

/// Who is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    Device,
    /// The training thread.
    Host,
    /// The thread that forms batches, ahead of the steps that use them.
    Background,
}

/// A stretch of a lane.
#[derive(Clone, Debug, Serialize)]
pub struct Span {
    pub lane: Lane,
    pub name: String,
    /// Seconds since the step asked for its batch. Where a GPU's clock has an origin of its own, its last kernel is taken
    /// to end when the host's wait ended.
    pub start: f64,
    pub seconds: f64,
}

/// The spans of a step. What the background thread did meanwhile comes with the batches behind it, from `feed`.
pub fn of_step(step: &TimedStep, feed: &mut Feed, clock: Clock) -> Vec<Span> {
    let end = (step.done - step.asked).as_secs_f64();
    let given = (step.given - step.asked).as_secs_f64();
    let last = step.ran.ops.iter().map(|op| op.start + op.seconds).filter(|t| t.is_finite()).fold(0.0, f64::max);
    let origin = match clock {
        Clock::Gpu => end - last,
        Clock::WallOfSubmission | Clock::WallOfStep => given,
    };
    let ops = step.ran.ops.iter().filter(|op| op.start.is_finite());
    let span = |op: &super::TimedOp| Span {
        lane: Lane::Device,
        name: op.op.clone(),
        start: origin + op.start,
        seconds: op.seconds,
    };
    let mut spans: Vec<Span> = ops.map(span).collect();
    spans.push(Span { lane: Lane::Host, name: "next batch".into(), start: 0.0, seconds: given });
    let mut start = given;
    for &(name, seconds) in &step.ran.phases {
        spans.push(Span { lane: Lane::Host, name: name.into(), start, seconds });
        start += seconds;
    }
    loop {
        let forming = feed.next().forming;
        if forming.start >= step.done {
            return spans;
        }
        spans.extend(background(&forming, step));
    }
}

/// The part of a batch's forming that falls into a step.
fn background(forming: &Forming, step: &TimedStep) -> impl Iterator<Item = Span> {
    let (asked, done) = (step.asked, step.done);
    let within = move |t: Instant| t.clamp(asked, done).duration_since(asked).as_secs_f64();
    let parts = [("gather", forming.start, forming.sort), ("sort", forming.sort, forming.end)];
    parts
        .into_iter()
        .map(move |(name, from, to)| (name, within(from), within(to)))
        .filter(|(_, from, to)| to > from)
        .map(|(name, start, to)| Span { lane: Lane::Background, name: name.into(), start, seconds: to - start })
}
