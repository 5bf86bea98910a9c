//! Activations and their derivatives.

use super::real::Real;
use crate::plan::Activation;

pub fn sigmoid<T: Real>(z: T) -> T {
    // In the form that cannot overflow.
    let e = (-z.abs()).exp();
    if z < T::ZERO { e / (T::ONE + e) } else { T::ONE / (T::ONE + e) }
}

/// `y = activation(z)`.
#[inline(always)]
pub fn activate<T: Real>(activation: Activation, z: T) -> T {
    match activation {
        Activation::Identity => z,
        Activation::Relu => z.relu(),
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => sigmoid(z),
        Activation::Gelu => z * normal_cdf(z),
    }
}

/// `dy/dz`, from the output `y`, and for gelu alone from its argument `z`.
#[inline(always)]
pub fn derivative<T: Real>(activation: Activation, y: T, z: T) -> T {
    match activation {
        Activation::Identity => T::ONE,
        Activation::Relu => y.step(),
        Activation::Tanh => T::ONE - y * y,
        Activation::Sigmoid => y * (T::ONE - y),
        Activation::Gelu => normal_cdf(z) + z * normal_density(z),
    }
}

/// `y = activation(z + bias)` over rows of `width` at a stride, in place.
pub fn activate_rows<T: Real>(activation: Activation, bias: Option<&[T]>, rows: &mut [T], width: usize, stride: usize) {
    match activation {
        Activation::Identity if bias.is_none() => {}
        Activation::Identity => identity_rows(bias, rows, width, stride),
        Activation::Relu => relu_rows(bias, rows, width, stride),
        other => each(bias, rows, width, stride, |z| activate(other, z)),
    }
}

vectorized! {
    fn identity_rows<T: Real>(bias: Option<&[T]>, rows: &mut [T], width: usize, stride: usize) {
        each(bias, rows, width, stride, |z| z);
    }

    fn relu_rows<T: Real>(bias: Option<&[T]>, rows: &mut [T], width: usize, stride: usize) {
        each(bias, rows, width, stride, |z| activate(Activation::Relu, z));
    }

    fn through_relu<T: Real>(d: &mut [T], y: &[T]) {
        d.iter_mut().zip(y).for_each(|(d, &y)| *d *= derivative(Activation::Relu, y, y));
    }
}

#[inline(always)]
fn each<T: Real>(bias: Option<&[T]>, rows: &mut [T], width: usize, stride: usize, f: impl Fn(T) -> T) {
    for row in rows.chunks_mut(stride) {
        match bias {
            Some(bias) => row[..width].iter_mut().zip(bias).for_each(|(z, &b)| *z = f(*z + b)),
            None => row[..width].iter_mut().for_each(|z| *z = f(*z)),
        }
    }
}

/// From the gradient by outputs `y` to that by arguments `z`, in place: `d *= dy/dz`.
pub fn through_activation<T: Real>(activation: Activation, d: &mut [T], y: &[T], z: &[T]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => through_relu(d, y),
        other => d.iter_mut().zip(y).zip(z).for_each(|((d, &y), &z)| *d *= derivative(other, y, z)),
    }
}

fn normal_cdf<T: Real>(z: T) -> T {
    T::of(0.5) * (T::ONE + (z * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn normal_density<T: Real>(z: T) -> T {
    T::of(0.398_942_280_401_432_7) * (T::of(-0.5) * z * z).exp() // 1 / sqrt(2 pi)
}
