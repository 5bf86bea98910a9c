//! Optimizers over a run of floats.

use rayon::prelude::*;

use super::real::Real;
use super::split::Split;
use super::vector::prefetch;
use crate::optim::Optimizer;
use crate::plan::{Parameters, Plan};

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
    /// Asks for a part of the run to be brought near.
    pub fn prefetch(&self, range: std::ops::Range<usize>) {
        prefetch(&self.parameters[range.clone()]);
        prefetch(&self.first[range.clone()]);
        prefetch(&self.second[range]);
    }

    /// A part of the run.
    pub fn part(&mut self, range: std::ops::Range<usize>) -> State<'_, T> {
        State {
            parameters: &mut self.parameters[range.clone()],
            first: &mut self.first[range.clone()],
            second: &mut self.second[range],
        }
    }
}

/// Moments before the first step. Their memory is there: the system gives a page of zeros only when it is first written,
/// and else that would come row by row, in the steps.
pub fn no_moments<T: Real>(plan: &Plan) -> Parameters<T> {
    // Numbers of a page, of eight bytes at the most.
    const PAGE: usize = 4096 / 8;
    let mut moments = Parameters::zeros(plan);
    moments.embedding.par_chunks_mut(PAGE).for_each(|page| page[0] = std::hint::black_box(T::ZERO));
    moments
}

/// An optimizer at one step, with its constants.
#[derive(Clone, Copy)]
pub enum Update<T> {
    Adam { beta1: T, beta2: T, eps: T, rate: T, root: T, rest1: T, rest2: T },
    Sgd { rate: T, momentum: T },
}

impl<T: Real> Update<T> {
    /// `step` is counted from 1.
    pub fn new(optimizer: &Optimizer, step: u64) -> Self {
        match optimizer {
            Optimizer::Adam(adam) => {
                let (rate, root) = adam.corrections(step);
                Self::Adam {
                    beta1: T::of(adam.beta1),
                    beta2: T::of(adam.beta2),
                    rest1: T::of(1.0 - adam.beta1),
                    rest2: T::of(1.0 - adam.beta2),
                    eps: T::of(adam.eps),
                    rate: T::of(rate),
                    root: T::of(root),
                }
            }
            Optimizer::Sgd(sgd) => Self::Sgd { rate: T::of(sgd.learning_rate), momentum: T::of(sgd.momentum) },
        }
    }
}

vectorized! {
    /// One update by `grads`.
    pub fn update<T: Real>(update: &Update<T>, state: State<T>, grads: &[T]) {
        update_by(update, state, grads.iter().copied());
    }

    /// One update where all gradients are zero.
    pub fn update_untouched<T: Real>(update: &Update<T>, state: State<T>) {
        update_by(update, state, std::iter::repeat(T::ZERO));
    }
}

#[inline(always)]
fn update_by<T: Real>(update: &Update<T>, state: State<T>, grads: impl Iterator<Item = T>) {
    let moments = state.first.iter_mut().zip(state.second);
    let elements = state.parameters.iter_mut().zip(moments).zip(grads);
    match *update {
        Update::Adam { beta1, beta2, eps, rate, root, rest1, rest2 } => {
            for ((p, (m, v)), g) in elements {
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *p += -(rate * *m / (v.sqrt() * root + eps));
            }
        }
        Update::Sgd { rate, momentum } => {
            for ((p, (m, _)), g) in elements {
                *m = momentum * *m + g;
                *p += -(rate * *m);
            }
        }
    }
}
