//! A matrix product in its raw parts, and the ways to compute it for any numbers.

use crate::reference::Real;

/// `c (+)= a b` over `rows x depth` and `depth x columns` numbers. `a`'s elements lie anywhere, the rows of `b` and `c` are
/// contiguous.
pub struct Product<T> {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub a: *const T,
    /// Between `a`'s rows, and between its columns.
    pub a_strides: (usize, usize),
    pub b: *const T,
    pub b_stride: usize,
    pub c: *mut T,
    pub c_stride: usize,
    /// Whether to add to what `c` has.
    pub add: bool,
    /// What the next product reads: it may be asked for along the way. Empty where that is not known or near already.
    pub next: [*const [T]; 2],
}

/// Computes a product by the definition.
///
/// # Safety
/// Every element that the product's sizes and strides reach is valid, and `c` overlaps neither `a` nor `b`.
pub unsafe fn plain<T: Real>(p: &Product<T>) {
    for row in 0..p.rows {
        for column in 0..p.columns {
            // SAFETY: as the caller says.
            unsafe {
                let c = p.c.add(row * p.c_stride + column);
                let a = |k: usize| *p.a.add(row * p.a_strides.0 + k * p.a_strides.1);
                let products = (0..p.depth).map(|k| a(k) * *p.b.add(k * p.b_stride + column));
                *c = if p.add { *c } else { T::ZERO } + products.sum();
            }
        }
    }
}

/// Computes a product of floats by the gemm crate.
///
/// # Safety
/// As [`plain`].
pub unsafe fn by_gemm<T: Real>(p: &Product<T>) {
    if p.rows == 0 || p.columns == 0 {
        return;
    }
    // SAFETY: as the caller says. One thread: the sum's order depends on the shape alone.
    unsafe {
        gemm::gemm(
            p.rows,
            p.columns,
            p.depth,
            p.c,
            1,
            p.c_stride as isize,
            p.add,
            p.a,
            p.a_strides.1 as isize,
            p.a_strides.0 as isize,
            p.b,
            1,
            p.b_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
