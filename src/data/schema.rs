//! What a run learns from its data before it trains: encoders, statistics and how files are read. Stored with the run.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::columns::{Columns, ListNeed, Need, Needs, TextColumn};
use super::join::Join;
use super::labels;
use super::numbers::Numbers;
use super::reader::Dialect;
use super::vocab::{Counts, Encoder};
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
    Bucket { table: usize },
    Category { table: usize, first_of: Option<String> },
    Multi { table: usize, separator: String, pooling: Pooling, max_length: usize },
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
                FeatureKind::Multi { separator, max_length, .. } => needs.lists.push(ListNeed {
                    need: Need { column: feature.name.clone(), used_by },
                    separator: separator.clone(),
                    max_length: *max_length,
                }),
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

    /// Takes vocabularies and statistics from the training rows, and says what is odd about them.
    pub(super) fn fit(&mut self, columns: &Columns, rows: &[u32]) -> Vec<String> {
        let features = &self.features;
        self.tables.par_iter_mut().enumerate().for_each(|(table, fitted)| {
            if let Encoder::Vocabulary { min_count, texts } = &mut fitted.encoder {
                *texts = vocabulary(features, table, columns, rows, *min_count);
            }
        });
        let mut notes = Vec::new();
        for feature in &mut self.features {
            if let FeatureKind::Number(numbers) = &mut feature.kind
                && !numbers.fit(columns.number(&feature.name), rows)
            {
                notes.push(format!("feature {}: every training row lacks it; it counts as 0", feature.name));
            }
        }
        for table in &self.tables {
            if table.encoder.rows() == 1 {
                notes.push(format!("table {}: no text stands often enough in training; all have id 0", table.name));
            }
        }
        self.input = self.fitted_input();
        notes
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
    fn fitted_input(&self) -> Input {
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

fn vocabulary(features: &[Feature], table: usize, columns: &Columns, rows: &[u32], min_count: usize) -> Vec<String> {
    let mut counts = Counts::default();
    for feature in features {
        match &feature.kind {
            FeatureKind::Category { table: own, first_of } if *own == table => {
                for (text, times) in counted(columns.text(&feature.name), rows) {
                    first(text, first_of.as_deref()).into_iter().for_each(|text| counts.add(text, times));
                }
            }
            FeatureKind::Multi { table: own, .. } if *own == table => {
                let column = columns.list(&feature.name);
                let counted = column.items().zip(column.counts(rows)).filter(|(_, times)| *times > 0);
                counted.for_each(|(item, times)| counts.add(item, times));
            }
            _ => {}
        }
    }
    counts.vocabulary(min_count)
}

/// The texts of a column that are not missing, with the number of `rows` that hold each.
fn counted<'a>(column: &'a TextColumn, rows: &[u32]) -> impl Iterator<Item = (&'a str, usize)> {
    let counted = column.values().zip(column.counts(rows));
    counted.filter_map(|(text, times)| text.filter(|_| times > 0).map(|text| (text, times)))
}

/// The part of a category's text that counts, `None` when nothing is left.
pub(super) fn first<'a>(text: &'a str, first_of: Option<&str>) -> Option<&'a str> {
    let Some(separator) = first_of else { return Some(text) };
    let first = text.split(separator).next().unwrap_or_default().trim();
    (!first.is_empty()).then_some(first)
}
