//! The three matrix products of a linear layer, over row-major matrices with a stride.

use super::real::Real;

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

/// Whether a product replaces what is there or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// `c (+)= a b^T`; a `[m, k]`, b `[n, k]`.
pub fn a_bt<T: Real>(a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, write: Write) {
    debug_assert!(a.cols == b.cols && a.rows == c.rows && b.rows == c.cols);
    let k = a.cols;
    product(c, k, (a, a.stride, 1), (b, 1, b.stride), write);
}

/// `c (+)= a b`; a `[m, k]`, b `[k, n]`.
pub fn a_b<T: Real>(a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, write: Write) {
    debug_assert!(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols);
    let k = a.cols;
    product(c, k, (a, a.stride, 1), (b, b.stride, 1), write);
}

/// `c (+)= a^T b`; a `[k, m]`, b `[k, n]`.
pub fn at_b<T: Real>(a: Matrix<T>, b: Matrix<T>, c: MatrixMut<T>, write: Write) {
    debug_assert!(a.rows == b.rows && a.cols == c.rows && b.cols == c.cols);
    let k = a.rows;
    product(c, k, (a, 1, a.stride), (b, b.stride, 1), write);
}

/// A matrix with the distance between its rows and between its columns.
type Strided<'a, T> = (Matrix<'a, T>, usize, usize);

fn product<T: Real>(c: MatrixMut<T>, k: usize, a: Strided<T>, b: Strided<T>, write: Write) {
    for (data, rows, cols, stride) in [
        (a.0.data.len(), a.0.rows, a.0.cols, a.0.stride),
        (b.0.data.len(), b.0.rows, b.0.cols, b.0.stride),
        (c.data.len(), c.rows, c.cols, c.stride),
    ] {
        assert!(rows == 0 || (cols <= stride && (rows - 1) * stride + cols <= data), "a matrix exceeds its slice");
    }
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    if !T::IS_FLOAT {
        return plain_product(c, k, a, b, write);
    }
    // SAFETY: the assertion above keeps every element that the strides reach inside its slice, and `c` is borrowed
    // mutably, so it overlaps neither `a` nor `b`. One thread: the sum's order depends on the shape alone.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            k,
            c.data.as_mut_ptr(),
            1,
            c.stride as isize,
            write == Write::Add,
            a.0.data.as_ptr(),
            a.2 as isize,
            a.1 as isize,
            b.0.data.as_ptr(),
            b.2 as isize,
            b.1 as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// For numbers that the crate does not know.
fn plain_product<T: Real>(c: MatrixMut<T>, k: usize, a: Strided<T>, b: Strided<T>, write: Write) {
    for i in 0..c.rows {
        for j in 0..c.cols {
            let before = if write == Write::Add { c.data[i * c.stride + j] } else { T::ZERO };
            let products = (0..k).map(|p| a.0.data[i * a.1 + p * a.2] * b.0.data[p * b.1 + j * b.2]);
            c.data[i * c.stride + j] = before + products.sum();
        }
    }
}
