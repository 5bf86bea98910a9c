//! Losses on logits, their gradients, and the sums that progress and streaming AUC are made of.

use std::ops::Range;

use super::activation::sigmoid;
use super::arena::Arena;
use super::real::Real;
use crate::data::Batch;
use crate::executor::TaskSums;
use crate::metrics::is_positive;
use crate::plan::{Plan, TaskKind};

/// Sums of one task over a block of rows, as [`TaskSums`] has them.
#[derive(Clone, Default)]
pub struct BlockSums {
    pub loss: f64,
    predictions: f64,
    labels: f64,
    count: f64,
}

/// Writes `1 / samples in the mask` of each task over a whole batch; 0 where there is none, so that it adds nothing.
pub fn inverse_counts(batch: &Batch, inverse: &mut [f64]) {
    inverse.fill(0.0);
    for row in batch.masks.chunks(inverse.len()) {
        inverse.iter_mut().zip(row).for_each(|(n, &m)| *n += f64::from(m));
    }
    inverse.iter_mut().for_each(|n| *n = if *n > 0.0 { 1.0 / *n } else { 0.0 });
}

/// Cross-entropy of a logit, in the form that cannot overflow: `max(z, 0) - z y + ln(1 + exp(-|z|))`.
pub fn binary_loss<T: Real>(z: T, y: T) -> T {
    z.max(T::ZERO) - z * y + (-z.abs()).exp().ln_1p()
}

/// A sample's loss, its prediction, and the loss's derivative by the logit.
#[inline(always)]
pub fn loss_terms<T: Real>(kind: TaskKind, z: T, y: T) -> (T, T, T) {
    match kind {
        TaskKind::Binary => {
            let p = sigmoid(z);
            (binary_loss(z, y), p, p - y)
        }
        TaskKind::Regression => ((z - y) * (z - y), z, T::of(2.0) * (z - y)),
    }
}

/// Writes the sums of a block of rows and `d loss / d logit` of each task.
pub fn loss_and_grad<T: Real>(
    plan: &Plan,
    batch: &Batch,
    rows: Range<usize>,
    inverse_counts: &[f64],
    values: &Arena<T>,
    grads: &mut Arena<T>,
    sums: &mut [BlockSums],
) {
    let tasks = plan.tasks.len();
    for (t, task) in plan.tasks.iter().enumerate() {
        let stride = plan.tensor(plan.logit(t)).stride;
        let logits = values.get(plan, plan.logit(t), rows.len());
        let d_logits = grads.get_mut(plan, plan.logit(t), rows.len());
        let scale = T::of(task.weight * inverse_counts[t]);
        let mut sum = BlockSums::default();
        for (i, row) in rows.clone().enumerate() {
            let z = logits[i * stride];
            let label = batch.labels[row * tasks + t];
            let y = T::of(f64::from(label));
            if batch.masks[row * tasks + t] == 0.0 {
                d_logits[i * stride] = T::ZERO;
                continue;
            }
            let (loss, prediction, d) = loss_terms(task.kind, z, y);
            d_logits[i * stride] = scale * d;
            sum.loss += loss.to_f64();
            sum.predictions += prediction.to_f64();
            sum.labels += f64::from(label);
            sum.count += 1.0;
        }
        sums[t] = sum;
    }
}

/// Adds a block's sums to those of all steps, and its logits to the histograms.
pub fn add_sums<T: Real>(
    plan: &Plan,
    batch: &Batch,
    rows: Range<usize>,
    values: &Arena<T>,
    sums: &[BlockSums],
    total: &mut [TaskSums],
) {
    let tasks = plan.tasks.len();
    for (t, (sum, total)) in sums.iter().zip(total).enumerate() {
        total.loss += sum.loss;
        total.predictions += sum.predictions;
        total.labels += sum.labels;
        total.count += sum.count;
        if plan.tasks[t].kind != TaskKind::Binary {
            continue;
        }
        let logits = values.matrix(plan, plan.logit(t), rows.len());
        for (logit, row) in logits.data.chunks(logits.stride).zip(rows.clone()) {
            if batch.masks[row * tasks + t] != 0.0 {
                total.histogram.add(logit[0].to_f64() as f32, is_positive(batch.labels[row * tasks + t]));
            }
        }
    }
}
