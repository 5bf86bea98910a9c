//! From columns to a dataset, by a schema's encoders.

use rayon::prelude::*;

use super::columns::{Columns, ListColumn};
use super::dataset::{BagColumn, Dataset};
use super::error::DataError;
use super::labels;
use super::schema::{Feature, FeatureKind, Schema, first};
use super::vocab::{Encoder, TextMap, TextRows};

/// A feature's encoded cells.
enum Encoded {
    Dense(Vec<f32>),
    Bags(BagColumn),
}

/// Encodes `rows` of `columns`, without groups. Without `labels`, labels and masks are 0.
pub fn encode(
    schema: &Schema,
    columns: &Columns,
    rows: &[u32],
    labels: bool,
    keep: &[String],
) -> Result<Dataset, DataError> {
    let tables: Vec<TextRows> = schema.tables.iter().map(|table| TextRows::new(&table.encoder)).collect();
    let encoded: Vec<Encoded> = schema
        .features
        .par_iter()
        .map(|feature| encode_feature(schema, feature, &tables, columns, rows))
        .collect::<Result<_, _>>()?;
    let (mut dense, mut bags) = (Vec::new(), Vec::new());
    for column in encoded {
        match column {
            Encoded::Dense(column) => dense.push(column),
            Encoded::Bags(column) => bags.push(column),
        }
    }
    let (labels, masks) = if labels {
        labels::encode(&schema.tasks, columns, rows)?
    } else {
        let size = rows.len() * schema.tasks.len();
        (vec![0.0; size], vec![0.0; size])
    };
    let kept = keep.iter().map(|name| {
        let column = columns.text(name);
        (name.clone(), rows.iter().map(|row| column.text(*row as usize).to_owned()).collect())
    });
    Ok(Dataset {
        rows: rows.len(),
        dense: (0..rows.len()).flat_map(|row| dense.iter().map(move |column| column[row])).collect(),
        bags,
        labels,
        masks,
        groups: None,
        kept: kept.collect(),
    })
}

fn encode_feature(
    schema: &Schema,
    feature: &Feature,
    tables: &[TextRows],
    columns: &Columns,
    rows: &[u32],
) -> Result<Encoded, DataError> {
    let name = &feature.name;
    Ok(match &feature.kind {
        FeatureKind::Number(numbers) => Encoded::Dense(numbers.encode(columns, name, rows)?),
        FeatureKind::Bucket { table } => {
            let edges = match &schema.tables[*table].encoder {
                Encoder::Edges { edges } => edges.as_slice(),
                Encoder::Vocabulary { .. } | Encoder::Hash { .. } => &[],
            };
            let column = columns.number(name);
            let id = |value: f64| if value.is_nan() { 0 } else { Encoder::row_of_number(edges, value) };
            Encoded::Bags(BagColumn::One(rows.iter().map(|row| id(column[*row as usize])).collect()))
        }
        FeatureKind::Category { table, first_of } => {
            let column = columns.text(name);
            let id = |text: &str| first(text, first_of.as_deref()).map_or(0, |text| tables[*table].row(text));
            let by_symbol: Vec<u32> = column.values().map(|text| text.map_or(0, id)).collect();
            let ids = rows.iter().map(|row| by_symbol[column.symbols[*row as usize] as usize]);
            Encoded::Bags(BagColumn::One(ids.collect()))
        }
        FeatureKind::Multi { table, .. } => Encoded::Bags(many(columns.list(name), &tables[*table], rows, name)?),
    })
}

fn many(column: &ListColumn, table: &TextRows, rows: &[u32], name: &str) -> Result<BagColumn, DataError> {
    let by_symbol: Vec<u32> = column.items().map(|item| table.row(item)).collect();
    let (mut starts, mut ids) = (Vec::with_capacity(rows.len() + 1), Vec::new());
    starts.push(0);
    for row in rows {
        ids.extend(column.row(*row as usize).iter().map(|symbol| by_symbol[*symbol as usize]));
        starts.push(u32::try_from(ids.len()).map_err(|_| {
            DataError::config(format!("feature {name}"), "holds more than 2^32 items; lower max_length")
        })?);
    }
    Ok(BagColumn::Many { starts, ids })
}

/// Numbers groups by first appearance, over any number of pieces of a data set.
#[derive(Default)]
pub struct Groups {
    numbers: TextMap<Box<str>, u32>,
    next: u32,
}

impl Groups {
    /// The groups of `rows`, which come next; `None` where the schema has none. A missing group is one of its own for each
    /// row, so that GAUC leaves it out.
    pub fn number(&mut self, schema: &Schema, columns: &Columns, rows: &[u32]) -> Option<Vec<u32>> {
        let column = columns.text(schema.group.as_ref()?);
        let texts: Vec<Option<&str>> = column.values().collect();
        let mut known: Vec<Option<u32>> = vec![None; texts.len()];
        let number = |row: &u32| {
            let symbol = column.symbols[*row as usize] as usize;
            let Some(text) = texts[symbol] else { return self.add() };
            *known[symbol].get_or_insert_with(|| match self.numbers.get(text) {
                Some(number) => *number,
                None => {
                    let number = self.add();
                    self.numbers.insert(text.into(), number);
                    number
                }
            })
        };
        Some(rows.iter().map(number).collect())
    }

    fn add(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}
