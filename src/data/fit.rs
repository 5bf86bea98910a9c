//! Vocabularies and statistics, taken from the training rows part by part.

use std::collections::HashSet;

use rayon::prelude::*;

use super::columns::{Columns, TextColumn};
use super::numbers::Moments;
use super::schema::{Feature, FeatureKind, Schema, first};
use super::vocab::{Counts, Encoder};

/// What the training rows seen so far come to. Its memory grows with the distinct texts, not with the rows.
pub struct Fit {
    /// By table; empty for those that have no vocabulary.
    counts: Vec<Counts>,
    /// By feature; empty for those that are not numbers. `None` where the schema keeps the statistics it has.
    moments: Option<Vec<Moments>>,
}

impl Fit {
    /// For a schema's tables and features. One that goes on from another keeps its statistics.
    pub fn new(schema: &Schema, keeps_statistics: bool) -> Self {
        Self {
            counts: schema.tables.iter().map(|_| Counts::default()).collect(),
            moments: (!keeps_statistics).then(|| vec![Moments::default(); schema.features.len()]),
        }
    }

    /// Counts `rows` of `columns`.
    pub fn add(&mut self, schema: &Schema, columns: &Columns, rows: &[u32]) {
        self.counts.par_iter_mut().enumerate().for_each(|(table, counts)| {
            if let Encoder::Vocabulary { .. } = schema.tables[table].encoder {
                schema.features.iter().for_each(|feature| count(feature, table, columns, rows, counts));
            }
        });
        for (feature, moments) in schema.features.iter().zip(self.moments.iter_mut().flatten()) {
            if let FeatureKind::Number(_) = feature.kind {
                let column = columns.number(&feature.name);
                rows.iter().for_each(|row| moments.add(column[*row as usize]));
            }
        }
    }

    /// Gives the schema its vocabularies and statistics, and says what is odd about them. Texts that it has keep their
    /// rows; new ones come behind.
    pub fn finish(self, schema: &mut Schema) -> Vec<String> {
        let tables = schema.tables.iter_mut().zip(self.counts).collect::<Vec<_>>();
        tables.into_par_iter().for_each(|(table, counts)| {
            if let Encoder::Vocabulary { min_count, texts } = &mut table.encoder {
                let known: HashSet<String> = texts.iter().cloned().collect();
                texts.extend(counts.vocabulary(*min_count).into_iter().filter(|text| !known.contains(text)));
            }
        });
        let mut notes = Vec::new();
        for (feature, moments) in schema.features.iter_mut().zip(self.moments.iter().flatten()) {
            if let FeatureKind::Number(numbers) = &mut feature.kind
                && !numbers.fit(moments)
            {
                notes.push(format!("feature {}: every training row lacks it; it counts as 0", feature.name));
            }
        }
        for table in &schema.tables {
            if table.encoder.rows() == 1 {
                notes.push(format!("table {}: no text stands often enough in training; all have id 0", table.name));
            }
        }
        schema.input = schema.fitted_input();
        notes
    }
}

/// Counts the texts that a feature looks up in a table.
fn count(feature: &Feature, table: usize, columns: &Columns, rows: &[u32], counts: &mut Counts) {
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

/// The texts of a column that are not missing, with the number of `rows` that hold each.
fn counted<'a>(column: &'a TextColumn, rows: &[u32]) -> impl Iterator<Item = (&'a str, usize)> {
    let counted = column.values().zip(column.counts(rows));
    counted.filter_map(|(text, times)| text.filter(|_| times > 0).map(|text| (text, times)))
}
