//! What a run learns from its data before it trains: encoders, statistics and how files are read. Stored with the run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::columns::{ListNeed, Need, Needs};
use super::items::Items;
use super::join::Join;
use super::labels;
use super::numbers::Numbers;
use super::reader::Dialect;
use super::vocab::Encoder;
use crate::config::TaskConfig;
use crate::plan::{Field, Input, Pooling, Table};

/// Everything that encoding a file takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    pub(super) dialect: Dialect,
    pub(super) filter: Vec<(String, Vec<String>)>,
    pub(super) joins: Vec<Join>,
    pub(super) group: Option<String>,
    pub(super) tables: Vec<TableEncoder>,
    pub(super) features: Vec<Feature>,
    pub(super) tasks: Vec<TaskConfig>,
    pub(super) input: Input,
}

/// An embedding table and how it numbers its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableEncoder {
    pub name: String,
    pub dim: usize,
    #[serde(flatten)]
    pub encoder: Encoder,
}

/// A feature: a column and how its cells become input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    pub name: String,
    #[serde(flatten)]
    pub kind: FeatureKind,
}

/// How a feature's cells become input. `table` is a position among the schema's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum FeatureKind {
    Number(Numbers),
    Bucket {
        table: usize,
    },
    Category {
        table: usize,
        first_of: Option<String>,
    },
    Multi {
        table: usize,
        pooling: Pooling,
        #[serde(flatten)]
        items: Items,
    },
}

impl Schema {
    /// Tables and fields, for the plan. Fields are in the order of the features.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The tasks as configured, in the order of the labels' columns.
    pub fn tasks(&self) -> &[TaskConfig] {
        &self.tasks
    }

    /// The tasks' names, in the order of the labels' columns.
    pub fn task_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tasks.iter().map(|task| task.name.as_str())
    }

    /// The column whose rows form one group of GAUC.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The embedding tables and their encoders, in the order of the input's tables.
    pub fn tables(&self) -> &[TableEncoder] {
        &self.tables
    }

    /// The features with their fitted statistics, in the order of the input's fields.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The files that rows are joined with, found in the data directory.
    pub fn joined_files(&self, data_dir: &Path) -> Vec<PathBuf> {
        self.joins.iter().map(|join| data_dir.join(&join.file)).collect()
    }

    /// The columns that encoding takes; `labels` adds those of labels, masks and groups.
    pub(super) fn needs(&self, labels: bool, keep: &[String]) -> Needs {
        let mut needs = Needs::default();
        for feature in &self.features {
            let used_by = format!("feature {}", feature.name);
            match &feature.kind {
                FeatureKind::Number(_) | FeatureKind::Bucket { .. } => needs.number(&feature.name, &used_by),
                FeatureKind::Category { .. } => needs.text(&feature.name, &used_by),
                FeatureKind::Multi { items, .. } => needs
                    .lists
                    .push(ListNeed { need: Need { column: feature.name.clone(), used_by }, items: items.clone() }),
            }
        }
        if labels {
            labels::needs(&self.tasks, &mut needs);
            if let Some(group) = &self.group {
                needs.text(group, "data.group");
            }
        }
        for column in keep {
            needs.text(column, "--keep");
        }
        needs
    }

    /// This schema with the vocabularies and statistics of another, from which it differs in tables' dims and in what of the
    /// tasks shapes the model alone.
    pub(super) fn fitted_as(mut self, fitted: Self) -> Self {
        self.features = fitted.features;
        for (table, fitted) in self.tables.iter_mut().zip(fitted.tables) {
            table.encoder = fitted.encoder;
        }
        self.input = self.fitted_input();
        self
    }

    /// Whether a schema that was read back fits itself and a config's tasks.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, tasks: &[TaskConfig]) -> Result<(), String> {
        let has_table = |feature: &&Feature| match &feature.kind {
            FeatureKind::Number(_) => true,
            FeatureKind::Bucket { table } => {
                self.tables.get(*table).is_some_and(|table| matches!(table.encoder, Encoder::Edges { .. }))
            }
            FeatureKind::Category { table, .. } | FeatureKind::Multi { table, .. } => {
                self.tables.get(*table).is_some_and(|table| !matches!(table.encoder, Encoder::Edges { .. }))
            }
        };
        if let Some(feature) = self.features.iter().find(|feature| !has_table(feature)) {
            return Err(format!("feature {} names no table of its kind", feature.name));
        }
        if self.input != self.fitted_input() {
            return Err("`input` is not what the features and tables give".into());
        }
        if self.tasks != tasks {
            return Err("its tasks are not the config's".into());
        }
        labels::check(&self.tasks).map_err(|error| error.to_string())
    }

    /// Tables and fields by features and encoders.
    pub(super) fn fitted_input(&self) -> Input {
        let tables = self.tables.iter().map(|table| Table {
            name: table.name.clone(),
            rows: table.encoder.rows(),
            dim: table.dim,
        });
        let fields = self.features.iter().map(|feature| {
            let (name, bag) = (feature.name.clone(), |name, table, pooling| Field::Bag { name, table, pooling });
            match &feature.kind {
                FeatureKind::Number(_) => Field::Dense { name },
                FeatureKind::Bucket { table } | FeatureKind::Category { table, .. } => bag(name, *table, Pooling::Sum),
                FeatureKind::Multi { table, pooling, .. } => bag(name, *table, *pooling),
            }
        });
        Input { tables: tables.collect(), fields: fields.collect() }
    }
}

/// The part of a category's text that counts, `None` when nothing is left.
pub(super) fn first<'a>(text: &'a str, first_of: Option<&str>) -> Option<&'a str> {
    let Some(separator) = first_of else { return Some(text) };
    let first = text.split(separator).next().unwrap_or_default().trim();
    (!first.is_empty()).then_some(first)
}
