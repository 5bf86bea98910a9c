//! Training rows in the files of a cache, read ahead while batches are formed.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::batches::{AHEAD, Order};
use super::cache::{Shard, from_bytes};
use super::dataset::Dataset;
use super::error::DataError;
use super::windows::{self, Window};
use crate::config::StreamConfig;
use crate::digest;

/// Where the training rows lie.
#[derive(Clone, Debug)]
pub enum TrainRows {
    Memory(Arc<Dataset>),
    Shards(Arc<Shards>),
}

impl TrainRows {
    /// How many there are.
    pub fn rows(&self) -> usize {
        match self {
            Self::Memory(dataset) => dataset.rows,
            Self::Shards(shards) => shards.rows,
        }
    }

    /// Text that other rows, or others that a shuffle takes together, have only by chance.
    pub fn digest(&self) -> String {
        match self {
            Self::Memory(dataset) => format!("{:016x}", dataset.digest()),
            Self::Shards(shards) => {
                let digests: Vec<&str> = shards.shards.iter().map(|shard| shard.digest.as_str()).collect();
                digest::of(format!("{} {}", shards.per_window, digests.join(" ")).as_bytes())
            }
        }
    }
}

impl From<Arc<Dataset>> for TrainRows {
    fn from(dataset: Arc<Dataset>) -> Self {
        Self::Memory(dataset)
    }
}

impl From<Arc<Shards>> for TrainRows {
    fn from(shards: Arc<Shards>) -> Self {
        Self::Shards(shards)
    }
}

/// Training rows in a cache.
#[derive(Debug)]
pub struct Shards {
    folder: PathBuf,
    shards: Vec<Shard>,
    rows: usize,
    /// Shards that are shuffled together.
    per_window: usize,
    /// Keeps others from making the cache anew while it is read.
    _lock: File,
}

impl Shards {
    pub(super) fn new(folder: PathBuf, shards: Vec<Shard>, config: &StreamConfig, lock: File) -> Self {
        let rows = shards.iter().map(|shard| shard.rows).sum();
        let per_window = (config.buffer_rows / config.shard_rows.max(1)).max(1);
        Self { folder, shards, rows, per_window, _lock: lock }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The first rows in the order of the files: as many as are shuffled together.
    ///
    /// # Errors
    /// A shard that cannot be read, or is not what was written.
    pub fn first(&self) -> Result<Dataset, DataError> {
        load(&self.folder, self.shards.iter().take(self.per_window))
    }

    /// Hands the rows of an epoch from number `first` on to `each`, `size` at a time, as rows of a data set, until it says
    /// false. The next window is read meanwhile.
    ///
    /// # Errors
    /// A shard that cannot be read, or is not what was written.
    pub(super) fn visit(
        &self,
        order: Order,
        first: usize,
        size: usize,
        each: &mut dyn FnMut(&Dataset, &[u32]) -> bool,
    ) -> Result<(), DataError> {
        let shard_rows: Vec<usize> = self.shards.iter().map(|shard| shard.rows).collect();
        let windows = windows::windows(order, &shard_rows, self.per_window);
        let windows: Vec<Window> = windows.into_iter().filter(|window| window.rows.end > first).collect();
        // A window waits for the one before it to be used up: two are in memory at most.
        let (sender, loaded) = sync_channel(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Moved, so that it is gone when this thread ends, and the receiver learns of it.
                let sender = sender;
                for window in &windows {
                    let rows = load(&self.folder, window.shards.iter().map(|shard| &self.shards[*shard]));
                    if sender.send(rows).is_err() {
                        return;
                    }
                }
            });
            let mut left = Dataset::default();
            for (window, rows) in windows.iter().zip(loaded) {
                let mut rows = rows?;
                // Rows left over from the window before come first.
                let over = rows.rows as u32..(rows.rows + left.rows) as u32;
                rows.append(std::mem::take(&mut left));
                let skipped = first.saturating_sub(window.rows.start);
                let order: Vec<u32> = over.chain(windows::rows(order, window).into_iter().skip(skipped)).collect();
                let full = order.len() - order.len() % size;
                for batch in order[..full].chunks(size) {
                    if !each(&rows, batch) {
                        return Ok(());
                    }
                }
                left = rows.gather(order[full..].iter().copied());
            }
            if left.rows > 0 {
                each(&left, &(0..left.rows as u32).collect::<Vec<_>>());
            }
            Ok(())
        })
    }

    /// Bytes of a row, on the whole.
    pub fn row_bytes(&self) -> f64 {
        self.shards.iter().map(|shard| shard.bytes).sum::<u64>() as f64 / self.rows.max(1) as f64
    }

    /// What a stream of batches of `batch_size` rows takes in memory.
    pub fn memory(&self, batch_size: usize) -> StreamMemory {
        let mut bytes: Vec<u64> = self.shards.iter().map(|shard| shard.bytes).collect();
        bytes.sort_unstable_by(|a, b| b.cmp(a));
        let row = self.row_bytes();
        StreamMemory {
            window: bytes.iter().take(self.per_window).sum(),
            shard: bytes.first().copied().unwrap_or(0),
            // A row's ids stand once in it and up to four times in segments.
            batch: (5.0 * row * batch_size as f64) as u64,
        }
    }
}

/// What a stream keeps in memory at most. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StreamMemory {
    /// The largest rows that are shuffled together. They are there twice: those in use, and the next.
    pub window: u64,
    /// The largest shard: its file and its rows, while it is read.
    pub shard: u64,
    /// A batch's rows and segments.
    pub batch: u64,
}

impl StreamMemory {
    /// All of it: two windows, a shard twice, and the batches that wait, the one being formed and the one in use.
    pub fn bytes(&self) -> u64 {
        2 * self.window + 2 * self.shard + (AHEAD as u64 + 2) * self.batch
    }
}

impl fmt::Display for StreamMemory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let [all, window, shard, batch] = [self.bytes(), self.window, self.shard, self.batch].map(mib);
        let batches = AHEAD + 2;
        write!(f, "{all:.1} MiB (2 buffers of {window:.1}, a shard twice {shard:.1}, {batches} batches of {batch:.1})")
    }
}

/// Reads shards one behind another.
///
/// # Errors
/// A shard that cannot be read, or is not what was written.
pub fn load<'a>(folder: &Path, shards: impl Iterator<Item = &'a Shard>) -> Result<Dataset, DataError> {
    let mut rows = Dataset::default();
    for shard in shards {
        let file = folder.join(&shard.file);
        let bytes = fs::read(&file).map_err(|source| DataError::Io { file: file.clone(), source })?;
        let damaged = |problem: String| DataError::Shard { file: file.clone(), problem };
        if digest::of(&bytes) != shard.digest {
            return Err(damaged("its checksum is not that of what was written".into()));
        }
        rows.append(from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?);
    }
    Ok(rows)
}
