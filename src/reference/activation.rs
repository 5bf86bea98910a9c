//! Activations and their derivatives.

use super::real::Real;
use crate::plan::Activation;

pub fn sigmoid<T: Real>(z: T) -> T {
    // In the form that cannot overflow.
    let e = (-z.abs()).exp();
    if z < T::ZERO { e / (T::ONE + e) } else { T::ONE / (T::ONE + e) }
}

/// `y = activation(z)`.
pub fn activate<T: Real>(activation: Activation, z: T) -> T {
    match activation {
        Activation::Identity => z,
        // Not `max`: a NaN must stay one.
        Activation::Relu => {
            if z < T::ZERO {
                T::ZERO
            } else {
                z
            }
        }
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => sigmoid(z),
        Activation::Gelu => z * normal_cdf(z),
    }
}

/// `dy/dz`, from the output `y`, and for gelu alone from its argument `z`.
pub fn derivative<T: Real>(activation: Activation, y: T, z: T) -> T {
    match activation {
        Activation::Identity => T::ONE,
        Activation::Relu => {
            if y > T::ZERO {
                T::ONE
            } else {
                T::ZERO
            }
        }
        Activation::Tanh => T::ONE - y * y,
        Activation::Sigmoid => y * (T::ONE - y),
        Activation::Gelu => normal_cdf(z) + z * normal_density(z),
    }
}

fn normal_cdf<T: Real>(z: T) -> T {
    T::of(0.5) * (T::ONE + (z * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn normal_density<T: Real>(z: T) -> T {
    T::of(0.398_942_280_401_432_7) * (T::of(-0.5) * z * z).exp() // 1 / sqrt(2 pi)
}
