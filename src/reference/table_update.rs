//! The optimizer over the embedding tables: gradient and update of a row in one go, rows in parallel.

use std::ops::Range;

use super::embedding::{Columns, row_gradient};
use super::optimizer::{State, update};
use super::real::Real;
use super::split::{Split, for_each_run};
use super::vector::vectorized;
use crate::data::Batch;
use crate::optim::{EmbeddingUpdate, Rule};
use crate::plan::Plan;

/// Touched rows that are one piece of work.
const RUN_ROWS: usize = 64;

/// Floats of untouched rows that are one piece of work.
const RUN_FLOATS: usize = 8192;

/// Columns of a row whose gradient is summed at a time.
const COLUMNS: usize = 64;

/// What the gradients of the tables are made of.
pub struct Touched<'a, G> {
    pub plan: &'a Plan,
    pub columns: &'a Columns,
    pub batch: &'a Batch,
    /// The gradient by a row of the input slot.
    pub input_grad: G,
}

impl<'a, T: Real, G: Fn(usize) -> &'a [T] + Sync> Touched<'_, G> {
    /// Where the table row of a segment lies in the embedding block.
    pub fn range(&self, segment: usize) -> Range<usize> {
        let p = &self.plan.embedding.parameters[self.batch.segments.tables[segment] as usize];
        let start = p.offset + self.batch.segments.rows[segment] as usize * p.stride;
        start..start + p.cols
    }

    /// The gradient of a segment's table row from its column `first` on.
    #[inline(always)]
    pub fn gradient(&self, segment: usize, first: usize, out: &mut [T]) {
        let segments = &self.batch.segments;
        let bags = &segments.bags[segments.starts[segment] as usize..segments.starts[segment + 1] as usize];
        row_gradient(self.columns, self.batch, bags, &self.input_grad, first, out);
    }

    /// One step of the optimizer over the tables, whose `state` is the whole embedding block.
    pub fn update(&self, rule: &Rule, step: u64, state: State<T>) {
        let segments = 0..self.batch.segments.rows.len();
        for_each_run(segments, RUN_ROWS, 0, state, &|s| self.range(s).start, &|run, from, mut state| {
            let mut done = 0;
            for segment in run {
                let row = self.range(segment);
                let row = row.start - from..row.end - from;
                if rule.embedding == EmbeddingUpdate::All {
                    update_untouched(rule, step, state.part(done..row.start));
                }
                done = row.end;
                self.update_row(segment, rule, step, state.part(row));
            }
            if rule.embedding == EmbeddingUpdate::All {
                let end = state.parameters.len();
                update_untouched(rule, step, state.part(done..end));
            }
        });
    }

    fn update_row(&self, segment: usize, rule: &Rule, step: u64, mut row: State<T>) {
        let mut gradient = [T::ZERO; COLUMNS];
        let width = row.parameters.len();
        for first in (0..width).step_by(COLUMNS) {
            let columns = first..width.min(first + COLUMNS);
            let gradient = &mut gradient[..columns.len()];
            vectorized(|| self.gradient(segment, first, gradient));
            update(&rule.optimizer, step, row.part(columns), gradient.iter().copied());
        }
    }
}

/// Rows without a gradient, which their momentum moves on.
fn update_untouched<T: Real>(rule: &Rule, step: u64, state: State<T>) {
    let len = state.parameters.len();
    if len <= RUN_FLOATS {
        return update(&rule.optimizer, step, state, std::iter::repeat(T::ZERO));
    }
    let (left, right) = state.split(len / 2);
    rayon::join(|| update_untouched(rule, step, left), || update_untouched(rule, step, right));
}
