//! Gradients of weights and biases, `dW = dZ^T X` and `db = sum of the rows of dZ`, and of norms' weights, `dg = sum of the
//! rows of dU N`, in strips of a few output units.
//!
//! A strip sums over all blocks of rows in order, so no block needs a gradient of its own, and the optimizer follows
//! while the strip is in the cache.

use std::ops::Range;

use super::arena::Arena;
use super::matmul::{Matrix, MatrixMut, Write, at_b};
use super::real::Real;
use super::split::{Split, for_each_run};
use super::vector::add;
use crate::plan::{ParameterId, Plan, TensorId};

/// Output units of a layer whose weights are one piece of work.
const STRIP_UNITS: usize = 64;

/// Some rows of a weight, or a bias, or a norm's weight: a piece of the dense block.
pub struct Strip {
    parameter: ParameterId,
    /// In whose place the gradient lies that the parameter's follows from.
    output: TensorId,
    factor: Factor,
    first_unit: usize,
    units: usize,
    /// Where it starts in the dense block.
    start: usize,
}

/// What a parameter is multiplied with.
enum Factor {
    /// A weight, with each unit of the layer's input.
    Input(TensorId),
    /// A norm's weight, element by element.
    Normalised(TensorId),
    /// A bias.
    One,
}

/// The values and gradients of each block of rows, and how many rows there are.
pub type BlockRows<'a, T> = (&'a Arena<T>, &'a Arena<T>, usize);

/// The dense block as strips, in its order.
pub fn strips(plan: &Plan) -> Vec<Strip> {
    let mut strips = Vec::new();
    let vector = |parameter, output, factor| {
        let p = plan.dense.get(parameter);
        Strip { parameter, output, factor, first_unit: 0, units: p.cols, start: p.offset }
    };
    for layer in plan.layers() {
        let (output, p) = (layer.result(), plan.dense.get(layer.weight));
        for first_unit in (0..p.rows).step_by(STRIP_UNITS) {
            let (units, start) = (STRIP_UNITS.min(p.rows - first_unit), p.offset + first_unit * p.stride);
            let (parameter, factor) = (layer.weight, Factor::Input(layer.input));
            strips.push(Strip { parameter, output, factor, first_unit, units, start });
        }
        strips.extend(layer.bias.map(|bias| vector(bias, output, Factor::One)));
        if let Some(norm) = &layer.norm {
            strips.push(vector(norm.weight, layer.output, Factor::Normalised(norm.normalised)));
            strips.push(vector(norm.bias, layer.output, Factor::One));
        }
    }
    strips.sort_by_key(|strip| strip.start);
    strips
}

/// Calls `f` with each strip and its part of `data`, which runs along the dense block.
pub fn for_each_strip<D: Split>(strips: &[Strip], data: D, f: &(impl Fn(&Strip, D) + Sync)) {
    for_each_run(0..strips.len(), 1, 0, data, &|i| strips[i].start, &|run, _, data| {
        if let [strip] = &strips[run] {
            f(strip, data);
        }
    });
}

impl Strip {
    /// Its part of the dense block.
    pub fn range(&self, plan: &Plan) -> Range<usize> {
        let p = plan.dense.get(self.parameter);
        let floats = if let Factor::Input(_) = self.factor { self.units * p.stride } else { self.units };
        self.start..self.start + floats
    }

    /// Writes the gradient over all blocks of rows to `grads`, the strip's part of a dense block. Padding is left alone.
    pub fn gradient<'a, T: Real>(&self, plan: &Plan, blocks: impl Iterator<Item = BlockRows<'a, T>>, grads: &mut [T]) {
        match self.factor {
            Factor::Input(input) => self.weight_gradient(plan, input, blocks, grads),
            Factor::Normalised(n) => self.norm_gradient(plan, n, blocks, grads),
            Factor::One => self.bias_gradient(plan, blocks, grads),
        }
    }

    fn weight_gradient<'a, T: Real>(
        &self,
        plan: &Plan,
        input: TensorId,
        blocks: impl Iterator<Item = BlockRows<'a, T>>,
        grads: &mut [T],
    ) {
        let p = plan.dense.get(self.parameter);
        let factors = |(values, grads, rows): BlockRows<'a, T>| {
            (grads.matrix(plan, self.output, rows), values.matrix(plan, input, rows))
        };
        let (mut write, mut blocks) = (Write::Replace, blocks.map(factors).peekable());
        while let Some((dz, x)) = blocks.next() {
            let next = blocks.peek().map_or([&[][..]; 2], |(dz, x)| [x.data, dz.data]);
            let dz = Matrix { data: &dz.data[self.first_unit..], cols: self.units, ..dz };
            let dw = MatrixMut { data: grads, rows: self.units, cols: p.cols, stride: p.stride };
            at_b(dz, x, dw, write, next);
            write = Write::Add;
        }
    }

    fn norm_gradient<'a, T: Real>(
        &self,
        plan: &Plan,
        normalised: TensorId,
        blocks: impl Iterator<Item = BlockRows<'a, T>>,
        grads: &mut [T],
    ) {
        let dg = &mut grads[..self.units];
        dg.fill(T::ZERO);
        for (values, block_grads, rows) in blocks {
            let du = block_grads.matrix(plan, self.output, rows);
            add_products(dg, du.data, values.get(plan, normalised, rows), du.stride);
        }
    }

    fn bias_gradient<'a, T: Real>(&self, plan: &Plan, blocks: impl Iterator<Item = BlockRows<'a, T>>, grads: &mut [T]) {
        let db = &mut grads[..self.units];
        db.fill(T::ZERO);
        for (_, block_grads, rows) in blocks {
            let dz = block_grads.matrix(plan, self.output, rows);
            add_rows(db, dz.data, dz.stride);
        }
    }
}

vectorized! {
    /// `sum += each row`.
    fn add_rows<T: Real>(sum: &mut [T], rows: &[T], stride: usize) {
        rows.chunks(stride).for_each(|row| add(sum, row));
    }

    /// `sum += the product of each pair of rows`, element by element.
    fn add_products<T: Real>(sum: &mut [T], a: &[T], b: &[T], stride: usize) {
        for (a, b) in a.chunks(stride).zip(b.chunks(stride)) {
            sum.iter_mut().zip(a).zip(b).for_each(|((sum, &a), &b)| *sum += a * b);
        }
    }
}
