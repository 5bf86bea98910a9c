//! Batches: rows gathered from a data set and laid out for a device.

use std::time::Instant;

use super::dataset::{BagColumn, Dataset};
use super::segments::{Bags, Numbering, Segments};
use crate::plan::Input;

/// Rows of a dataset, laid out for a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: usize,
    /// [rows, dense fields]
    pub dense: Vec<f32>,
    /// [bag fields * rows + 1]; the bag of field f, row r is number f * rows + r.
    pub bag_starts: Vec<u32>,
    /// Table rows, bag after bag, as numbers of segments.
    pub ids: Vec<u32>,
    /// Of each id, 1 in fields without weights; empty where no field has weights.
    pub weights: Vec<f32>,
    /// [rows, tasks]
    pub labels: Vec<f32>,
    /// [rows, tasks]
    pub masks: Vec<f32>,
    /// The table rows that the bags hold; their bags only where asked for.
    pub segments: Segments,
    /// Where the device holds the data set: the rows of it that these are. `dense`, `labels` and `masks` are empty then.
    pub held: Option<Held>,
}

/// Rows of a data set that a device holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Row numbers in the data set.
    pub order: Vec<u32>,
    /// Of each task, how many of the rows are in its mask.
    pub labelled: Vec<u32>,
}

/// What batches carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The rows' values: enough to predict.
    Values,
    /// The values, and the bags of segments, which updates of tables walk.
    ValuesAndSegments,
    /// Row numbers in place of values, for a device that holds the data set; and the bags of segments.
    NumbersAndSegments,
}

/// When a batch was formed: from `start` rows were gathered, from `sort` to `end` ids were sorted into segments.
#[derive(Clone, Copy, Debug)]
pub struct Forming {
    pub start: Instant,
    pub sort: Instant,
    pub end: Instant,
}

impl Batch {
    /// Gathers the rows of `order`, in that order.
    pub fn gather(dataset: &Dataset, input: &Input, order: &[u32], contents: Contents) -> Self {
        let mut batch = Self::default();
        Former::new(input, contents).form(dataset, order, false, &mut batch);
        batch
    }
}

/// Forms the batches of a model. Keeps its memory from one batch to the next.
pub(super) struct Former {
    contents: Contents,
    has_weights: bool,
    numbering: Numbering,
}

impl Former {
    pub fn new(input: &Input, contents: Contents) -> Self {
        let table_of = input.bag_fields().into_iter().map(|(_, table, _)| table).collect();
        let numbering = Numbering::new(input.tables.len(), table_of, contents != Contents::Values);
        Self { contents, has_weights: input.has_weights(), numbering }
    }

    /// Replaces a batch with the rows of `order`, in its memory. `all_labelled` says that every row is in the mask of every
    /// task, so that they need not be counted.
    pub fn form(&mut self, dataset: &Dataset, order: &[u32], all_labelled: bool, batch: &mut Batch) -> Forming {
        let start = Instant::now();
        batch.rows = order.len();
        for matrix in [&mut batch.dense, &mut batch.labels, &mut batch.masks] {
            matrix.clear();
        }
        if self.contents == Contents::NumbersAndSegments {
            let held = batch.held.get_or_insert_default();
            held.order.clear();
            held.order.extend_from_slice(order);
            count_labelled(dataset, order, all_labelled, &mut held.labelled);
        } else {
            batch.held = None;
            gather_rows(&dataset.dense, dataset.rows, order, &mut batch.dense);
            gather_rows(&dataset.labels, dataset.rows, order, &mut batch.labels);
            gather_rows(&dataset.masks, dataset.rows, order, &mut batch.masks);
        }
        self.gather_bags(dataset, order, batch);
        let sort = Instant::now();
        let Batch { rows, bag_starts, ids, weights, segments, .. } = batch;
        self.numbering.number(Bags { rows: *rows, starts: bag_starts, weights }, ids, segments);
        Forming { start, sort, end: Instant::now() }
    }

    /// Ids as the data set has them, not yet numbers of segments.
    fn gather_bags(&self, dataset: &Dataset, order: &[u32], batch: &mut Batch) {
        let Batch { bag_starts, ids, weights, .. } = batch;
        for (words, room) in [(&mut *bag_starts, 1), (&mut *ids, 0)] {
            words.clear();
            words.reserve(dataset.bags.len() * order.len() + room);
        }
        weights.clear();
        bag_starts.push(0);
        for bags in &dataset.bags {
            match bags {
                BagColumn::One(column) => {
                    ids.extend(order.iter().map(|row| column[*row as usize]));
                    bag_starts.extend((ids.len() - order.len() + 1..=ids.len()).map(|end| end as u32));
                }
                BagColumn::Many { .. } => {
                    for row in order {
                        ids.extend_from_slice(bags.row(*row as usize));
                        bag_starts.push(ids.len() as u32);
                        if self.has_weights {
                            weights.extend_from_slice(bags.weights(*row as usize));
                            weights.resize(ids.len(), 1.0);
                        }
                    }
                }
            }
            if self.has_weights {
                weights.resize(ids.len(), 1.0);
            }
        }
    }
}

/// Replaces `gathered` with rows of a matrix of `rows` rows.
fn gather_rows(matrix: &[f32], rows: usize, order: &[u32], gathered: &mut Vec<f32>) {
    let width = matrix.len().checked_div(rows).unwrap_or(0);
    gathered.clear();
    gathered.reserve(order.len() * width);
    for row in order {
        gathered.extend_from_slice(&matrix[*row as usize * width..][..width]);
    }
}

/// Of each task, how many of the rows are in its mask.
fn count_labelled(dataset: &Dataset, order: &[u32], all_labelled: bool, counts: &mut Vec<u32>) {
    let tasks = dataset.masks.len().checked_div(dataset.rows).unwrap_or(0);
    counts.clear();
    if all_labelled {
        counts.resize(tasks, order.len() as u32);
        return;
    }
    counts.resize(tasks, 0);
    for row in order {
        let masks = &dataset.masks[*row as usize * tasks..][..tasks];
        counts.iter_mut().zip(masks).for_each(|(count, mask)| *count += u32::from(*mask != 0.0));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::{Field, Pooling, Table};

    /// Two bag fields of one table, one dense field between, one bag field of a table before it in order.
    pub fn small() -> (Dataset, Input) {
        let bag = |name: &str, table| Field::Bag { name: name.into(), table, pooling: Pooling::Mean };
        let table = |name: &str| Table { name: name.into(), rows: 9, dim: 2 };
        let input = Input {
            tables: vec![table("user"), table("video")],
            fields: vec![bag("video", 1), Field::Dense { name: "age".into() }, bag("seen", 1), bag("user", 0)],
        };
        let dataset = Dataset {
            rows: 3,
            dense: vec![0.0, 10.0, 20.0],
            bags: vec![
                BagColumn::One(vec![4, 5, 4]),
                BagColumn::Many { starts: vec![0, 2, 2, 4], ids: vec![5, 4, 7, 7], weights: vec![0.5, 2.0, 3.0, -1.0] },
                BagColumn::One(vec![1, 0, 8]),
            ],
            labels: vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0],
            masks: vec![1.0; 6],
            groups: None,
            kept: Vec::new(),
        };
        (dataset, input)
    }

    /// The table row of each id.
    fn table_rows(batch: &Batch) -> Vec<u32> {
        batch.ids.iter().map(|&segment| batch.segments.rows[segment as usize]).collect()
    }

    #[test]
    fn a_batch_holds_the_rows_in_the_order_given() {
        let (dataset, input) = small();
        let batch = Batch::gather(&dataset, &input, &[2, 0], Contents::ValuesAndSegments);
        assert_eq!(batch.dense, [20.0, 0.0]);
        assert_eq!(batch.labels, [20.0, 21.0, 0.0, 1.0]);
        assert_eq!(batch.bag_starts, [0, 1, 2, 4, 6, 7, 8]);
        assert_eq!(table_rows(&batch), [4, 4, 7, 7, 5, 4, 8, 1]);
    }

    #[test]
    fn segments_list_each_table_row_once_with_its_bags_and_ids_number_them() {
        let (dataset, input) = small();
        let batch = Batch::gather(&dataset, &input, &[2, 0], Contents::ValuesAndSegments);
        assert_eq!(batch.ids, [2, 2, 4, 4, 3, 2, 1, 0]);
        let Segments { tables, rows, starts, bags, weights } = batch.segments;
        assert!(weights.is_empty() && batch.weights.is_empty(), "no field has weights");
        assert_eq!(tables, [0, 0, 1, 1, 1]);
        assert_eq!(rows, [1, 8, 4, 5, 7]);
        assert_eq!(starts, [0, 1, 2, 5, 6, 8]);
        assert_eq!(bags, [5, 4, 0, 1, 3, 3, 2, 2]);
    }

    #[test]
    fn weights_go_with_their_ids_and_are_1_in_fields_without() {
        let (dataset, mut input) = small();
        input.fields[2] = Field::Bag { name: "seen".into(), table: 1, pooling: Pooling::Weighted };
        let batch = Batch::gather(&dataset, &input, &[2, 0], Contents::ValuesAndSegments);
        assert_eq!(table_rows(&batch), [4, 4, 7, 7, 5, 4, 8, 1]);
        assert_eq!(batch.weights, [1.0, 1.0, 3.0, -1.0, 0.5, 2.0, 1.0, 1.0]);
        assert_eq!(batch.segments.rows, [1, 8, 4, 5, 7]);
        assert_eq!(batch.segments.weights, [1.0, 1.0, 1.0, 1.0, 2.0, 0.5, 3.0, -1.0]);
    }

    #[test]
    fn a_batch_to_predict_lists_its_table_rows_without_their_bags() {
        let (dataset, input) = small();
        let [trained, predicted] =
            [Contents::ValuesAndSegments, Contents::Values].map(|c| Batch::gather(&dataset, &input, &[2, 0], c));
        assert_eq!(predicted.ids, trained.ids);
        let segments = Segments { starts: vec![0], bags: Vec::new(), ..trained.segments };
        assert_eq!(predicted.segments, segments);
    }

    #[test]
    fn a_batch_of_a_held_data_set_names_its_rows_and_keeps_its_segments() {
        let (mut dataset, input) = small();
        dataset.masks = vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        let values = Batch::gather(&dataset, &input, &[2, 0], Contents::ValuesAndSegments);
        let batch = Batch::gather(&dataset, &input, &[2, 0], Contents::NumbersAndSegments);
        assert_eq!(batch.held, Some(Held { order: vec![2, 0], labelled: vec![2, 1] }));
        assert_eq!((batch.bag_starts, batch.ids, batch.segments), (values.bag_starts, values.ids, values.segments));
        assert_eq!([batch.dense.len(), batch.labels.len(), batch.masks.len()], [0; 3]);
    }

    #[test]
    fn a_batch_formed_in_the_memory_of_another_is_as_one_formed_anew() {
        let (mut dataset, mut input) = small();
        dataset.masks = vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        input.fields[2] = Field::Bag { name: "seen".into(), table: 1, pooling: Pooling::Weighted };
        let all = [Contents::ValuesAndSegments, Contents::NumbersAndSegments, Contents::Values];
        let orders: [&[u32]; 4] = [&[2, 0], &[1], &[], &[0, 1, 2]];
        let mut batch = Batch::default();
        for contents in all.into_iter().chain(all.into_iter().rev()) {
            let mut former = Former::new(&input, contents);
            for order in orders {
                former.form(&dataset, order, false, &mut batch);
                assert_eq!(batch, Batch::gather(&dataset, &input, order, contents), "{contents:?}, {order:?}");
            }
        }
    }

    #[test]
    fn rows_need_not_be_counted_where_all_are_labelled() {
        let (dataset, input) = small();
        let mut former = Former::new(&input, Contents::NumbersAndSegments);
        let counted = [false, true].map(|all_labelled| {
            let mut batch = Batch::default();
            former.form(&dataset, &[2, 0], all_labelled, &mut batch);
            batch
        });
        assert_eq!(counted[0], counted[1]);
        assert_eq!(counted[0].held.as_ref().unwrap().labelled, [2, 2]);
    }

    #[test]
    fn an_empty_batch_has_one_bag_start_and_no_segments() {
        let (dataset, input) = small();
        let batch = Batch::gather(&dataset, &input, &[], Contents::ValuesAndSegments);
        assert_eq!((batch.rows, batch.bag_starts, batch.segments.starts), (0, vec![0], vec![0]));
    }
}
