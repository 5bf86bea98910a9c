//! The product of two f32 matrices by the vectors of x86-64 processors, without packing either.
//!
//! A tile of `c` stays in registers while it goes along `k`: a vector of `b`'s row is loaded once for all rows of the tile, an
//! element of `a` once for the tile's two vectors. Both are read where they lie: small products that follow one another
//! would spend a good part of their time on copies otherwise. An element is summed along `k` by fused operations, one
//! after another, whatever the vectors are: a machine with AVX2 and one with AVX-512 compute the same bits.

use super::Product;

/// Runs a product.
///
/// # Safety
/// As [`super::plain`].
pub type Multiply = unsafe fn(&Product<f32>);

/// The form for the widest vectors of this processor that there is one for.
pub fn multiply() -> Option<Multiply> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return Some(avx512::multiply);
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Some(avx2::multiply);
        }
    }
    None
}

/// Numbers of a cache line.
const LINE: usize = 16;

/// Where cache line `number` of the arrays lies, which follow one another.
fn lines_of(arrays: &[*const [f32]; 2], mut number: usize) -> Option<*const f32> {
    for array in arrays {
        let lines = array.len().div_ceil(LINE);
        if number < lines {
            return Some(array.cast::<f32>().wrapping_add(number * LINE));
        }
        number -= lines;
    }
    None
}

/// The loops over tiles of up to the last of `$rows` rows and of two vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! product_of_tiles {
    ($feature:literal, [$($rows:literal)*]) => {
        /// # Safety
        /// As [`super::super::plain`]; the processor has the feature.
        #[target_feature(enable = $feature)]
        pub unsafe fn multiply(p: &Product<f32>) {
            const ROWS: usize = [$($rows),*].len();
            let mut number = 0;
            for column in (0..p.columns).step_by(COLUMNS) {
                for row in (0..p.rows).step_by(ROWS) {
                    // The first two tiles ask for a vector each of the rows that the next column's tiles begin with.
                    let ahead = if row <= ROWS { COLUMNS + row / ROWS * LANES } else { 0 };
                    let next = lines_of(&p.next, number * p.depth).unwrap_or(p.b);
                    number += 1;
                    // SAFETY: the tile lies inside the product.
                    unsafe {
                        match (ROWS.min(p.rows - row), p.columns - column) {
                            $(
                                ($rows, COLUMNS..) => tile::<$rows, 2, true>(p, [row, column], ahead, next),
                                ($rows, ..=LANES) => tile::<$rows, 1, false>(p, [row, column], ahead, next),
                                ($rows, _) => tile::<$rows, 2, false>(p, [row, column], ahead, next),
                            )*
                            _ => {}
                        }
                    }
                }
            }
        }

        /// A tile of `R` rows and `V` vectors; not `FULL` is one that the last column cuts off. Asks for what lies `ahead`
        /// numbers behind where it reads `b`, and for as many cache lines from `next` on as the product is deep.
        #[target_feature(enable = $feature)]
        unsafe fn tile<const R: usize, const V: usize, const FULL: bool>(
            p: &Product<f32>,
            [row, column]: [usize; 2],
            ahead: usize,
            mut next: *const f32,
        ) {
            let left = p.columns - column;
            let masks = [mask(left), mask(left.saturating_sub(LANES))];
            // SAFETY: as the caller says; masks hold back the lanes behind the last column. Addresses of whole vectors
            // that are held back are computed without leaving the provenance of the matrix, and not read.
            unsafe {
                let c = |r: usize, v: usize| p.c.add((row + r) * p.c_stride + column).wrapping_add(v * LANES);
                let mut sums = [[zero(); V]; R];
                if p.add {
                    for r in 0..R {
                        for v in 0..V {
                            sums[r][v] = load::<FULL>(masks[v], c(r, v));
                        }
                    }
                }
                let (mut a, mut b) = (p.a.add(row * p.a_strides.0), p.b.wrapping_add(column));
                for _ in 0..p.depth {
                    _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(ahead).cast());
                    _mm_prefetch::<_MM_HINT_T1>(next.cast());
                    next = next.wrapping_add(LINE);
                    let mut b_row = [zero(); V];
                    for v in 0..V {
                        b_row[v] = load::<FULL>(masks[v], b.wrapping_add(v * LANES));
                    }
                    for r in 0..R {
                        let x = splat(*a.wrapping_add(r * p.a_strides.0));
                        for v in 0..V {
                            sums[r][v] = multiply_add(x, b_row[v], sums[r][v]);
                        }
                    }
                    (a, b) = (a.wrapping_add(p.a_strides.1), b.wrapping_add(p.b_stride));
                }
                for r in 0..R {
                    for v in 0..V {
                        store::<FULL>(masks[v], c(r, v), sums[r][v]);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{LINE, Product, lines_of};

    const LANES: usize = 16;
    const COLUMNS: usize = 2 * LANES;

    product_of_tiles!("avx512f", [1 2 3 4 5 6 7 8 9 10 11 12]);

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn mask(lanes: usize) -> __mmask16 {
        if lanes >= LANES { !0 } else { (1 << lanes) - 1 }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn multiply_add(x: __m512, y: __m512, z: __m512) -> __m512 {
        _mm512_fmadd_ps(x, y, z)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load<const FULL: bool>(mask: __mmask16, from: *const f32) -> __m512 {
        // SAFETY: the lanes of the mask, or all, are valid, as the caller says.
        unsafe { if FULL { _mm512_loadu_ps(from) } else { _mm512_maskz_loadu_ps(mask, from) } }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store<const FULL: bool>(mask: __mmask16, to: *mut f32, x: __m512) {
        // SAFETY: the lanes of the mask, or all, are valid, as the caller says.
        unsafe { if FULL { _mm512_storeu_ps(to, x) } else { _mm512_mask_storeu_ps(to, mask, x) } }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LINE, Product, lines_of};

    const LANES: usize = 8;
    const COLUMNS: usize = 2 * LANES;

    product_of_tiles!("avx2,fma", [1 2 3 4 5 6]);

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn mask(lanes: usize) -> __m256i {
        let lanes = _mm256_set1_epi32(lanes.min(LANES) as i32);
        _mm256_cmpgt_epi32(lanes, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn zero() -> __m256 {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_add(x: __m256, y: __m256, z: __m256) -> __m256 {
        _mm256_fmadd_ps(x, y, z)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load<const FULL: bool>(mask: __m256i, from: *const f32) -> __m256 {
        // SAFETY: the lanes of the mask, or all, are valid, as the caller says.
        unsafe { if FULL { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, mask) } }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store<const FULL: bool>(mask: __m256i, to: *mut f32, x: __m256) {
        // SAFETY: the lanes of the mask, or all, are valid, as the caller says.
        unsafe { if FULL { _mm256_storeu_ps(to, x) } else { _mm256_maskstore_ps(to, mask, x) } }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Small awkward numbers, whose products round.
    fn numbers(n: usize, factor: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * factor) % 1009) as f32 / 317.0 - 1.5).collect()
    }

    /// The forms that this machine runs.
    fn forms() -> Vec<(&'static str, Multiply)> {
        let mut forms: Vec<(_, Multiply)> = Vec::new();
        if std::arch::is_x86_feature_detected!("avx512f") {
            forms.push(("avx512", avx512::multiply));
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            forms.push(("avx2", avx2::multiply));
        }
        forms
    }

    #[test]
    fn every_form_sums_fused_products_in_order_and_leaves_what_lies_beside() {
        for (rows, columns, depth) in
            [(1, 1, 1), (5, 3, 7), (12, 32, 9), (13, 33, 1), (25, 47, 20), (6, 16, 0), (11, 80, 31)]
        {
            for (is_transposed, add) in [(false, false), (false, true), (true, false), (true, true)] {
                let (a, b) = (numbers((rows + 1) * (depth + 2), 37), numbers(depth * (columns + 3) + 3, 53));
                let a_strides = if is_transposed { (1, rows + 1) } else { (depth + 2, 1) };
                let before = numbers(rows * (columns + 2), 11);
                let mut expected = before.clone();
                for r in 0..rows {
                    for column in 0..columns {
                        let c = &mut expected[r * (columns + 2) + column];
                        let start = if add { *c } else { 0.0 };
                        let product = |sum: f32, k: usize| {
                            a[r * a_strides.0 + k * a_strides.1].mul_add(b[k * (columns + 3) + column], sum)
                        };
                        *c = (0..depth).fold(start, product);
                    }
                }
                for (name, multiply) in forms() {
                    let mut c = before.clone();
                    let product = Product {
                        rows,
                        columns,
                        depth,
                        a: a.as_ptr(),
                        a_strides,
                        b: b.as_ptr(),
                        b_stride: columns + 3,
                        c: c.as_mut_ptr(),
                        c_stride: columns + 2,
                        add,
                        next: [&a[..], &b[..]].map(std::ptr::from_ref),
                    };
                    // SAFETY: the slices hold what the sizes and strides reach.
                    unsafe { multiply(&product) };
                    assert_eq!(
                        c, expected,
                        "{name}: {rows} x {columns} x {depth}, transposed {is_transposed}, add {add}"
                    );
                }
            }
        }
    }
}
