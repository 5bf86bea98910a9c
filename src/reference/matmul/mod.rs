//! The matrix products of a linear layer, over row-major matrices with a stride: forward `Y = X W^T` by a transposed copy of
//! the weight, `dX = dZ W`, and `dW = dZ^T X`.
//!
//! Each runs on one thread, and the order of its sums depends on its shape alone.

mod product;
mod tiles;

use std::ops::Range;

use super::real::Real;
pub use product::{Product, by_gemm, plain};
pub use tiles::multiply as by_tiles;

/// A row-major matrix in a slice: row `r` starts at `r * stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

/// As [`Matrix`], to write to.
pub struct MatrixMut<'a, T> {
    pub data: &'a mut [T],
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl<T> Matrix<'_, T> {
    /// Some of its columns; there is at least one row.
    pub fn columns(self, columns: Range<usize>) -> Self {
        Self { data: &self.data[columns.start..], cols: columns.len(), ..self }
    }
}

impl<T> MatrixMut<'_, T> {
    /// Some of its columns; there is at least one row.
    pub fn columns(self, columns: Range<usize>) -> Self {
        Self { data: &mut self.data[columns.start..], cols: columns.len(), ..self }
    }
}

/// Whether a product replaces what is there or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// `c (+)= a b`; a `[m, k]`, b `[k, n]`.
pub fn a_b<T: Real>(a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, write: Write) {
    debug_assert!(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols);
    multiply(a, (a.stride, 1), b, c, write, [&[], &[]]);
}

/// `c (+)= a^T b`; a `[k, m]`, b `[k, n]`. `next` is what will be read after it: it is asked for along the way.
pub fn at_b<T: Real>(a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, write: Write, next: [&[T]; 2]) {
    debug_assert!(a.rows == b.rows && a.cols == c.rows && b.cols == c.cols);
    multiply(a, (1, a.stride), b, c, write, next);
}

/// `a_strides` lie between the left factor's rows and between its columns.
fn multiply<T: Real>(
    a: Matrix<T>,
    a_strides: (usize, usize),
    b: Matrix<T>,
    c: MatrixMut<T>,
    write: Write,
    next: [&[T]; 2],
) {
    for (data, rows, cols, stride) in [
        (a.data.len(), a.rows, a.cols, a.stride),
        (b.data.len(), b.rows, b.cols, b.stride),
        (c.data.len(), c.rows, c.cols, c.stride),
    ] {
        assert!(rows == 0 || (cols <= stride && (rows - 1) * stride + cols <= data), "a matrix exceeds its slice");
    }
    let product = Product {
        rows: c.rows,
        columns: c.cols,
        depth: b.rows,
        a: a.data.as_ptr(),
        a_strides,
        b: b.data.as_ptr(),
        b_stride: b.stride,
        c: c.data.as_mut_ptr(),
        c_stride: c.stride,
        add: write == Write::Add,
        next: next.map(std::ptr::from_ref),
    };
    // SAFETY: the assertion above keeps every element that the strides reach inside its slice, and `c` is borrowed
    // mutably, so it overlaps neither `a` nor `b`.
    unsafe { T::multiply(&product) };
}
