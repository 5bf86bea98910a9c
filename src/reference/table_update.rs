//! The optimizer over the embedding tables: gradient and update of a row in one go, rows in parallel.

use std::ops::Range;

use super::embedding::{Columns, SlotGrads, prefetch_gradient, row_gradient};
use super::largest::Largest;
use super::optimizer::{State, Update, update_by, update_row, update_untouched};
use super::real::Real;
use super::split::{Split, for_each_run};
use super::state::Arrays;
use crate::data::Batch;
use crate::plan::Plan;

/// Touched rows that are one piece of work.
const RUN_ROWS: usize = 256;

/// Floats of untouched rows that are one piece of work.
const RUN_FLOATS: usize = 8192;

/// How many rows before its turn a row is asked for.
const AHEAD: usize = 10;

/// Columns of a row whose gradient is summed at a time.
const COLUMNS: usize = 64;

/// What the gradients of the tables are made of.
pub struct Touched<'a, T> {
    pub plan: &'a Plan,
    pub columns: &'a Columns,
    pub batch: &'a Batch,
    pub largest: &'a Largest,
    pub grads: SlotGrads<'a, T>,
}

/// What a step does to a table.
pub struct TableUpdate<T> {
    pub update: Update<T>,
    /// Whether the rows outside the batch move too.
    pub moves_others: bool,
}

/// By the number of a table; none where it does not move.
type Updates<'a, T> = dyn Fn(usize) -> Option<TableUpdate<T>> + Sync + 'a;

/// A table's rows beside a number for each.
struct Rows<'a, T> {
    stride: usize,
    parameters: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Real> Split for Rows<'_, T> {
    fn split(self, at: usize) -> (Self, Self) {
        let stride = self.stride;
        let (parameters, parameters_rest) = self.parameters.split_at_mut(at);
        let (sums, sums_rest) = self.sums.split_at_mut(at / stride);
        (Self { stride, parameters, sums }, Self { stride, parameters: parameters_rest, sums: sums_rest })
    }
}

impl<T: Real> Touched<'_, T> {
    /// Where the table row of a segment lies in the embedding block.
    #[inline(always)]
    pub fn range(&self, segment: usize) -> Range<usize> {
        let p = &self.plan.embedding.parameters[self.batch.segments.tables[segment] as usize];
        let start = p.offset + self.batch.segments.rows[segment] as usize * p.stride;
        start..start + p.cols
    }

    /// The gradient of a segment's table row from its column `first` on.
    #[inline(always)]
    pub fn gradient(&self, segment: usize, first: usize, out: &mut [T]) {
        row_gradient(self.columns, self.batch, segment, self.largest, self.grads, first, out);
    }

    /// The bags that hold a segment's table row.
    #[inline(always)]
    fn bags(&self, segment: usize) -> &[u32] {
        let segments = &self.batch.segments;
        &segments.bags[segments.starts[segment] as usize..segments.starts[segment + 1] as usize]
    }

    /// One step over all tables, each with its own formula. `parameters` is the whole embedding block.
    pub fn update(&self, updates: &Updates<T>, parameters: &mut [T], state: &mut [Arrays<T>]) {
        self.update_tables(updates, 0..state.len(), parameters, state);
    }

    /// One step over some tables, cut in two until it is one.
    fn update_tables(&self, updates: &Updates<T>, tables: Range<usize>, parameters: &mut [T], state: &mut [Arrays<T>]) {
        let Range { start, end } = tables;
        match state {
            [] => {}
            [Arrays { arrays: [first, second], .. }] => match updates(start) {
                None => {}
                Some(TableUpdate { update, .. }) if update.formula.is_by_row() => {
                    let stride = self.plan.embedding.parameters[start].stride;
                    self.update_by_row(&update, start, Rows { stride, parameters, sums: first });
                }
                Some(update) => self.update_table(&update, start, State { parameters, first, second }),
            },
            _ => {
                let middle = start + tables.len() / 2;
                let layout = &self.plan.embedding.parameters;
                let (left, right) = parameters.split_at_mut(layout[middle].offset - layout[start].offset);
                let (left_state, right_state) = state.split_at_mut(middle - start);
                rayon::join(
                    || self.update_tables(updates, start..middle, left, left_state),
                    || self.update_tables(updates, middle..end, right, right_state),
                );
            }
        }
    }

    fn update_by_row(&self, update: &Update<T>, table: usize, rows: Rows<T>) {
        let (segments, start) = (self.batch.segments.of(table), self.plan.embedding.parameters[table].offset);
        for_each_run(segments, RUN_ROWS, start, rows, &|s| self.range(s).start, &|run, from, rows| {
            for segment in run {
                let row = self.range(segment);
                let sum = &mut rows.sums[(row.start - from) / rows.stride];
                let row = &mut rows.parameters[row.start - from..row.end - from];
                let gradient = |first: usize, out: &mut [T]| self.gradient(segment, first, out);
                update_row(update, row, sum, &mut [T::ZERO; COLUMNS], gradient);
            }
        });
    }

    fn update_table(&self, update: &TableUpdate<T>, table: usize, state: State<T>) {
        let (segments, start) = (self.batch.segments.of(table), self.plan.embedding.parameters[table].offset);
        for_each_run(segments, RUN_ROWS, start, state, &|s| self.range(s).start, &|run, from, state| {
            update_run(self, update, run, from, state);
        });
    }

    /// Asks for what the update of a segment's row will read; its table starts at `from`.
    #[inline(always)]
    fn prefetch(&self, segment: usize, from: usize, state: &State<T>) {
        let row = self.range(segment);
        state.prefetch(row.start - from..row.end - from);
        prefetch_gradient(self.columns, self.batch, self.bags(segment), self.grads, row.len());
    }
}

vectorized! {
    /// One step over a run of segments of a table; `state` starts at `from`.
    fn update_run<T: Real>(t: &Touched<T>, update: &TableUpdate<T>, run: Range<usize>, from: usize, state: State<T>) {
        let (mut state, mut done) = (state, 0);
        run.clone().take(AHEAD).for_each(|segment| t.prefetch(segment, from, &state));
        for segment in run.clone() {
            if segment + AHEAD < run.end {
                t.prefetch(segment + AHEAD, from, &state);
            }
            let row = t.range(segment);
            let row = row.start - from..row.end - from;
            if update.moves_others {
                move_untouched(&update.update, state.part(done..row.start));
            }
            done = row.end;
            let mut gradient = [T::ZERO; COLUMNS];
            for first in (0..row.len()).step_by(COLUMNS) {
                let columns = row.start + first..row.end.min(row.start + first + COLUMNS);
                let gradient = &mut gradient[..columns.len()];
                t.gradient(segment, first, gradient);
                update_by(&update.update, state.part(columns), gradient.iter().copied());
            }
        }
        if update.moves_others {
            let end = state.parameters.len();
            move_untouched(&update.update, state.part(done..end));
        }
    }
}

/// Rows without a gradient, which their momentum moves on.
fn move_untouched<T: Real>(step: &Update<T>, state: State<T>) {
    let len = state.parameters.len();
    if len <= RUN_FLOATS {
        return update_untouched(step, state);
    }
    let (left, right) = state.split(len / 2);
    rayon::join(|| move_untouched(step, left), || move_untouched(step, right));
}
