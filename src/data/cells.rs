//! The cells that data was encoded from, for what encoding leaves no trace of.

use std::collections::HashSet;

use super::columns::Columns;
use super::schema::{Feature, FeatureKind, first};
use super::split::Parts;

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Train,
    Valid,
    Test,
}

/// A config's rows as they were read.
pub struct Cells {
    pub(super) columns: Columns,
    pub(super) parts: Parts,
}

/// What the cells of a text feature hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCells {
    /// Cells without any text that counts.
    pub missing: usize,
    /// Distinct texts, or items that are not cut, before a vocabulary or hash numbers them.
    pub distinct: usize,
    /// Items of all cells; a category has one in each that is not missing.
    pub items: usize,
    /// Of these, those beyond `max_length`.
    pub cut: usize,
    /// Most items of a cell.
    pub longest: usize,
}

/// The groups of a part's rows, beside those of the training rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct GroupCells {
    /// Rows without a group.
    pub missing: usize,
    pub groups: usize,
    /// Groups that no training row has.
    pub unseen: usize,
    /// The rows of these.
    pub unseen_rows: usize,
}

impl Cells {
    fn rows(&self, part: Part) -> &[u32] {
        match part {
            Part::Train => &self.parts.train,
            Part::Valid => &self.parts.valid,
            Part::Test => &self.parts.test,
        }
    }

    /// The numbers of a numeric feature, before their transform; NaN where missing.
    pub fn numbers(&self, feature: &Feature, part: Part) -> impl Iterator<Item = f64> {
        let column = self.columns.number(&feature.name);
        self.rows(part).iter().map(|row| column[*row as usize])
    }

    /// What the cells of a category or multi-valued feature hold; `None` for a numeric one.
    pub fn texts(&self, feature: &Feature, part: Part) -> Option<TextCells> {
        let mut cells = TextCells::default();
        let mut distinct = HashSet::new();
        match &feature.kind {
            FeatureKind::Number(_) | FeatureKind::Bucket { .. } => return None,
            FeatureKind::Category { first_of, .. } => {
                let column = self.columns.text(&feature.name);
                let counted = column.values().zip(column.counts(self.rows(part))).filter(|(_, times)| *times > 0);
                for (text, times) in counted {
                    match text.and_then(|text| first(text, first_of.as_deref())) {
                        Some(text) => {
                            cells.items += times;
                            cells.longest = 1;
                            distinct.insert(text);
                        }
                        None => cells.missing += times,
                    }
                }
            }
            FeatureKind::Multi { max_length, .. } => {
                let column = self.columns.list(&feature.name);
                for length in self.rows(part).iter().map(|row| column.length(*row as usize)) {
                    cells.missing += usize::from(length == 0);
                    cells.items += length;
                    cells.cut += length.saturating_sub(*max_length);
                    cells.longest = cells.longest.max(length);
                }
                let counted = column.items().zip(column.counts(self.rows(part)));
                distinct.extend(counted.filter(|(_, times)| *times > 0).map(|(item, _)| item));
            }
        }
        cells.distinct = distinct.len();
        Some(cells)
    }

    /// A number for the group of each row, the same in all parts; `column` is the schema's group.
    pub fn groups(&self, column: &str, part: Part) -> impl Iterator<Item = u32> {
        let column = self.columns.text(column);
        self.rows(part).iter().map(|row| column.symbols[*row as usize])
    }

    /// Counts the groups of a part; `column` is the schema's group.
    pub fn group_cells(&self, column: &str, part: Part) -> GroupCells {
        let column = self.columns.text(column);
        let trained = column.counts(&self.parts.train);
        let mut cells = GroupCells::default();
        for ((text, times), trained) in column.values().zip(column.counts(self.rows(part))).zip(trained) {
            match text {
                _ if times == 0 => {}
                None => cells.missing += times,
                Some(_) => {
                    cells.groups += 1;
                    cells.unseen += usize::from(trained == 0);
                    cells.unseen_rows += if trained == 0 { times } else { 0 };
                }
            }
        }
        cells
    }
}
