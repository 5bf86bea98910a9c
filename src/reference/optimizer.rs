//! Optimizers over a run of floats.

use std::ops::Range;

use super::real::Real;
use super::split::Split;
use super::vector::prefetch;
use crate::optim::{Constants, Formula};

/// Parameters beside the optimizer's arrays, of which a formula has two, one or none: the others are empty.
pub struct State<'a, T> {
    pub parameters: &'a mut [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

/// As far as an array goes, which may be empty.
fn within<T>(array: &[T], range: Range<usize>) -> Range<usize> {
    range.start.min(array.len())..range.end.min(array.len())
}

impl<T: Real> Split for State<'_, T> {
    fn split(self, at: usize) -> (Self, Self) {
        let (parameters, parameters_rest) = self.parameters.split_at_mut(at);
        let (first, first_rest) = self.first.split_at_mut(at.min(self.first.len()));
        let (second, second_rest) = self.second.split_at_mut(at.min(self.second.len()));
        (
            Self { parameters, first, second },
            Self { parameters: parameters_rest, first: first_rest, second: second_rest },
        )
    }
}

impl<T> State<'_, T> {
    /// Asks for a part of the run to be brought near.
    #[inline(always)]
    pub fn prefetch(&self, range: Range<usize>) {
        prefetch(&self.parameters[range.clone()]);
        prefetch(&self.first[within(self.first, range.clone())]);
        prefetch(&self.second[within(self.second, range)]);
    }

    /// A part of the run.
    #[inline(always)]
    pub fn part(&mut self, range: Range<usize>) -> State<'_, T> {
        let (first, second) = (within(self.first, range.clone()), within(self.second, range.clone()));
        State {
            parameters: &mut self.parameters[range],
            first: &mut self.first[first],
            second: &mut self.second[second],
        }
    }
}

/// A formula at one step, with its constants.
#[derive(Clone, Copy)]
pub struct Update<T> {
    pub formula: Formula,
    rate: T,
    root: T,
    eps: T,
    momentum: T,
    decay: T,
    keep: T,
    beta1: T,
    beta2: T,
    rest1: T,
    rest2: T,
}

impl<T: Real> Update<T> {
    pub fn new(formula: Formula, c: &Constants) -> Self {
        Self {
            formula,
            rate: T::of(c.rate),
            root: T::of(c.root),
            eps: T::of(c.eps),
            momentum: T::of(c.momentum),
            decay: T::of(c.decay),
            keep: T::of(c.keep),
            beta1: T::of(c.beta1),
            beta2: T::of(c.beta2),
            rest1: T::of(1.0 - c.beta1),
            rest2: T::of(1.0 - c.beta2),
        }
    }

    /// The gradient with its decay. Without one it is the gradient itself, to the bit.
    #[inline(always)]
    fn decayed(&self, gradient: T, parameter: T) -> T {
        if self.decay == T::ZERO { gradient } else { gradient + self.decay * parameter }
    }

    /// What AdamW's decay leaves.
    #[inline(always)]
    fn kept(&self, parameter: T) -> T {
        if self.keep == T::ONE { parameter } else { self.keep * parameter }
    }
}

/// The row of a table by row-wise Adagrad, whose sum is `sum`; `gradient` gives the row's from a column on.
pub fn update_row<T: Real>(
    u: &Update<T>,
    row: &mut [T],
    sum: &mut T,
    block: &mut [T],
    gradient: impl Fn(usize, &mut [T]),
) {
    let (width, columns) = (row.len(), block.len());
    let mut squares = T::ZERO;
    for first in (0..width).step_by(columns) {
        let parameters = &row[first..width.min(first + columns)];
        let block = &mut block[..parameters.len()];
        gradient(first, block);
        for (&g, &p) in block.iter().zip(parameters) {
            let g = u.decayed(g, p);
            squares += g * g;
        }
    }
    *sum += squares / T::of(width as f64);
    let root = sum.sqrt() + u.eps;
    for first in (0..width).step_by(columns) {
        let parameters = &mut row[first..width.min(first + columns)];
        let block = &mut block[..parameters.len()];
        gradient(first, block);
        for (&g, p) in block.iter().zip(parameters) {
            *p = *p - u.rate * u.decayed(g, *p) / root;
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

/// One update by gradients, for callers that are compiled for vectors themselves.
#[inline(always)]
pub fn update_by<T: Real>(u: &Update<T>, state: State<T>, grads: impl Iterator<Item = T>) {
    let u = *u;
    let parameters = state.parameters.iter_mut().zip(grads);
    match u.formula {
        Formula::Adam => {
            for ((p, g), (m, v)) in parameters.zip(state.first.iter_mut().zip(state.second)) {
                let g = u.decayed(g, *p);
                *m = u.beta1 * *m + u.rest1 * g;
                *v = u.beta2 * *v + u.rest2 * g * g;
                *p = u.kept(*p) - u.rate * *m / (v.sqrt() * u.root + u.eps);
            }
        }
        Formula::Adagrad => {
            for ((p, g), sum) in parameters.zip(state.first) {
                let g = u.decayed(g, *p);
                *sum += g * g;
                *p = *p - u.rate * g / (sum.sqrt() + u.eps);
            }
        }
        Formula::Momentum => {
            for ((p, g), m) in parameters.zip(state.first) {
                *m = u.momentum * *m + u.decayed(g, *p);
                *p = *p - u.rate * *m;
            }
        }
        // Row by row, in `update_row`.
        Formula::RowwiseAdagrad => {}
        Formula::Sgd => {
            for (p, g) in parameters {
                *p = *p - u.rate * u.decayed(g, *p);
            }
        }
    }
}
