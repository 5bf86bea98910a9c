//! `[[table]]`: what is set for one embedding table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::optim::{Misfit, TableOptimizer, TableRule};
use crate::plan::Input;

/// `[[table]]`. Tables are made by features, each under the feature's name or that of its `table`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The table.
    #[schemars(example = &"user_id")]
    pub name: String,
    /// How it moves, as `train.embedding_optimizer`. Default: as that.
    #[serde(default)]
    pub optimizer: Option<TableOptimizer>,
    /// Whether it stays as it is. Not with `optimizer`. Default: false.
    #[serde(default)]
    pub frozen: bool,
}

/// A `[[table]]` that cannot be.
#[derive(Debug, Error, PartialEq)]
pub enum TableError {
    #[error("[[table]] names {name:?}, and no feature makes a table of that name; there are: {there}")]
    Unknown { name: String, there: String },
    #[error("two [[table]] entries name {0:?}; put their keys into one")]
    Twice(String),
    #[error("[[table]] {0:?} is frozen and has an optimizer; leave out one of the two")]
    FrozenAndMoved(String),
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

/// The rules that tables have of their own, by their numbers.
///
/// # Errors
/// A table that is not there, is named twice, or is told both to move and not to.
pub fn table_rules(tables: &[TableConfig], input: &Input) -> Result<Vec<Option<TableRule>>, TableError> {
    let mut rules = vec![None; input.tables.len()];
    let mut named = vec![false; rules.len()];
    for table in tables {
        let Some(number) = input.tables.iter().position(|t| t.name == table.name) else {
            let names: Vec<&str> = input.tables.iter().map(|t| t.name.as_str()).collect();
            let there = if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(TableError::Unknown { name: table.name.clone(), there });
        };
        if std::mem::replace(&mut named[number], true) {
            return Err(TableError::Twice(table.name.clone()));
        }
        if table.frozen && table.optimizer.is_some() {
            return Err(TableError::FrozenAndMoved(table.name.clone()));
        }
        rules[number] = table.rule();
    }
    Ok(rules)
}
