//! A task's samples in a scene, and what the sums of losses must come to.

use super::case::Expect;
use super::scene::Scene;
use crate::kernels::loss;
use crate::metrics;
use crate::plan::TaskKind;
use crate::reference::{Real, loss_terms};

/// A task's samples.
pub struct Samples<'a> {
    pub scene: &'a Scene,
    pub task: usize,
}

impl Samples<'_> {
    /// Logit and label of each sample in the task's mask.
    fn each(&self) -> impl Iterator<Item = (f32, f32)> {
        let (batch, tasks) = (&self.scene.batch, self.scene.plan.tasks.len());
        let logits = &self.scene.values[&self.scene.plan.logit(self.task).0];
        let at = move |row: usize| row * tasks + self.task;
        let rows = (0..batch.rows).filter(move |&row| batch.masks[at(row)] != 0.0);
        rows.map(move |row| (logits[row], batch.labels[at(row)]))
    }

    /// Losses, predictions, labels and samples, added up.
    pub fn sums<T: Real>(&self) -> [T; loss::SUMS] {
        let kind = self.scene.plan.tasks[self.task].kind;
        let mut sums = [T::ZERO; loss::SUMS];
        for (z, y) in self.each() {
            let (z, y) = (T::of(f64::from(z)), T::of(f64::from(y)));
            let (loss, prediction, _) = loss_terms(kind, z, y);
            sums.iter_mut().zip([loss, prediction, y, T::ONE]).for_each(|(sum, term)| *sum += term);
        }
        sums
    }

    /// The histogram's counts over `before`, `[label, bin]`. A score at the edge of a bin may fall to either side.
    pub fn count(&self, expect: &mut [Expect], before: u32) {
        if self.scene.plan.tasks[self.task].kind == TaskKind::Regression {
            return;
        }
        let mut counts = vec![before; expect.len()];
        let mut edges = Vec::new();
        for (z, y) in self.each() {
            // NaN is not counted.
            let Some(bin) = metrics::bin(z) else { continue };
            let at = usize::from(y > 0.5) * metrics::BINS + bin;
            counts[at] += 1;
            let place = f64::from(z - metrics::LOWEST) * f64::from(metrics::BINS_PER_UNIT);
            if (place - place.round()).abs() < 1e-3 {
                edges.extend([at.saturating_sub(1), at, (at + 1).min(counts.len() - 1)]);
            }
        }
        expect.iter_mut().zip(counts).for_each(|(expect, count)| *expect = Expect::Bits(count));
        edges.into_iter().for_each(|at| expect[at] = Expect::Free);
    }
}
