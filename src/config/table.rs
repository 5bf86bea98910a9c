//! `[[table]]`: what is set for one embedding table.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::optim::{Misfit, Rule, TableOptimizer, TableRule};
use crate::plan::{Input, Placement, Plan};

/// `[[table]]`. Tables come from features; this says more about one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The table: a feature's name, or the `table` that features share.
    #[schemars(example = &"video_id")]
    pub name: String,
    /// A safetensors file with the table's first vectors, `[rows, embedding_dim]`, relative to the data directory.
    /// Default: small random ones.
    #[serde(default)]
    #[schemars(example = &"video.safetensors")]
    pub init: Option<PathBuf>,
    /// The tensor of `init`. Default: `embedding.<name>.weight`, or else the file's only tensor.
    #[serde(default)]
    #[schemars(example = &"vectors")]
    pub init_tensor: Option<String>,
    /// How it moves, as `train.embedding_optimizer`. Default: as that.
    #[serde(default)]
    pub optimizer: Option<TableOptimizer>,
    /// Whether it stays as it is. Not with `optimizer`. Default: false.
    #[serde(default)]
    pub frozen: bool,
    /// Where it lies: "device", or "host", from where the rows of each batch travel to the adapter and back, for tables larger
    /// than its memory. Not with an optimizer that moves all rows. On the device `cpu` both are the same. Default: device.
    #[serde(default)]
    pub placement: Placement,
}

/// A `[[table]]` that cannot be.
#[derive(Debug, Error, PartialEq)]
pub enum TableError {
    #[error("[[table]] {name}: no feature makes such a table; there are {there}")]
    Unknown { name: String, there: String },
    #[error("[[table]] {0:?} is frozen and has an optimizer; leave out one of the two")]
    FrozenAndMoved(String),
    #[error(
        "[[table]] {0:?} has placement = \"host\", and its optimizer moves all rows in every step; give it one that moves the \
         rows of the batch: lazy_adam, adagrad, rowwise_adagrad or sgd, here or as train.embedding_optimizer"
    )]
    HostAndAllRows(String),
}

impl TableConfig {
    fn rule(&self) -> Option<TableRule> {
        if self.frozen { Some(TableRule::Frozen) } else { self.optimizer.map(TableRule::from) }
    }

    /// # Errors
    /// The first number of the optimizer that cannot be.
    pub(super) fn check(&self) -> Result<(), Misfit> {
        self.optimizer.map_or(Ok(()), |optimizer| optimizer.check(&format!("table {}: optimizer", self.name)))
    }
}

/// Where each table lies.
pub fn placements(tables: &[TableConfig], input: &Input) -> Vec<Placement> {
    let own = |name: &str| tables.iter().find(|table| table.name == name).map(|table| table.placement);
    input.tables.iter().map(|table| own(&table.name).unwrap_or_default()).collect()
}

/// The rules that tables have of their own, by their numbers.
///
/// # Errors
/// A table that is not there, or is told both to move and not to.
pub fn table_rules(tables: &[TableConfig], input: &Input) -> Result<Vec<Option<TableRule>>, TableError> {
    let mut rules = vec![None; input.tables.len()];
    for table in tables {
        let Some(number) = input.tables.iter().position(|t| t.name == table.name) else {
            let names: Vec<&str> = input.tables.iter().map(|t| t.name.as_str()).collect();
            let there = if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(TableError::Unknown { name: table.name.clone(), there });
        };
        if table.frozen && table.optimizer.is_some() {
            return Err(TableError::FrozenAndMoved(table.name.clone()));
        }
        rules[number] = table.rule();
    }
    Ok(rules)
}

/// Refuses tables on the host whose every row moves in each step: all of it would have to travel.
///
/// # Errors
/// The first such table.
pub fn check_placements(plan: &Plan, rule: &Rule) -> Result<(), TableError> {
    let mut tables = plan.input.tables.iter().enumerate();
    match tables.find(|(number, _)| plan.is_on_host(*number) && rule.table(*number).moves_others()) {
        Some((_, table)) => Err(TableError::HostAndAllRows(table.name.clone())),
        None => Ok(()),
    }
}
