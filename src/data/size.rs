//! How large batches are.

use super::batch::Batch;
use super::dataset::{BagColumn, Dataset};
use crate::plan::Input;

/// What decides the memory that a batch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSize {
    pub rows: usize,
    /// In all bags.
    pub ids: usize,
    /// Distinct table rows.
    pub segments: usize,
}

impl BatchSize {
    /// Of a batch of so many rows of a data set, whose bags are as full as the data set's are on the whole. Ids count as
    /// distinct, up to the rows of their table.
    pub fn expected(input: &Input, dataset: &Dataset, rows: usize) -> Self {
        let rows = rows.min(dataset.rows);
        let mut of_tables = vec![0; input.tables.len()];
        for (bags, (_, table, _)) in dataset.bags.iter().zip(input.bag_fields()) {
            let ids = match bags {
                BagColumn::One(ids) | BagColumn::Many { ids, .. } => ids.len(),
            };
            of_tables[table] += (ids * rows).div_ceil(dataset.rows.max(1));
        }
        let segments = of_tables.iter().zip(&input.tables).map(|(&ids, table)| ids.min(table.rows)).sum();
        Self { rows, ids: of_tables.iter().sum(), segments }
    }
}

impl BatchSize {
    /// Of a batch of so many rows of `bytes` each, all of which may be ids of rows of their own.
    pub fn at_most(input: &Input, rows: usize, bytes: f64) -> Self {
        let ids = (rows as f64 * bytes / 4.0).ceil() as usize;
        let table_rows = input.tables.iter().map(|table| table.rows).sum();
        Self { rows, ids, segments: ids.min(table_rows) }
    }
}

impl From<&Batch> for BatchSize {
    fn from(batch: &Batch) -> Self {
        Self { rows: batch.rows, ids: batch.ids.len(), segments: batch.segments.rows.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Field, Pooling, Table};

    #[test]
    fn a_batch_is_expected_to_be_as_full_as_its_data_set() {
        let bag = |name: &str, table| Field::Bag { name: name.into(), table, pooling: Pooling::Mean };
        let table = |rows| Table { name: "t".into(), rows, dim: 2 };
        let input = Input { tables: vec![table(100), table(3)], fields: vec![bag("a", 0), bag("b", 1), bag("c", 0)] };
        let many = BagColumn::Many { starts: vec![0, 5, 5, 6, 10], ids: vec![1; 10], weights: Vec::new() };
        let bags = vec![BagColumn::One(vec![0; 4]), many, BagColumn::One(vec![2; 4])];
        let dataset = Dataset { rows: 4, bags, ..Dataset::default() };
        assert_eq!(BatchSize::expected(&input, &dataset, 2), BatchSize { rows: 2, ids: 4 + 5, segments: 4 + 3 });
        assert_eq!(BatchSize::expected(&input, &dataset, 9), BatchSize { rows: 4, ids: 8 + 10, segments: 8 + 3 });
        assert_eq!(dataset.bytes(), 4 * (4 + 15 + 4));
    }
}
