//! All that training goes on from, tensor by tensor: the parameters, and what the optimizer keeps beside each.

use std::ops::Range;

use super::{Parameter, Placement, Plan};
use crate::optim::{Formula, Formulas};

/// The block that a parameter lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Dense,
    /// A table, by its number.
    Table(usize),
    /// Batch normalisation's running means and variances, which have no optimizer.
    Statistics,
}

/// One of the optimizer's arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Among those of its formula.
    pub number: usize,
    pub name: &'static str,
    /// Whether it holds one number for a row; else it is as its parameter.
    pub is_by_row: bool,
}

/// How a tensor's rows lie in its block or array: a vector's are its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub count: usize,
    /// Floats of a row.
    pub cols: usize,
    /// Floats from a row to the next.
    pub stride: usize,
}

impl Rows {
    /// The values of rows, without padding; `floats` are theirs with it.
    pub fn unpack(self, floats: &[f32]) -> Vec<f32> {
        match self.cols == self.stride {
            true => floats.to_vec(),
            false => floats.chunks(self.stride).flat_map(|row| &row[..self.cols]).copied().collect(),
        }
    }

    /// Puts the values of rows into their floats, and leaves padding alone.
    pub fn pack(self, values: &[f32], floats: &mut [f32]) {
        match self.cols == self.stride {
            true => floats.copy_from_slice(values),
            false => {
                let rows = floats.chunks_mut(self.stride).zip(values.chunks(self.cols.max(1)));
                rows.for_each(|(floats, values)| floats[..self.cols].copy_from_slice(values));
            }
        }
    }

    /// Where rows lie, counted from the first.
    pub fn floats(self, rows: Range<usize>) -> Range<usize> {
        rows.start * self.stride..rows.end * self.stride
    }
}

/// A tensor of the state.
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

    /// Whether it holds one number for a row of its parameter.
    pub fn is_by_row(&self) -> bool {
        self.array.is_some_and(|array| array.is_by_row)
    }

    /// Of the array among those of its formula; none for the parameter itself.
    pub fn number(&self) -> Option<usize> {
        self.array.map(|array| array.number)
    }

    pub fn rows(&self) -> Rows {
        let p = self.parameter;
        match self.is_by_row() {
            true => Rows { count: p.rows, cols: 1, stride: 1 },
            false => p.by_rows(),
        }
    }

    /// The tensor as a block of its own.
    pub fn alone(&self) -> Parameter {
        let Parameter { name, rows, .. } = self.parameter;
        match self.array {
            Some(Array { is_by_row: true, .. }) => {
                let (name, shape) = (name.clone(), vec![*rows]);
                Parameter { name, shape, rows: 1, cols: *rows, stride: *rows, offset: 0 }
            }
            _ => Parameter { offset: 0, ..self.parameter.clone() },
        }
    }
}

impl Plan {
    /// Every tensor of the state: the parameters as [`Plan::parameters`] gives them, running statistics, then, where formulas
    /// are known, the optimizer's.
    pub fn state(&self, formulas: Option<&Formulas>) -> impl Iterator<Item = StateTensor<'_>> {
        let tables = self.embedding.parameters.iter().enumerate().map(|(t, p)| (Block::Table(t), p));
        let all = tables.chain(self.dense.parameters.iter().map(|p| (Block::Dense, p)));
        let all = all.chain(self.statistics.parameters.iter().map(|p| (Block::Statistics, p)));
        let values = all.clone().map(|(block, parameter)| StateTensor { array: None, block, parameter });
        let arrays = all.flat_map(move |(block, parameter)| {
            let formula = formulas.and_then(|formulas| formulas.of(block));
            let names = formula.map_or(&[][..], Formula::state).iter().enumerate();
            let is_by_row = formula.is_some_and(Formula::is_by_row);
            let array = move |(number, name): (usize, &&'static str)| Array { number, name, is_by_row };
            names.map(move |named| StateTensor { array: Some(array(named)), block, parameter })
        });
        values.chain(arrays.collect::<Vec<_>>())
    }

    /// Floats that the optimizer keeps beside the tables of a placement.
    pub fn table_state_floats(&self, formulas: &Formulas, placement: Placement) -> usize {
        let lies = |block| matches!(block, Block::Table(table) if self.placements[table] == placement);
        let arrays = self.state(Some(formulas)).filter(|t| t.array.is_some() && lies(t.block));
        arrays.map(|t| t.alone().len()).sum()
    }

    /// Floats of the tables of a placement.
    pub fn table_floats(&self, placement: Placement) -> usize {
        let tables = self.embedding.parameters.iter().zip(&self.placements);
        tables.filter(|(_, own)| **own == placement).map(|(table, _)| table.len()).sum()
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
    fn of(&self, block: Block) -> Option<Formula> {
        match block {
            Block::Dense => Some(self.dense),
            Block::Table(table) => self.tables[table],
            Block::Statistics => None,
        }
    }
}
