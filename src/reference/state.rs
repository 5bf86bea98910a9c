//! The optimizers' arrays beside the parameters, made when the first step says which formulas there are.

use rayon::prelude::*;

use super::real::Real;
use crate::optim::{Formula, Formulas, Rule};
use crate::plan::Plan;

/// Up to two arrays, each as large as the parameters that they belong to; a formula's own, the others empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays<T> {
    pub formula: Formula,
    pub arrays: [Vec<T>; 2],
}

/// The arrays of all parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState<T> {
    pub dense: Arrays<T>,
    /// Of each table.
    pub tables: Vec<Arrays<T>>,
}

impl<T: Real> Arrays<T> {
    fn new(formula: Formula, floats: usize, initial: f64) -> Self {
        let array = |i: usize| if i < formula.state().len() { filled(floats, initial) } else { Vec::new() };
        Self { formula, arrays: [0, 1].map(array) }
    }
}

/// Memory that is there: the system gives a page of zeros only when it is first written, and else that would come row by
/// row, in the steps.
fn filled<T: Real>(floats: usize, value: f64) -> Vec<T> {
    // Numbers of a page, of eight bytes at the most.
    const PAGE: usize = 4096 / 8;
    let mut array = vec![T::of(value); floats];
    array.par_chunks_mut(PAGE).for_each(|page| page[0] = std::hint::black_box(page[0]));
    array
}

impl<T: Real> OptimizerState<T> {
    /// Before the first step.
    pub fn new(plan: &Plan, rule: &Rule) -> Self {
        let table = |p: &crate::plan::Parameter| Arrays::new(rule.tables.formula(), p.len(), rule.tables.initial());
        Self {
            dense: Arrays::new(rule.optimizer.formula(), plan.dense.len, rule.optimizer.initial()),
            tables: plan.embedding.parameters.iter().map(table).collect(),
        }
    }

    pub fn formulas(&self) -> Formulas {
        Formulas { dense: self.dense.formula, tables: self.tables.iter().map(|table| table.formula).collect() }
    }

    /// Whether it is that of a rule's formulas.
    pub fn fits(&self, rule: &Rule) -> bool {
        let table = rule.tables.formula();
        self.dense.formula == rule.optimizer.formula() && self.tables.iter().all(|t| t.formula == table)
    }
}
