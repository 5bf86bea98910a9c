//! The batches of an epoch, formed by threads in the background while the device works.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, Contents, Former, Forming};
use super::dataset::Dataset;
use super::error::DataError;
use super::shards::{Shards, TrainRows};
use crate::plan::Input;

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

/// Threads that form the batches of rows in memory at most. Streamed rows are formed by the thread that gets them.
const MOST_THREADS: usize = 4;

/// How many formed batches wait; with several threads as many for each as make this many or more.
pub(super) const AHEAD: usize = 3;

/// How many threads form batches of these rows.
fn threads(rows: &TrainRows) -> usize {
    match rows {
        TrainRows::Memory(_) => thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS),
        TrainRows::Shards(_) => 1,
    }
}

/// How many batches of an epoch exist at once: those that wait, one in each thread, and the one in use.
pub fn batches_at_once(rows: &TrainRows) -> usize {
    let threads = threads(rows);
    threads * (AHEAD.div_ceil(threads) + 1) + 1
}

/// The batches of one epoch, in order, formed ahead by threads. The last one may be smaller. Dropping it ends the threads.
///
/// Rows that are read from files may fail: the batches end early then, and [`Batches::check`] says why.
pub struct Batches {
    /// What each thread has formed. They form in turn.
    formed: Vec<Receiver<Formed>>,
    threads: Vec<JoinHandle<()>>,
    /// The thread that forms the next batch.
    turn: usize,
    spare: Spare,
    forming: Option<Forming>,
    left: usize,
    waited: Duration,
    failed: Option<DataError>,
}

/// Batches that are no longer in use, and whose memory is.
type Spare = Arc<Mutex<Vec<Batch>>>;

type Formed = Result<(Batch, Forming), DataError>;

/// Which batches are formed, and what of.
struct Epoch {
    input: Arc<Input>,
    batch_size: usize,
    order: Order,
    contents: Contents,
    /// Batches at the start that are left out.
    done: usize,
}

/// What the threads of an epoch over rows in memory share.
struct Visit {
    order: Vec<u32>,
    /// Whether every row is in the mask of every task.
    all_labelled: bool,
}

/// A thread's own.
struct Worker {
    former: Former,
    sender: SyncSender<Formed>,
    spare: Spare,
}

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
        let threads = threads(&rows);
        Self::formed_by(threads, rows, Epoch { input, batch_size, order, contents, done })
    }

    /// As [`Batches::new`], formed one after another by a single thread.
    pub fn one_by_one(
        rows: impl Into<TrainRows>,
        input: Arc<Input>,
        batch_size: usize,
        order: Order,
        contents: Contents,
    ) -> Self {
        Self::formed_by(1, rows.into(), Epoch { input, batch_size: batch_size.max(1), order, contents, done: 0 })
    }

    fn formed_by(threads: usize, rows: TrainRows, epoch: Epoch) -> Self {
        let left = rows.rows().div_ceil(epoch.batch_size).saturating_sub(epoch.done);
        let threads = threads.min(left).max(1);
        let spare = Spare::default();
        let (mut workers, mut formed) = (Vec::with_capacity(threads), Vec::with_capacity(threads));
        for _ in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD.div_ceil(threads));
            let former = Former::new(&epoch.input, epoch.contents);
            workers.push(Worker { former, sender, spare: spare.clone() });
            formed.push(receiver);
        }
        let epoch = Arc::new(epoch);
        let threads = match rows {
            TrainRows::Memory(dataset) => spawn(workers, &dataset, &epoch),
            TrainRows::Shards(shards) => {
                let stream = |worker: Worker| {
                    let (shards, epoch) = (shards.clone(), epoch.clone());
                    thread::spawn(move || worker.stream(&shards, &epoch))
                };
                // A single one.
                workers.into_iter().map(stream).collect()
            }
        };
        let waited = Duration::ZERO;
        Self { formed, threads, turn: 0, spare, forming: None, left, waited, failed: None }
    }

    /// Takes a batch back, in whose memory another one is formed.
    pub fn give_back(&self, batch: Batch) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
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

    /// Without receivers the threads' next sends fail, and they return; the first panic of one of them.
    fn join(&mut self) -> thread::Result<()> {
        self.formed.clear();
        let mut joined = Ok(());
        for thread in self.threads.drain(..) {
            joined = joined.and(thread.join());
        }
        joined
    }
}

/// Threads over rows in memory: number i of n forms the batches i, i + n, i + 2n and so on.
fn spawn(workers: Vec<Worker>, dataset: &Arc<Dataset>, epoch: &Arc<Epoch>) -> Vec<JoinHandle<()>> {
    let (count, visit) = (workers.len(), Arc::new(OnceLock::new()));
    let spawn = |(number, mut worker): (usize, Worker)| {
        let (dataset, epoch, visit) = (dataset.clone(), epoch.clone(), visit.clone());
        thread::spawn(move || {
            let Visit { order, all_labelled } = visit.get_or_init(|| Visit::new(&dataset, &epoch));
            let own = order.chunks(epoch.batch_size).skip(epoch.done + number).step_by(count);
            own.map(|rows| worker.form(&dataset, rows, *all_labelled)).take_while(|is_wanted| *is_wanted).count();
        })
    };
    workers.into_iter().enumerate().map(spawn).collect()
}

impl Visit {
    fn new(dataset: &Dataset, epoch: &Epoch) -> Self {
        let all_labelled = epoch.contents == Contents::NumbersAndSegments && !dataset.masks.contains(&0.0);
        Self { order: epoch.order.rows(dataset.rows), all_labelled }
    }
}

impl Worker {
    /// Forms a batch and hands it on; whether anybody wants more.
    fn form(&mut self, dataset: &Dataset, rows: &[u32], all_labelled: bool) -> bool {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut batch = spare.unwrap_or_default();
        let forming = self.former.form(dataset, rows, all_labelled, &mut batch);
        self.sender.send(Ok((batch, forming))).is_ok()
    }

    /// Forms all batches of rows that are read from files.
    fn stream(mut self, shards: &Shards, epoch: &Epoch) {
        let first = epoch.done * epoch.batch_size;
        let mut form = |dataset: &Dataset, rows: &[u32]| self.form(dataset, rows, false);
        if let Err(error) = shards.visit(epoch.order, first, epoch.batch_size, &mut form) {
            // Without a receiver nobody asks.
            let _ = self.sender.send(Err(error));
        }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let start = Instant::now();
        let received = self.formed.get(self.turn).and_then(|formed| formed.recv().ok());
        self.waited += start.elapsed();
        match received {
            Some(Ok((batch, forming))) => {
                self.turn = (self.turn + 1) % self.formed.len();
                self.left -= 1;
                self.forming = Some(forming);
                return Some(batch);
            }
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
        // The thread has ended: after its last batch, on an error, or because it panicked.
        self.left = 0;
        if let Err(panic) = self.join() {
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
        // Who drops it early does not ask what became of the threads.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::small;
    use super::super::dataset::BagColumn;
    use super::*;

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
        let (dataset, input) = (Arc::new(dataset), Arc::new(input));
        let mut batches = Batches::one_by_one(dataset, input, 1, Order::File, Contents::ValuesAndSegments);
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

    #[test]
    fn several_threads_form_the_batches_of_one_in_the_same_order() {
        let (dataset, input) = small();
        let rows = 101;
        let dataset = Arc::new(dataset.gather((0..rows).map(|row| row * 7 % 3)));
        let input = Arc::new(input);
        for (done, contents) in [(0, Contents::ValuesAndSegments), (3, Contents::NumbersAndSegments)] {
            let form = |threads, gives_back: bool| {
                let order = Order::Shuffled { seed: 5, epoch: 2 };
                let epoch = Epoch { input: input.clone(), batch_size: 4, order, contents, done };
                let mut batches = Batches::formed_by(threads, dataset.clone().into(), epoch);
                let mut all = Vec::new();
                while let Some(batch) = batches.next() {
                    all.push(batch.clone());
                    if gives_back {
                        batches.give_back(batch);
                    }
                }
                all
            };
            let one = form(1, false);
            assert_eq!(one.len(), 26 - done);
            for threads in [1, 2, 3, 40] {
                assert_eq!(form(threads, true), one, "{threads} threads");
            }
        }
    }

    #[test]
    fn no_more_batches_exist_at_once_than_are_said_to() {
        let (dataset, input) = small();
        let rows = TrainRows::from(Arc::new(dataset.gather((0..300).map(|row| row % 3))));
        let mut batches = Batches::new(rows.clone(), Arc::new(input), 1, Order::File, Contents::ValuesAndSegments);
        let mut places = std::collections::BTreeSet::new();
        while let Some(batch) = batches.next() {
            places.insert(batch.labels.as_ptr());
            batches.give_back(batch);
        }
        assert!((1..=batches_at_once(&rows)).contains(&places.len()), "{} batches", places.len());
    }

    #[test]
    fn a_panic_in_one_of_the_threads_reaches_who_asks_for_batches() {
        let (mut dataset, input) = small();
        // The last row's ids are missing.
        dataset.bags[0] = BagColumn::One(vec![4, 5]);
        let mut batches = Batches::new(Arc::new(dataset), Arc::new(input), 1, Order::File, Contents::Values);
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batches.by_ref().count()));
        assert!(asked.is_err());
    }
}
