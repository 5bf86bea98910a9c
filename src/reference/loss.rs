//! Losses on logits, their gradients, and the sums that progress and streaming AUC are made of.

use std::ops::Range;

use super::activation::sigmoid;
use super::arena::Arena;
use super::real::Real;
use crate::data::Batch;
use crate::executor::TaskSums;
use crate::metrics::is_positive;
use crate::plan::{Plan, TaskKind};

/// `1 / samples in the mask` of each task over a whole batch; 0 where there is none, so that it adds nothing.
pub fn inverse_counts(batch: &Batch, tasks: usize) -> Vec<f64> {
    let mut counts = vec![0.0_f64; tasks];
    for row in batch.masks.chunks(tasks) {
        counts.iter_mut().zip(row).for_each(|(n, &m)| *n += f64::from(m));
    }
    counts.iter().map(|&n| if n > 0.0 { 1.0 / n } else { 0.0 }).collect()
}

/// Cross-entropy of a logit, in the form that cannot overflow: `max(z, 0) - z y + ln(1 + exp(-|z|))`.
pub fn binary_loss<T: Real>(z: T, y: T) -> T {
    z.max(T::ZERO) - z * y + (-z.abs()).exp().ln_1p()
}

/// Sums the losses of a block of rows into `sums` and writes `d loss / d logit` of each task.
pub fn loss_and_grad<T: Real>(
    plan: &Plan,
    batch: &Batch,
    rows: Range<usize>,
    inverse_counts: &[f64],
    values: &Arena<T>,
    grads: &mut Arena<T>,
    sums: &mut [TaskSums],
) {
    let tasks = plan.tasks.len();
    for (t, task) in plan.tasks.iter().enumerate() {
        let stride = plan.tensor(plan.logit(t)).stride;
        let logits = values.get(plan, plan.logit(t), rows.len());
        let d_logits = grads.get_mut(plan, plan.logit(t), rows.len());
        let scale = T::of(task.weight * inverse_counts[t]);
        for (i, row) in rows.clone().enumerate() {
            let z = logits[i * stride];
            let label = batch.labels[row * tasks + t];
            let y = T::of(f64::from(label));
            if batch.masks[row * tasks + t] == 0.0 {
                d_logits[i * stride] = T::ZERO;
                continue;
            }
            let (loss, prediction, d) = match task.kind {
                TaskKind::Binary => (binary_loss(z, y), sigmoid(z), sigmoid(z) - y),
                TaskKind::Regression => ((z - y) * (z - y), z, T::of(2.0) * (z - y)),
            };
            d_logits[i * stride] = scale * d;
            sums[t].loss += loss.to_f64();
            sums[t].predictions += prediction.to_f64();
            sums[t].labels += f64::from(label);
            sums[t].count += 1.0;
            if task.kind == TaskKind::Binary {
                sums[t].histogram.add(z.to_f64() as f32, is_positive(label));
            }
        }
    }
}
