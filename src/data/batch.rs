//! Batches: rows gathered from a dataset, formed in a background thread while the device works.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::dataset::Dataset;
use super::error::DataError;
use super::segments::{Bags, Segments};
use super::shards::TrainRows;
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
        Self::form(dataset, input, order, contents).0
    }

    fn form(dataset: &Dataset, input: &Input, order: &[u32], contents: Contents) -> (Self, Forming) {
        let start = Instant::now();
        let is_held = contents == Contents::NumbersAndSegments;
        let held = is_held.then(|| Held { order: order.to_vec(), labelled: labelled(dataset, order) });
        let matrix = |matrix: &[f32]| if is_held { Vec::new() } else { gather_rows(matrix, dataset.rows, order) };
        let [dense, labels, masks] = [&dataset.dense, &dataset.labels, &dataset.masks].map(|m| matrix(m));
        let (mut bag_starts, mut ids) = (Vec::with_capacity(dataset.bags.len() * order.len() + 1), Vec::new());
        let (has_weights, mut weights) = (input.has_weights(), Vec::new());
        ids.reserve(dataset.bags.len() * order.len());
        bag_starts.push(0);
        for bags in &dataset.bags {
            for row in order {
                ids.extend_from_slice(bags.row(*row as usize));
                bag_starts.push(ids.len() as u32);
                if has_weights {
                    weights.extend_from_slice(bags.weights(*row as usize));
                    weights.resize(ids.len(), 1.0);
                }
            }
        }
        let sort = Instant::now();
        let table_of: Vec<usize> = input.bag_fields().into_iter().map(|(_, table, _)| table).collect();
        let list_bags = contents != Contents::Values;
        let tables = input.tables.len();
        let bags = Bags { rows: order.len(), starts: &bag_starts, weights: &weights };
        let segments = Segments::number(tables, &table_of, bags, &mut ids, list_bags);
        let forming = Forming { start, sort, end: Instant::now() };
        (Self { rows: order.len(), dense, bag_starts, ids, weights, labels, masks, segments, held }, forming)
    }
}

/// Rows of a matrix of `rows` rows.
fn gather_rows(matrix: &[f32], rows: usize, order: &[u32]) -> Vec<f32> {
    let width = matrix.len().checked_div(rows).unwrap_or(0);
    let mut gathered = Vec::with_capacity(order.len() * width);
    for row in order {
        gathered.extend_from_slice(&matrix[*row as usize * width..][..width]);
    }
    gathered
}

/// Of each task, how many of the rows are in its mask.
fn labelled(dataset: &Dataset, order: &[u32]) -> Vec<u32> {
    let tasks = dataset.masks.len().checked_div(dataset.rows).unwrap_or(0);
    let mut counts = vec![0; tasks];
    for row in order {
        let masks = &dataset.masks[*row as usize * tasks..][..tasks];
        counts.iter_mut().zip(masks).for_each(|(count, mask)| *count += u32::from(*mask != 0.0));
    }
    counts
}

/// The order in which an epoch visits rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the dataset has them.
    File,
    /// A permutation that seed and epoch decide.
    Shuffled { seed: u64, epoch: u64 },
}

impl Order {
    /// The row numbers of an epoch over `rows` rows.
    pub fn rows(self, rows: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        if let Self::Shuffled { seed, epoch } = self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch);
            order.shuffle(&mut rng);
        }
        order
    }
}

/// The batches of one epoch, formed ahead in a thread. The last one may be smaller. Dropping it ends the thread.
///
/// Rows that are read from files may fail: the batches end early then, and [`Batches::check`] says why.
pub struct Batches {
    batches: Option<Receiver<Result<(Batch, Forming), DataError>>>,
    forming: Option<Forming>,
    thread: Option<JoinHandle<()>>,
    left: usize,
    waited: Duration,
    failed: Option<DataError>,
}

/// Batches of an epoch that are there at once: those that wait, one being formed, and one in use.
pub const BATCHES_AT_ONCE: usize = AHEAD + 2;

/// How many formed batches wait at most.
pub const AHEAD: usize = 3;

impl Batches {
    /// `batch_size` 0 counts as 1.
    pub fn new(
        rows: impl Into<TrainRows>,
        input: Arc<Input>,
        batch_size: usize,
        order: Order,
        contents: Contents,
    ) -> Self {
        Self::after(0, rows, input, batch_size, order, contents)
    }

    /// As [`Batches::new`], without the first `done` batches, which are not formed.
    pub fn after(
        done: usize,
        rows: impl Into<TrainRows>,
        input: Arc<Input>,
        batch_size: usize,
        order: Order,
        contents: Contents,
    ) -> Self {
        let (rows, batch_size) = (rows.into(), batch_size.max(1));
        let left = rows.rows().div_ceil(batch_size).saturating_sub(done);
        let (sender, batches) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || {
            let mut form =
                |dataset: &Dataset, rows: &[u32]| sender.send(Ok(Batch::form(dataset, &input, rows, contents))).is_ok();
            let visited = match rows {
                TrainRows::Memory(dataset) => {
                    order.rows(dataset.rows).chunks(batch_size).skip(done).all(|rows| form(&dataset, rows));
                    Ok(())
                }
                TrainRows::Shards(shards) => shards.visit(order, done * batch_size, batch_size, &mut form),
            };
            if let Err(error) = visited {
                // Without a receiver nobody asks.
                let _ = sender.send(Err(error));
            }
        });
        Self { batches: Some(batches), forming: None, thread: Some(thread), left, waited: Duration::ZERO, failed: None }
    }

    /// How long `next` has waited for batches that were not formed yet.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether the batches ended because there are no more. Rows in memory always do.
    ///
    /// # Errors
    /// Why rows could not be read.
    pub fn check(&mut self) -> Result<(), DataError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// When the batch was formed that `next` gave last.
    pub fn forming(&self) -> Option<Forming> {
        self.forming
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let start = Instant::now();
        let received = self.batches.as_ref().and_then(|batches| batches.recv().ok());
        self.waited += start.elapsed();
        match received {
            Some(Ok((batch, forming))) => {
                self.left -= 1;
                self.forming = Some(forming);
                return Some(batch);
            }
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
        // The thread has ended: after the last batch, on an error, or because it panicked.
        self.left = 0;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it returns.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::BagColumn;
    use super::*;
    use crate::plan::{Field, Pooling, Table};

    /// Two bag fields of one table, one dense field between, one bag field of a table before it in order.
    fn small() -> (Dataset, Input) {
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
    fn an_empty_batch_has_one_bag_start_and_no_segments() {
        let (dataset, input) = small();
        let batch = Batch::gather(&dataset, &input, &[], Contents::ValuesAndSegments);
        assert_eq!((batch.rows, batch.bag_starts, batch.segments.starts), (0, vec![0], vec![0]));
    }

    #[test]
    fn an_epoch_visits_every_row_once_in_an_order_of_its_own() {
        let order = |seed, epoch| Order::Shuffled { seed, epoch }.rows(101);
        let mut sorted = order(1, 0);
        assert_ne!(sorted, order(1, 1));
        assert_ne!(sorted, order(2, 0));
        assert_eq!(sorted, order(1, 0));
        sorted.sort_unstable();
        assert_eq!(sorted, Order::File.rows(101));
    }

    #[test]
    fn the_last_batch_is_smaller_and_not_dropped() {
        let (dataset, input) = small();
        let batches = Batches::new(Arc::new(dataset), Arc::new(input), 2, Order::File, Contents::Values);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches.map(|batch| batch.rows).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn batches_after_some_are_the_rest_of_the_epoch() {
        let (dataset, input) = small();
        let (dataset, input) = (Arc::new(dataset), Arc::new(input));
        let order = Order::Shuffled { seed: 5, epoch: 2 };
        let after = |done| Batches::after(done, dataset.clone(), input.clone(), 1, order, Contents::ValuesAndSegments);
        let all: Vec<Batch> = after(0).collect();
        for done in 0..=4 {
            let rest = after(done);
            assert_eq!(rest.len(), 3usize.saturating_sub(done));
            assert_eq!(rest.collect::<Vec<_>>(), all[done.min(3)..]);
        }
    }

    #[test]
    fn each_batch_comes_with_the_times_of_its_own_forming() {
        let (dataset, input) = small();
        let mut batches = Batches::new(Arc::new(dataset), Arc::new(input), 1, Order::File, Contents::ValuesAndSegments);
        assert!(batches.forming().is_none());
        let mut end: Option<Instant> = None;
        while batches.next().is_some() {
            let forming = batches.forming().unwrap();
            assert!(forming.start <= forming.sort && forming.sort <= forming.end);
            assert!(end.is_none_or(|end| end <= forming.start), "a batch is formed after the one before it");
            end = Some(forming.end);
        }
    }

    #[test]
    fn dropping_batches_early_ends_the_thread() {
        let (dataset, input) = small();
        let dataset = Arc::new(dataset);
        let mut batches =
            Batches::new(Arc::clone(&dataset), Arc::new(input), 1, Order::File, Contents::ValuesAndSegments);
        assert!(batches.next().is_some());
        drop(batches);
        assert_eq!(Arc::strong_count(&dataset), 1);
    }
}
