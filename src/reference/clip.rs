//! Clipping by the global norm, as `torch.nn.utils.clip_grad_norm_`: over the dense parameters and the rows of tables that
//! the batch holds, frozen tables left out.

use rayon::prelude::*;

use super::real::Real;
use super::table_update::Touched;
use super::vector::{dot, sum};
use super::weight_grad::for_each_strip;
use super::{Reference, block_count, block_rows, block_rows_of};
use crate::data::Batch;
use crate::optim::{CLIP_EPS, Rule};

/// Gradients that are summed up at a time, so that sums of sums stay short.
const RUN: usize = 4096;

/// Gradients that are scaled together on one thread.
const RUN_SCALED: usize = 1 << 14;

/// Segments that are one piece of work.
const RUN_SEGMENTS: usize = 64;

/// Columns of a row whose gradient is summed at a time.
const COLUMNS: usize = 64;

impl<T: Real> Reference<T> {
    /// Multiplies all gradients with one factor, so that their norm is `most` at the most; what it was. Those of table rows
    /// follow from that by the input slot.
    pub(super) fn clip(&mut self, batch: &Batch, rule: &Rule, most: f64) -> T {
        let (plan, blocks) = (&self.plan, &self.blocks);
        for_each_strip(&self.strips, self.dense_grads.as_mut_slice(), &|strip, grads| {
            strip.gradient(plan, block_rows_of(blocks, batch), grads);
        });
        let mut squares = std::mem::take(&mut self.squares);
        squares.resize(batch.segments.rows.len(), T::ZERO);
        self.find_largest(batch);
        segment_squares(&self.touched(batch), rule, &mut squares);
        let before = norm(self::squares(&self.dense_grads), &squares);
        self.squares = squares;
        self.scale_gradients(batch, factor(before, most));
        before
    }

    fn scale_gradients(&mut self, batch: &Batch, factor: T) {
        let scale = |grads: &mut [T]| grads.iter_mut().for_each(|g| *g *= factor);
        self.dense_grads.par_chunks_mut(RUN_SCALED).for_each(scale);
        let (plan, slot) = (&self.plan, self.plan.input_slot);
        self.blocks[..block_count(batch)].par_iter_mut().enumerate().for_each(|(b, block)| {
            scale(block.grads.get_mut(plan, slot, block_rows(batch, b).len()));
        });
    }
}

/// The sum of the squares of gradients.
pub fn squares<T: Real>(grads: &[T]) -> T {
    grads.chunks(RUN).map(|run| dot(run, run)).sum()
}

/// The norm of all gradients, from the squares of each segment's and the sum of the other ones'; infinite or NaN where that
/// is their sum.
pub fn norm<T: Real>(dense: T, segments: &[T]) -> T {
    let squares = dense + segments.chunks(RUN).map(sum).sum();
    if squares.to_f64().is_finite() { squares.sqrt() } else { squares }
}

/// What gradients of a norm are multiplied with, so that it is `most` at the most. As PyTorch has it: zero where the norm is
/// infinite, NaN where it is NaN.
pub fn factor<T: Real>(norm: T, most: f64) -> T {
    if norm.to_f64().is_nan() {
        return norm;
    }
    if norm.to_f64().is_infinite() {
        return T::ZERO;
    }
    let least = (-T::of(most) / (norm + T::of(CLIP_EPS))).max(-T::ONE);
    -least
}

/// The squares of each segment's gradient, added up; 0 where its table is frozen.
pub fn segment_squares<T: Real>(touched: &Touched<T>, rule: &Rule, squares: &mut [T]) {
    squares.par_chunks_mut(RUN_SEGMENTS).enumerate().for_each(|(run, squares)| {
        for (segment, square) in (run * RUN_SEGMENTS..).zip(squares) {
            let table = touched.batch.segments.tables[segment] as usize;
            *square = if rule.trains(table) { segment_square(touched, segment) } else { T::ZERO };
        }
    });
}

fn segment_square<T: Real>(touched: &Touched<T>, segment: usize) -> T {
    let (mut gradient, width) = ([T::ZERO; COLUMNS], touched.range(segment).len());
    let mut square = T::ZERO;
    for first in (0..width).step_by(COLUMNS) {
        let gradient = &mut gradient[..COLUMNS.min(width - first)];
        touched.gradient(segment, first, gradient);
        square += dot(gradient, gradient);
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_that_overflow_give_a_factor_of_zero_and_nan_gives_nan() {
        let factor_of = |square: f32| factor(norm(0.5, &[square]), 1.0);
        assert_eq!(factor_of(15.5), 1.0 / (4.0 + 1e-6));
        assert_eq!(factor_of(f32::INFINITY), 0.0);
        assert!(factor_of(f32::NAN).is_nan());
        assert_eq!(factor(norm(squares(&[1e30_f32, 2.0]), &[]), 1.0), 0.0);
    }
}
