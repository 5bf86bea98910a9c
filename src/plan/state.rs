//! All that training goes on from, tensor by tensor: the parameters, and what the optimizer keeps beside each.

use super::{Parameter, Plan};
use crate::optim::{Formula, Formulas};

/// The block that a parameter lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Dense,
    /// A table, by its number.
    Table(usize),
}

/// One of the optimizer's arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Among those of its formula.
    pub number: usize,
    pub name: &'static str,
}

/// A tensor of the state, of its parameter's shape.
#[derive(Clone, Copy, Debug)]
pub struct StateTensor<'a> {
    /// None for the parameter itself.
    pub array: Option<Array>,
    pub block: Block,
    pub parameter: &'a Parameter,
}

impl StateTensor<'_> {
    /// The parameter's name; with `optimizer.<array>.` before it for the optimizer's part.
    pub fn name(&self) -> String {
        match self.array {
            None => self.parameter.name.clone(),
            Some(array) => format!("optimizer.{}.{}", array.name, self.parameter.name),
        }
    }

    /// The parameter as a block of its own.
    pub fn alone(&self) -> Parameter {
        Parameter { offset: 0, ..self.parameter.clone() }
    }
}

impl Plan {
    /// Every tensor of the state: the parameters as [`Plan::parameters`] gives them, then, where formulas are known, the
    /// optimizer's.
    pub fn state(&self, formulas: Option<&Formulas>) -> impl Iterator<Item = StateTensor<'_>> {
        let tables = self.embedding.parameters.iter().enumerate().map(|(t, p)| (Block::Table(t), p));
        let all = tables.chain(self.dense.parameters.iter().map(|p| (Block::Dense, p)));
        let values = all.clone().map(|(block, parameter)| StateTensor { array: None, block, parameter });
        let arrays = all.flat_map(move |(block, parameter)| {
            let formula = formulas.map(|formulas| formulas.of(block));
            let names = formula.map_or(&[][..], Formula::state).iter().enumerate();
            names.map(move |(number, name)| StateTensor { array: Some(Array { number, name }), block, parameter })
        });
        values.chain(arrays.collect::<Vec<_>>())
    }

    /// A tensor of the state by its name.
    ///
    /// # Panics
    /// If [`Plan::state`] has none of that name: a slip in this crate.
    pub fn state_tensor(&self, formulas: Option<&Formulas>, name: &str) -> StateTensor<'_> {
        self.state(formulas).find(|t| t.name() == name).unwrap_or_else(|| panic!("{name} is a tensor of the state"))
    }
}

impl Formulas {
    fn of(&self, block: Block) -> Formula {
        match block {
            Block::Dense => self.dense,
            Block::Table(table) => self.tables[table],
        }
    }
}
