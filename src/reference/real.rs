//! The precisions: f64 is the oracle, f32 the device `cpu`. Conformance adds one of its own, with bounds.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::matmul::{Product, by_gemm, by_tiles, plain};

/// A float that the reference computes in.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + 'static
{
    const ZERO: Self;
    const ONE: Self;

    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn ln_1p(self) -> Self;
    fn tanh(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn erf(self) -> Self;
    fn max(self, other: Self) -> Self;

    /// Computes a matrix product.
    ///
    /// # Safety
    /// Every element that the product's sizes and strides reach is valid, and `c` overlaps neither `a` nor `b`.
    unsafe fn multiply(product: &Product<Self>) {
        // SAFETY: as the caller says.
        unsafe { plain(product) };
    }

    /// Zero below zero. Not `max`: a NaN must stay one.
    #[inline(always)]
    fn relu(self) -> Self {
        if self < Self::ZERO { Self::ZERO } else { self }
    }

    /// The derivative of relu by its result: one above zero, else zero.
    #[inline(always)]
    fn step(self) -> Self {
        if self > Self::ZERO { Self::ONE } else { Self::ZERO }
    }
}

macro_rules! real {
    ($t:ty, $erf:path, $multiply:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.max(other)
            }
            unsafe fn multiply(product: &Product<Self>) {
                // SAFETY: as the caller says.
                unsafe { $multiply(product) };
            }
        }
    };
}

real!(f32, libm::erff, by_tiles_or_gemm);
real!(f64, libm::erf, by_gemm);

/// By tiles where the processor has vectors that they are written for.
///
/// # Safety
/// As [`plain`].
unsafe fn by_tiles_or_gemm(product: &Product<f32>) {
    // SAFETY: as the caller says; the tiles' form is one that the processor has.
    unsafe {
        match by_tiles() {
            Some(multiply) => multiply(product),
            None => by_gemm(product),
        }
    }
}
