//! The activations and gradients of one block of rows.

use std::ops::Range;

use super::matmul::{Matrix, MatrixMut};
use super::real::Real;
use crate::plan::{Layout, ParameterId, Plan, Tensor, TensorId};

/// Every tensor of a plan for up to `capacity` rows, placed as [`Tensor`] says.
pub struct Arena<T> {
    data: Vec<T>,
    capacity: usize,
}

impl<T: Real> Arena<T> {
    pub fn new(plan: &Plan, capacity: usize) -> Self {
        Self { data: vec![T::ZERO; plan.arena_stride() * capacity], capacity }
    }

    fn range(&self, t: &Tensor, rows: usize) -> Range<usize> {
        let start = t.start * self.capacity;
        start..start + rows * t.stride
    }

    /// The first `rows` rows of a tensor, at its stride.
    pub fn get(&self, plan: &Plan, id: TensorId, rows: usize) -> &[T] {
        &self.data[self.range(plan.tensor(id), rows)]
    }

    pub fn get_mut(&mut self, plan: &Plan, id: TensorId, rows: usize) -> &mut [T] {
        let range = self.range(plan.tensor(id), rows);
        &mut self.data[range]
    }

    /// One tensor to read and another to write.
    pub fn pair(&mut self, plan: &Plan, read: TensorId, write: TensorId, rows: usize) -> (&[T], &mut [T]) {
        let [read, write] = self.many(plan, [read, write], rows);
        (read, write)
    }

    /// Two tensors to write.
    pub fn both(&mut self, plan: &Plan, ids: [TensorId; 2], rows: usize) -> (&mut [T], &mut [T]) {
        let [first, second] = self.many(plan, ids, rows);
        (first, second)
    }

    /// Several distinct tensors at once.
    pub fn many<const N: usize>(&mut self, plan: &Plan, ids: [TensorId; N], rows: usize) -> [&mut [T]; N] {
        let ranges = ids.map(|id| self.range(plan.tensor(id), rows));
        self.data.get_disjoint_mut(ranges).expect("a plan's tensors are apart, and these are distinct")
    }

    pub fn matrix(&self, plan: &Plan, id: TensorId, rows: usize) -> Matrix<'_, T> {
        matrix(plan.tensor(id), self.get(plan, id, rows), rows)
    }
}

/// A tensor's rows as a matrix.
pub fn matrix<'a, T>(t: &Tensor, data: &'a [T], rows: usize) -> Matrix<'a, T> {
    Matrix { data, rows, cols: t.width, stride: t.stride }
}

pub fn matrix_mut<'a, T>(t: &Tensor, data: &'a mut [T], rows: usize) -> MatrixMut<'a, T> {
    MatrixMut { data, rows, cols: t.width, stride: t.stride }
}

/// A weight in its block, `[out, in]`.
pub fn weight<'a, T>(layout: &Layout, block: &'a [T], id: ParameterId) -> Matrix<'a, T> {
    let p = layout.get(id);
    Matrix { data: &block[p.offset..p.offset + p.len()], rows: p.rows, cols: p.cols, stride: p.stride }
}

/// A vector in its block.
pub fn vector<'a, T>(layout: &Layout, block: &'a [T], id: ParameterId) -> &'a [T] {
    let p = layout.get(id);
    &block[p.offset..p.offset + p.cols]
}
