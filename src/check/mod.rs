//! What a config's data looks like before anything is trained on it, and what about it is likely wrong.
//!
//! [`survey`] takes figures, one file per subject; [`warnings`] judges them, by thresholds that stand there alone.

mod features;
mod labels;
mod leaks;
mod rows;
mod tables;
mod warnings;

use serde::Serialize;

pub use features::{BagFigures, FeatureFigures, NumberFigures, PartFigures};
pub use labels::{Figures, TaskFigures};
pub use leaks::{Signal, signals};
pub use rows::{Repeats, RowFigures};
pub use tables::{Memory, TableFigures};
pub use warnings::{Warning, warnings};

use crate::data::{Cells, Dataset, Part, Splits};
use crate::optim::Rule;
use crate::plan::Plan;

/// All figures of a config's data.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// Training rows first; parts without rows are left out.
    pub parts: Vec<RowFigures>,
    /// The column whose rows form one group.
    pub group: Option<String>,
    pub tasks: Vec<TaskFigures>,
    pub features: Vec<FeatureFigures>,
    pub tables: Vec<TableFigures>,
    pub memory: Memory,
    /// What each feature alone says about each task on the training rows.
    pub signals: Vec<Signal>,
    /// What reading the data found odd.
    pub notes: Vec<String>,
}

/// Takes the figures. `plan` is the config's, over the splits' schema, and `rule` how training moves its parameters.
pub fn survey(rule: &Rule, splits: &Splits, cells: &Cells, plan: &Plan) -> Survey {
    let parts = parts(splits);
    Survey {
        parts: rows::figures(&splits.schema, &parts, cells),
        group: splits.schema.group().map(str::to_owned),
        tasks: labels::figures(&splits.schema, &parts),
        features: features::figures(&splits.schema, &parts, cells),
        tables: tables::figures(&splits.schema, &splits.train),
        memory: Memory::of(rule, splits, plan),
        signals: signals(&splits.schema, &splits.train, cells),
        notes: splits.notes.clone(),
    }
}

/// The parts that have rows, training first.
fn parts(splits: &Splits) -> Vec<(Part, &Dataset)> {
    let all =
        [(Part::Train, Some(&splits.train)), (Part::Valid, splits.valid.as_ref()), (Part::Test, splits.test.as_ref())];
    all.into_iter().filter_map(|(part, dataset)| dataset.map(|dataset| (part, dataset))).collect()
}
