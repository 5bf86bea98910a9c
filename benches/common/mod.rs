//! What the benches share: the standard model of each family, its data, and the timing of its steps.

#![allow(dead_code, unused_imports, reason = "each bench is a crate of its own and uses its part")]

mod case;
mod measure;
mod numbers;

pub use case::{Case, Family, InputKind};
pub use measure::{Limits, Measured, Runner};

use polygate::data::{Batch, Contents};
use polygate::optim::{Adam, LazyAdam, TableOptimizer};
use polygate::plan::Plan;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: polygate::pages::HugePages = polygate::pages::HugePages;

/// The first of a case's batches, ready for a device.
pub fn batch(plan: &Plan, rows: usize) -> Batch {
    let order: Vec<u32> = (0..rows as u32).collect();
    Batch::gather(&numbers::rows(plan, rows, 0), &plan.input, &order, Contents::ValuesAndSegments)
}

/// `--embedding-optimizer`
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Tables {
    /// Of all rows.
    Adam,
    /// Of the batch's rows.
    LazyAdam,
}

impl From<Tables> for TableOptimizer {
    fn from(tables: Tables) -> Self {
        match tables {
            Tables::Adam => Self::Adam(Adam::default()),
            Tables::LazyAdam => Self::LazyAdam(LazyAdam::default()),
        }
    }
}
