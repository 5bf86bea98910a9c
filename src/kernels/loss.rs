//! `shaders/loss.wgsl`: the sums of losses, for progress.

use super::{Place, Workgroups, shader_struct};
use crate::executor::TaskSums;
use crate::metrics::{BINS, HistogramAuc};
use crate::plan::TaskKind;

shader_struct! {
    pub struct Task {
        pub kind: u32,
        pub logit: u32,
    }
}

/// Floats per task in `sums`.
pub const SUMS: usize = 4;

/// Counts per task in `histogram`.
pub const COUNTS: usize = 2 * BINS;

pub fn tasks(place: Place) -> Vec<Task> {
    let task = |(t, task): (usize, &crate::plan::Task)| Task {
        kind: kind_number(task.kind),
        logit: place.start(place.plan.logit(t)),
    };
    place.plan.tasks.iter().enumerate().map(task).collect()
}

/// As `shaders/lib/loss.wgsl` numbers losses.
pub fn kind_number(kind: TaskKind) -> u32 {
    match kind {
        TaskKind::Binary => 0,
        TaskKind::Regression => 1,
    }
}

pub fn workgroups(place: Place) -> Workgroups {
    [place.plan.tasks.len() as u32, 1]
}

/// One task's sums, as the kernel left them.
pub fn task_sums(sums: &[f32], counts: &[u32]) -> TaskSums {
    let [loss, predictions, labels, count] = [0, 1, 2, 3].map(|i| f64::from(sums[i]));
    TaskSums { loss, predictions, labels, count, histogram: HistogramAuc::from_counts(counts) }
}
