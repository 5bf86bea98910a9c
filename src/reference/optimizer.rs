//! Optimizers over a run of floats.

use super::real::Real;
use crate::optim::Optimizer;

/// The optimizer's state, beside the parameters: Adam's two moments, or the momentum alone.
pub struct Moments<'a, T> {
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

/// One update of `parameters` by `grads`, at a step counted from 1.
pub fn update<T: Real>(optimizer: &Optimizer, step: u64, parameters: &mut [T], grads: &[T], moments: Moments<T>) {
    let state = moments.first.iter_mut().zip(moments.second);
    let elements = parameters.iter_mut().zip(grads).zip(state);
    match optimizer {
        Optimizer::Adam(adam) => {
            let (b1, b2, eps) = (T::of(adam.beta1), T::of(adam.beta2), T::of(adam.eps));
            let (c1, c2) = (T::of(1.0 - adam.beta1), T::of(1.0 - adam.beta2));
            let (rate, root) = adam.corrections(step);
            let (rate, root) = (T::of(rate), T::of(root));
            for ((p, &g), (m, v)) in elements {
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *p += -(rate * *m / (v.sqrt() * root + eps));
            }
        }
        Optimizer::Sgd(sgd) => {
            let (rate, momentum) = (T::of(sgd.learning_rate), T::of(sgd.momentum));
            for ((p, &g), (m, _)) in elements {
                *m = momentum * *m + g;
                *p += -(rate * *m);
            }
        }
    }
}
