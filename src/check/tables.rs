//! Embedding tables and memory.

use serde::Serialize;

use super::features::{ids, share};
use crate::data::{Dataset, FeatureKind, Schema, Splits};
use crate::optim::Rule;
use crate::plan::Plan;

/// An embedding table, and how the training rows use it.
#[derive(Debug, Serialize)]
pub struct TableFigures {
    pub table: String,
    pub features: Vec<String>,
    /// Row 0, for unknown and missing, among them.
    pub rows: usize,
    pub dim: usize,
    /// The highest id of the training rows.
    pub highest: u32,
    /// The share of rows that the training rows never ask for, row 0 left out.
    pub unused: f64,
    /// The share of rows that the training rows ask for once, row 0 left out.
    pub once: f64,
    /// MiB of the weights.
    pub mib: f64,
}

pub fn figures(schema: &Schema, train: &Dataset) -> Vec<TableFigures> {
    let table_of = |kind: &FeatureKind| match kind {
        FeatureKind::Number(_) => None,
        FeatureKind::Bucket { table } | FeatureKind::Category { table, .. } | FeatureKind::Multi { table, .. } => {
            Some(*table)
        }
    };
    let bags = || schema.features().iter().filter_map(|f| table_of(&f.kind).map(|t| (f, t))).zip(&train.bags);
    let of_table = |(t, table): (usize, &crate::data::TableEncoder)| {
        let mut times = vec![0_u32; table.encoder.rows()];
        let own = || bags().filter(move |((_, table), _)| *table == t);
        own().flat_map(|(_, bag)| ids(bag)).for_each(|id| times[*id as usize] += 1);
        let counted = |n: u32| share(times[1..].iter().filter(|times| **times == n).count(), times.len() - 1);
        TableFigures {
            table: table.name.clone(),
            features: own().map(|((feature, _), _)| feature.name.clone()).collect(),
            rows: times.len(),
            dim: table.dim,
            highest: times.iter().rposition(|times| *times > 0).unwrap_or(0) as u32,
            unused: counted(0),
            once: counted(1),
            mib: mib(times.len() * table.dim * FLOAT),
        }
    };
    schema.tables().iter().enumerate().map(of_table).collect()
}

const FLOAT: usize = 4;

fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// What training keeps, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Numbers of all embedding tables.
    pub table_parameters: usize,
    /// Numbers of experts, gates and towers.
    pub dense_parameters: usize,
    /// Tables, experts, gates and towers.
    pub parameters_mib: f64,
    /// What the optimizer keeps beside each parameter.
    pub state_mib: f64,
    /// Encoded rows of all parts in host memory.
    pub data_mib: f64,
}

impl Memory {
    pub fn of(rule: &Rule, splits: &Splits, plan: &Plan) -> Self {
        let table_parameters: usize = plan.input.tables.iter().map(|table| table.rows * table.dim).sum();
        let dense_parameters = plan.parameter_count() - table_parameters;
        let formulas = rule.formulas(plan.input.tables.len());
        let state_of_tables = plan
            .input
            .tables
            .iter()
            .zip(&formulas.tables)
            .filter_map(|(table, formula)| formula.map(|formula| (table, formula)))
            .map(|(table, formula)| {
                let width = if formula.is_by_row() { 1 } else { table.dim };
                table.rows * width * formula.state().len()
            });
        let state = dense_parameters * formulas.dense.state().len() + state_of_tables.sum::<usize>();
        let datasets = [Some(&splits.train), splits.valid.as_ref(), splits.test.as_ref()];
        Self {
            table_parameters,
            dense_parameters,
            parameters_mib: mib(plan.parameter_count() * FLOAT),
            state_mib: mib(state * FLOAT),
            data_mib: mib(datasets.into_iter().flatten().map(|rows| rows.bytes() as usize).sum()),
        }
    }
}
