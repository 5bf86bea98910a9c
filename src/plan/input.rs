//! What a sample brings to the first level: embedding tables, and the fields that make up a row of the input slot.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the vectors of a bag of ids become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    #[default]
    Mean,
    Sum,
    /// The sum of each vector times its weight, which the batch has.
    Weighted,
    /// The largest of each component. Its gradient goes to the first vector of the bag that has it.
    Max,
}

/// Where an embedding table lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the device's memory.
    #[default]
    Device,
    /// In the host's memory; the rows of a batch travel. On the device `cpu` that is the same.
    Host,
}

/// An embedding table of `rows` vectors of `dim` floats. Row 0 is for unknown and missing ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub rows: usize,
    pub dim: usize,
}

/// One field of the input. A row of the input slot is its fields' values, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Field {
    /// One float.
    Dense { name: String },
    /// A bag of ids of `tables[table]`, pooled to `dim` floats. An empty bag gives zeros.
    Bag { name: String, table: usize, pooling: Pooling },
}

/// The input side of a plan: tables, and fields in the order of the input slot's columns.
///
/// The dense fields of a batch and its bag fields are each numbered apart, in the order in which they stand in `fields`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub tables: Vec<Table>,
    pub fields: Vec<Field>,
}

impl Input {
    /// The columns of the input slot that the fields of some tables fill: runs in order, apart from each other. They
    /// start and end at multiples of `unit`, and runs less than `gap` columns apart are joined.
    pub fn columns_of(&self, takes: impl Fn(usize) -> bool, unit: usize, gap: usize) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (column, table, _) in self.bag_fields().into_iter().filter(|&(_, table, _)| takes(table)) {
            let start = column / unit * unit;
            let end = (column + self.tables[table].dim).next_multiple_of(unit);
            match runs.last_mut() {
                Some(last) if start < last.end + gap.max(1) => last.end = end,
                _ => runs.push(start..end),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns 0 to 2 dense, 3 to 7 of table 0, 8 of table 1, 9 to 14 dense, 15 to 19 of table 0.
    fn input() -> Input {
        let dense = |i: usize| Field::Dense { name: format!("x{i}") };
        let bag = |table: usize| Field::Bag { name: format!("b{table}"), table, pooling: Pooling::Sum };
        let table = |name: &str, dim| Table { name: name.into(), rows: 2, dim };
        let mut fields: Vec<Field> = (0..3).map(dense).collect();
        fields.extend([bag(0), bag(1)]);
        fields.extend((3..9).map(dense));
        fields.push(bag(0));
        Input { tables: vec![table("a", 5), table("b", 1)], fields }
    }

    /// First column and end of each run.
    fn runs(takes: impl Fn(usize) -> bool, unit: usize, gap: usize) -> Vec<[usize; 2]> {
        input().columns_of(takes, unit, gap).iter().map(|run| [run.start, run.end]).collect()
    }

    #[test]
    fn columns_of_tables_are_runs_between_the_dense_ones() {
        assert_eq!(runs(|_| true, 1, 0), [[3, 9], [15, 20]]);
        assert_eq!(runs(|table| table == 0, 1, 0), [[3, 8], [15, 20]]);
        assert_eq!(runs(|table| table == 1, 1, 0), [[8, 9]]);
        assert!(runs(|_| false, 1, 0).is_empty());
    }

    #[test]
    fn runs_start_and_end_at_units_and_near_ones_are_joined() {
        assert_eq!(runs(|table| table == 0, 4, 0), [[0, 8], [12, 20]]);
        assert_eq!(runs(|table| table == 0, 4, 4), [[0, 8], [12, 20]]);
        assert_eq!(runs(|table| table == 0, 4, 5), [[0, 20]]);
        assert_eq!(runs(|_| true, 1, 6), [[3, 9], [15, 20]]);
        assert_eq!(runs(|_| true, 1, 7), [[3, 20]]);
    }
}
