//! The optimizers' arrays beside the parameters, made when the first step says which formulas there are.

use rayon::prelude::*;

use super::real::Real;
use crate::optim::{Formula, Formulas, Rule, TableRule};
use crate::plan::{Parameter, Plan};

/// Up to two arrays, each as large as the parameters that they belong to, or with one number for a row; a formula's own,
/// the others empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays<T> {
    /// None where nothing moves.
    pub formula: Option<Formula>,
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
    fn new(formula: Option<Formula>, floats: usize, initial: f64) -> Self {
        let count = formula.map_or(0, |formula| formula.state().len());
        Self { formula, arrays: [0, 1].map(|i| if i < count { filled(floats, initial) } else { Vec::new() }) }
    }

    fn of_table(rule: &TableRule, p: &Parameter) -> Self {
        let formula = rule.formula();
        let floats = if formula.is_some_and(Formula::is_by_row) { p.rows } else { p.len() };
        Self::new(formula, floats, rule.initial())
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
        let tables = plan.embedding.parameters.iter().enumerate();
        Self {
            dense: Arrays::new(Some(rule.optimizer.formula()), plan.dense.len, rule.optimizer.initial()),
            tables: tables.map(|(t, p)| Arrays::of_table(&rule.table(t), p)).collect(),
        }
    }

    /// For a rule's number of tables.
    pub fn formulas(&self) -> Option<Formulas> {
        let tables = self.tables.iter().map(|table| table.formula).collect();
        self.dense.formula.map(|dense| Formulas { dense, tables })
    }

    /// Whether it is that of a rule's formulas.
    pub fn fits(&self, rule: &Rule) -> bool {
        let mut tables = self.tables.iter().enumerate();
        let dense = Some(rule.optimizer.formula());
        self.dense.formula == dense && tables.all(|(t, own)| own.formula == rule.table(t).formula())
    }
}
