//! Loops over runs of floats, compiled for the vectors that this machine has.

use super::real::Real;

/// Runs a loop in the widest vectors here; a build for a plain x86-64 has but 128 bits otherwise. Each element goes
/// through the same operations at any width, so the bits do not depend on it.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Partial sums of [`dot`].
const LANES: usize = 8;

/// `sum of a b`, in an order that vectors can follow: over each eighth element, then over the eight sums.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [T::ZERO; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: T = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
    sums.into_iter().sum::<T>() + rest
}

/// `y += x`.
#[inline(always)]
pub fn add<T: Real>(y: &mut [T], x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
}

/// `y += a x`.
#[inline(always)]
pub fn add_scaled<T: Real>(y: &mut [T], a: T, x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x);
}
