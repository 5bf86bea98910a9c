//! Loops over runs of floats, compiled for the vectors that this machine has.

use super::real::Real;

/// Defines functions that are compiled twice, for any CPU of the build's target and for AVX2, and take the second where
/// the CPU has it: a build for a plain x86-64 has vectors of 128 bits otherwise. Each element goes through the same
/// operations in both (nothing is fused), so the bits do not depend on which is taken.
macro_rules! vectorized {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident<T: Real>($($arg:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // Clippy counts those of the expansion.
        $vis fn $name<T: $crate::reference::Real>($($arg: $type),*) {
            #[inline(always)]
            fn body<T: $crate::reference::Real>($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide<T: $crate::reference::Real>($($arg: $type),*) {
                    body($($arg),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the CPU has the feature that `wide` is compiled for.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*);
        }
    )*};
}
/// Asks the CPU to bring a run of numbers near, so that they are there when they are read: rows of large tables lie where
/// no CPU expects them.
#[inline(always)]
pub fn prefetch<T>(run: &[T]) {
    const LINE: usize = 64;
    #[cfg(target_arch = "x86_64")]
    // A run that does not start with a line ends in one more.
    for first in run.chunks((LINE / size_of::<T>()).max(1)).map(|line| &line[0]).chain(run.last()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, and the address is of the run.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(first).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (run, LINE);
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

/// The sum, in an order as [`dot`]'s.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    let (x, rest) = x.as_chunks::<LANES>();
    let mut sums = [T::ZERO; LANES];
    for x in x {
        sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
    }
    sums.into_iter().sum::<T>() + rest.iter().copied().sum()
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
