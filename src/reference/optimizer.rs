//! Optimizers over a run of floats.

use super::real::Real;
use super::split::Split;
use super::vector::vectorized;
use crate::optim::Optimizer;

/// Parameters beside the optimizer's state: Adam's two moments, or the momentum alone.
pub struct State<'a, T> {
    pub parameters: &'a mut [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

impl<T: Real> Split for State<'_, T> {
    fn split(self, at: usize) -> (Self, Self) {
        let (parameters, parameters_rest) = self.parameters.split_at_mut(at);
        let (first, first_rest) = self.first.split_at_mut(at);
        let (second, second_rest) = self.second.split_at_mut(at);
        (
            Self { parameters, first, second },
            Self { parameters: parameters_rest, first: first_rest, second: second_rest },
        )
    }
}

impl<T> State<'_, T> {
    /// A part of the run.
    pub fn part(&mut self, range: std::ops::Range<usize>) -> State<'_, T> {
        State {
            parameters: &mut self.parameters[range.clone()],
            first: &mut self.first[range.clone()],
            second: &mut self.second[range],
        }
    }
}

/// One update by `grads`, at a step counted from 1.
pub fn update<T: Real>(optimizer: &Optimizer, step: u64, state: State<T>, grads: impl Iterator<Item = T>) {
    let moments = state.first.iter_mut().zip(state.second);
    let elements = state.parameters.iter_mut().zip(moments).zip(grads);
    match optimizer {
        Optimizer::Adam(adam) => {
            let (b1, b2, eps) = (T::of(adam.beta1), T::of(adam.beta2), T::of(adam.eps));
            let (c1, c2) = (T::of(1.0 - adam.beta1), T::of(1.0 - adam.beta2));
            let (rate, root) = adam.corrections(step);
            let (rate, root) = (T::of(rate), T::of(root));
            vectorized(|| {
                for ((p, (m, v)), g) in elements {
                    *m = b1 * *m + c1 * g;
                    *v = b2 * *v + c2 * g * g;
                    *p += -(rate * *m / (v.sqrt() * root + eps));
                }
            });
        }
        Optimizer::Sgd(sgd) => {
            let (rate, momentum) = (T::of(sgd.learning_rate), T::of(sgd.momentum));
            vectorized(|| {
                for ((p, (m, _)), g) in elements {
                    *m = momentum * *m + g;
                    *p += -(rate * *m);
                }
            });
        }
    }
}
