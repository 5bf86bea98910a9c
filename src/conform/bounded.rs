//! Numbers that know how far a kernel may be from them.
//!
//! [`Bounded`] is a float of the reference: the plan is run in it, and every element comes out with a bound on the error
//! that any implementation of WGSL may make there, whatever the order of its sums and whatever it fuses. Per operation
//! the bounds are those of WGSL's accuracy table ("Floating Point Evaluation" in the specification).
//!
//! What f32 surely cannot hold is infinite or NaN here too, and goes on as such. Where a kernel may have a finite number or
//! not (a sum whose parts may overflow, a quotient by more than 2^126, a function of an infinity), the error is NaN:
//! nothing is known.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::bounded_product;
use crate::reference::{Product, Real};

/// WGSL lets an operation round to either neighbour.
const U: f64 = 1.0 / (1u32 << 23) as f64;

/// A result or an operand below this may be flushed to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// The largest finite number of a kernel.
const MOST: f64 = f32::MAX as f64;

/// WGSL says nothing of quotients by more.
const LARGEST_DIVISOR: f64 = (1u128 << 126) as f64;

/// A value in f64 with what bounds a kernel's error: a sum of products, whose additions may come in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounded {
    value: f64,
    /// Error that the summands bring along.
    inherited: f64,
    /// Magnitudes of the summands added up, errors included: no partial sum, in whatever order, is larger.
    mass: f64,
    additions: f64,
}

/// The relative error of `n` roundings one behind the other.
fn gamma(n: f64) -> f64 {
    n * U / (1.0 - n * U)
}

/// `a b`, where nothing times an unbounded error is nothing.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

impl Bounded {
    /// What a kernel is given.
    pub fn exact(x: f32) -> Self {
        Self::of(f64::from(x))
    }

    /// A result of one operation with its error.
    fn result(value: f64, inherited: f64) -> Self {
        Self { value, inherited, mass: value.abs() + inherited, additions: 0.0 }
    }

    /// A sum whose summands were added up one by one.
    pub(super) fn summed(value: f64, inherited: f64, mass: f64, additions: usize) -> Self {
        Self { value, inherited, mass, additions: additions as f64 }
    }

    /// Infinite or NaN where a kernel has no finite number.
    pub fn value(self) -> f64 {
        self.value_and_error().0
    }

    /// No kernel may be farther off. NaN where nothing is known.
    pub fn error(self) -> f64 {
        self.value_and_error().1
    }

    /// Both as the next operation takes them.
    #[inline(always)]
    pub(super) fn value_and_error(self) -> (f64, f64) {
        let n = self.additions;
        let error = if n == 0.0 { self.inherited } else { self.inherited + times(gamma(n), self.mass) + n * TINY };
        if self.mass <= MOST { (self.value, error) } else { overflowed(self.value, error) }
    }

    /// A kernel that is farther off is worth a look: roundings seldom all go the same way, which the bound reckons with.
    pub fn expected_error(self) -> f64 {
        self.inherited + 2.0 * (self.additions + 1.0).sqrt() * U * self.mass + self.additions * TINY
    }

    /// A product of two values and its error, from theirs. A kernel has exactly zero where a factor is that, unless the
    /// other one is not finite.
    #[inline(always)]
    pub(super) fn product((a, a_error): (f64, f64), (b, b_error): (f64, f64)) -> (f64, f64) {
        let (x, y) = (a.abs(), b.abs());
        let moved = times(x, b_error) + times(y, a_error) + times(a_error, b_error);
        let error = moved + U * (x * y + moved) + TINY;
        let is_zero = (x == 0.0 && a_error == 0.0) || (y == 0.0 && b_error == 0.0);
        let unknown = if (a_error + b_error).is_nan() { f64::NAN } else { 0.0 };
        (a * b + 0.0, if is_zero { unknown } else { error + unknown })
    }

    /// What a function is at an infinity: WGSL does not say.
    fn unknown() -> Self {
        Self::result(0.0, f64::NAN)
    }

    /// Whether a kernel may see this above zero or not, as it rounds.
    pub fn is_near_zero(self) -> bool {
        let (value, error) = self.value_and_error();
        error > 0.0 && value <= error && value >= -error
    }
}

/// Value and error of what may be too large for f32.
#[cold]
fn overflowed(value: f64, error: f64) -> (f64, f64) {
    if !value.is_finite() {
        (value, 0.0)
    } else if value.abs() - error > MOST {
        (f64::INFINITY.copysign(value), 0.0)
    } else if error.is_infinite() {
        (value, error)
    } else {
        (value, f64::NAN)
    }
}

impl Real for Bounded {
    const ZERO: Self = Self { value: 0.0, inherited: 0.0, mass: 0.0, additions: 0.0 };
    const ONE: Self = Self { value: 1.0, inherited: 0.0, mass: 1.0, additions: 0.0 };

    /// A number that the kernel has as the nearest f32.
    fn of(x: f64) -> Self {
        let given = f64::from(x as f32);
        let flushed = if given.abs() < TINY { given.abs() } else { 0.0 };
        Self::result(x, (x - given).abs() + flushed)
    }

    fn to_f64(self) -> f64 {
        self.value()
    }

    fn exp(self) -> Self {
        let (x, error) = self.value_and_error();
        if x.is_infinite() {
            return Self::unknown();
        }
        let (value, largest) = (x.exp(), (x + error).exp());
        let rounding = (3.0 + 2.0 * (x.abs() + error)) * U;
        Self::result(value, (largest - value) + times(largest, rounding) + TINY)
    }

    /// As the shaders have it: a series below 1e-3, and log, whose error is absolute there.
    fn ln_1p(self) -> Self {
        let (x, error) = self.value_and_error();
        if x.is_infinite() {
            return Self::unknown();
        }
        let rounding = if x + error < 1e-3 { 8.0 * U * x.abs() + TINY } else { U + 0.25 * U + 4.0 * U };
        Self::result(x.ln_1p(), error + rounding)
    }

    fn tanh(self) -> Self {
        let (x, error) = self.value_and_error();
        Self::result(x.tanh(), error + 1e-5)
    }

    fn sqrt(self) -> Self {
        let (x, error) = self.value_and_error();
        if x.is_infinite() {
            return Self::unknown();
        }
        let value = x.sqrt();
        let moved = if x > error { value - (x - error).sqrt() } else { (x + error).sqrt() };
        // 1 / inverseSqrt: two and two and a half units; and what is flushed below.
        Self::result(value, moved + 4.5 * U * (value + moved) + TINY.sqrt())
    }

    fn abs(self) -> Self {
        let (x, error) = self.value_and_error();
        Self::result(x.abs(), error)
    }

    /// As the shaders have it: a polynomial in 1 / (1 + 0.3275911 |x|) times exp(-x^2), off by 1.5e-7 at most.
    fn erf(self) -> Self {
        let (x, error) = self.value_and_error();
        if x.is_infinite() {
            return Self::unknown();
        }
        let decay = (-x * x).exp();
        let rounding = (64.0 + 2.0 * x * x) * U * decay + 2.0 * U;
        let slope = std::f64::consts::FRAC_2_SQRT_PI;
        let moved = slope * error;
        let moved = if moved > 2.0 { 2.0 } else { moved };
        Self::result(libm::erf(x), moved + 1.5e-7 + rounding)
    }

    /// A NaN stays one.
    fn max(self, other: Self) -> Self {
        let ((a, a_error), (b, b_error)) = (self.value_and_error(), other.value_and_error());
        let is_known = !(a_error + b_error).is_nan();
        let value = if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        Self::result(value, if is_known { a_error.max(b_error) } else { f64::NAN })
    }

    fn relu(self) -> Self {
        let (x, error) = self.value_and_error();
        Self::result(if x < 0.0 { 0.0 } else { x }, if x + error <= 0.0 { 0.0 } else { error })
    }

    fn step(self) -> Self {
        let error = if self.is_near_zero() { 1.0 } else { 0.0 };
        Self::result(if self.value() > 0.0 { 1.0 } else { 0.0 }, error)
    }

    unsafe fn multiply(product: &Product<Self>) {
        // SAFETY: as the caller says.
        unsafe { bounded_product::multiply(product) };
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Bounded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Bounded {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            inherited: self.inherited + other.inherited,
            mass: self.mass + other.mass,
            additions: self.additions + other.additions + 1.0,
        }
    }
}

impl Neg for Bounded {
    type Output = Self;

    fn neg(self) -> Self {
        Self { value: -self.value, ..self }
    }
}

impl Sub for Bounded {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Bounded {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let (value, error) = Self::product(self.value_and_error(), other.value_and_error());
        Self::result(value, error)
    }
}

impl Div for Bounded {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let ((a, a_error), (b, error)) = (self.value_and_error(), other.value_and_error());
        let value = a / b;
        if !value.is_nan() && b.abs() + error > LARGEST_DIVISOR {
            return Self::unknown();
        }
        let least = (b.abs() - error).max(0.0);
        let moved = (a_error + times(value.abs(), error)) / least;
        let moved = if moved.is_nan() && !(a_error + error).is_nan() { f64::INFINITY } else { moved };
        Self::result(value, moved + 2.5 * U * (value.abs() + moved) + TINY)
    }
}

impl AddAssign for Bounded {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl MulAssign for Bounded {
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl Sum for Bounded {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::ZERO, |sum, term| sum + term)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn draws(seed: u64, count: usize, range: f32) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-range..range)).collect()
    }

    fn holds(actual: f32, bounded: Bounded) -> bool {
        (f64::from(actual) - bounded.value()).abs() <= bounded.error()
    }

    #[test]
    fn a_dot_product_is_bounded_by_gamma_of_its_length_whatever_its_order() {
        let (a, b) = (draws(1, 500, 2.0), draws(2, 500, 2.0));
        let bounded: Bounded = a.iter().zip(&b).map(|(&a, &b)| Bounded::exact(a) * Bounded::exact(b)).sum();
        let mass: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a * b).abs()).sum();
        assert!(bounded.error() <= gamma(502.0) * mass * 1.001 && bounded.error() >= gamma(499.0) * mass);
        let products: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        let forward: f32 = products.iter().sum();
        let backward: f32 = products.iter().rev().sum();
        let mut sorted = products.clone();
        sorted.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
        for actual in [forward, backward, sorted.iter().sum()] {
            assert!(holds(actual, bounded));
        }
        assert!(!holds(forward + products[7], bounded), "a product taken twice does not hold");
    }

    #[test]
    fn functions_in_f32_hold() {
        for x in draws(3, 2000, 12.0) {
            let b = Bounded::exact(x);
            let positive = Bounded::exact(x.abs());
            assert!(holds(x.exp(), b.exp()), "exp {x}");
            assert!(holds(x.tanh(), b.tanh()), "tanh {x}");
            assert!(holds(x.abs().sqrt(), positive.sqrt()), "sqrt {x}");
            assert!(holds((-x.abs()).exp().ln_1p(), (-positive).exp().ln_1p()), "ln_1p {x}");
            assert!(holds(libm::erff(x), b.erf()), "erf {x}");
            assert!(holds(1.0 / x, Bounded::ONE / b), "1 / {x}");
            assert!(holds(x.max(0.0), b.relu()));
        }
    }

    #[test]
    fn a_bound_grows_with_what_goes_in() {
        let rough = Bounded::result(2.0, 0.125);
        assert!((rough * Bounded::exact(3.0)).error() >= 0.375);
        assert!((rough + Bounded::ONE).error() >= 0.125);
        assert!((Bounded::ONE / Bounded::result(0.5, 0.5)).error().is_infinite());
        assert!(rough.sqrt().error() >= 0.04 && rough.exp().error() >= 0.9);
    }

    #[test]
    fn a_relu_whose_argument_may_round_either_way_has_no_sure_derivative() {
        let near = Bounded::result(1e-9, 1e-8);
        assert_eq!((near.step().error(), near.relu().error()), (1.0, 1e-8));
        assert_eq!(Bounded::exact(0.5).step().error(), 0.0);
        assert_eq!(Bounded::ZERO.step().value(), 0.0);
        assert_eq!(Bounded::ZERO.step().error(), 0.0);
        assert_eq!(Bounded::result(-1.0, 0.5).relu().error(), 0.0);
    }

    #[test]
    fn denormals_may_be_flushed() {
        let denormal = Bounded::exact(1e-40);
        assert!(holds(0.0, denormal) && holds(1e-40, denormal));
        assert!(holds(0.0, Bounded::exact(1e-20) * Bounded::exact(1e-20)));
    }
}
