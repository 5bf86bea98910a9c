//! From files to batches: read, join, filter, split, fit on the training rows, encode once, batch.

mod arrays;
mod batch;
mod batches;
mod bind;
mod cache;
mod cells;
mod columns;
mod dataset;
mod encode;
mod error;
mod extend;
mod file;
mod fit;
mod groups;
mod items;
mod join;
mod labels;
mod list_arrays;
mod numbers;
mod parquet;
mod paths;
mod reader;
mod records;
mod resolve;
mod schema;
mod segments;
mod shards;
mod size;
mod source;
mod split;
mod synthetic;
mod vocab;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub use batch::{Batch, Contents, Forming, Held};
pub use batches::{Batches, Order, batches_at_once};
pub use cells::{Cells, GroupCells, Part, TextCells};
pub use dataset::{BagColumn, Dataset};
pub use error::DataError;
pub use numbers::Numbers;
pub use schema::{Feature, FeatureKind, Schema, TableEncoder};
pub use segments::Segments;
pub use shards::{Shards, StreamMemory, TrainRows};
pub use size::BatchSize;
pub use synthetic::write_csv;
pub use vocab::{Encoder, fnv1a};

use crate::config::{DataConfig, FeatureConfig, StreamConfig, TaskConfig};
use columns::{Columns, Needs};
use encode::{Groups, encode};
use fit::Fit;
use labels::Tally;
use resolve::Known;
use source::{Selection, Source};
use split::{Files, Parts, Splitter};

/// A config's data, ready to train on.
#[derive(Debug)]
pub struct Splits {
    pub schema: Schema,
    pub train: Dataset,
    pub valid: Option<Dataset>,
    pub test: Option<Dataset>,
    /// What is odd about the data, a line each; logged as warnings already.
    pub notes: Vec<String>,
    pub loading: Loading,
}

/// What it took to load a config's data, once.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Loading {
    /// Rows after `data.filter`, of all splits.
    pub rows: usize,
    /// Seconds to read, join and filter files, or to make synthetic rows.
    pub read: f64,
    /// Seconds to split, to fit vocabularies and statistics, and to encode.
    pub encode: f64,
}

/// Reads, splits and encodes a config's data. Vocabularies and statistics come from the training rows alone.
///
/// `seed` decides the splits by ratio. Paths in the config are relative to `data_dir`. With a `run`'s schema to go on from,
/// its vocabularies are added to and its statistics stay.
pub fn load(
    data: &DataConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    seed: u64,
    run: Option<&Schema>,
) -> Result<Splits, DataError> {
    load_with_cells(data, features, tasks, data_dir, seed, run).map(|(splits, _)| splits)
}

/// [`load`], with the rows as they were read.
pub fn load_with_cells(
    data: &DataConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    seed: u64,
    run: Option<&Schema>,
) -> Result<(Splits, Cells), DataError> {
    let start = Instant::now();
    split::check(data)?;
    let sources = sources(data, data_dir)?;
    let mut schema = unfitted(data, features, tasks, data_dir, &sources[0][0])?;
    run.map_or(Ok(()), |run| schema.extend(run))?;
    let mut columns = Columns::new(needs(&schema, data, true));
    let mut selection = Selection::new(&schema.dialect, &schema.joins, &schema.filter, data_dir, &columns)?;
    let mut ends = [0; 3];
    for (part, end) in sources.iter().zip(&mut ends) {
        for source in part {
            selection.read(source, &mut columns)?;
        }
        *end = columns.rows();
    }
    let read = start.elapsed().as_secs_f64();
    let mut parts = Parts::default();
    let mut splitter = Splitter::new(data, seed, || Ok(ends[0] as u64))?;
    splitter.add(Files::Train, &columns, 0..ends[0], &mut parts)?;
    splitter.add(Files::Valid, &columns, ends[0]..ends[1], &mut parts)?;
    splitter.add(Files::Test, &columns, ends[1]..ends[2], &mut parts)?;
    if let Some(marks) = splitter.valid_of_test(parts.test.len()) {
        parts.validate(&marks);
    }
    if parts.train.is_empty() {
        let after = if ends[0] == 0 { "data.filter" } else { "data.split" };
        return Err(DataError::NoTrainingRows { after });
    }

    let mut notes = selection.notes();
    let mut fit = Fit::new(&schema, run.is_some());
    fit.add(&schema, &columns, &parts.train);
    notes.extend(fit.finish(&mut schema));
    let encode = |rows: &[u32]| -> Result<Dataset, DataError> {
        let groups = Groups::default().number(&schema, &columns, rows);
        Ok(Dataset { groups, ..encode(&schema, &columns, rows, true, &[])? })
    };
    let train = encode(&parts.train)?;
    let mut tally = Tally::default();
    tally.add(tasks.len(), &train.labels, &train.masks);
    notes.extend(tally.notes(tasks));
    notes.extend(what_is_missing(data, parts.valid.is_empty(), parts.test.is_empty()));
    let optional = |rows: &[u32]| (!rows.is_empty()).then(|| encode(rows)).transpose();
    let (valid, test) = (optional(&parts.valid)?, optional(&parts.test)?);
    notes.iter().for_each(|note| log::warn!("{note}"));
    let loading = Loading { rows: columns.rows(), read, encode: start.elapsed().as_secs_f64() - read };
    Ok((Splits { schema, train, valid, test, notes, loading }, Cells { columns, parts }))
}

/// A config's data, ready to stream.
#[derive(Debug)]
pub struct Streamed {
    pub schema: Schema,
    pub train: Arc<Shards>,
    pub valid: Option<Dataset>,
    pub test: Option<Dataset>,
    /// `read` has the making of the cache in it, where there was none; `encode` is the reading of rows to judge by.
    pub loading: Loading,
}

/// As [`load`], with the training rows in a cache on disk, which is made first where there is none that holds. Rows to
/// judge by are in memory, for exact metrics.
pub fn stream(
    data: &DataConfig,
    stream: &StreamConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    seed: u64,
    run: Option<&Schema>,
) -> Result<Streamed, DataError> {
    let start = Instant::now();
    split::check(data)?;
    if !wants_valid(data) && !wants_test(data) {
        return Err(nothing_to_judge_by());
    }
    let sources = sources(data, data_dir)?;
    let mut unfitted = unfitted(data, features, tasks, data_dir, &sources[0][0])?;
    run.map_or(Ok(()), |run| unfitted.extend(run))?;
    let folder = stream.cache.clone();
    let asked = cache::Asked { data, stream, sources: &sources, data_dir, seed, keeps_statistics: run.is_some() };
    let opened = cache::open(&asked, &folder, unfitted)?;
    opened.notes.iter().for_each(|note| log::warn!("{note}"));
    let read = start.elapsed().as_secs_f64();
    let held = |shards: &[cache::Shard]| (!shards.is_empty()).then(|| shards::load(&folder, shards.iter())).transpose();
    let (valid, test) = (held(&opened.valid)?, held(&opened.test)?);
    if valid.is_none() && test.is_none() {
        return Err(nothing_to_judge_by());
    }
    let judged = [&valid, &test].into_iter().flatten().map(|rows| rows.rows).sum::<usize>();
    let train = Arc::new(Shards::new(folder, opened.train, stream, opened.lock));
    let loading = Loading { rows: train.rows() + judged, read, encode: start.elapsed().as_secs_f64() - read };
    Ok(Streamed { schema: opened.schema, train, valid, test, loading })
}

fn nothing_to_judge_by() -> DataError {
    DataError::config(
        "data.stream",
        "takes validation or test rows for its figures; set data.split, data.valid or data.test",
    )
}

fn wants_valid(data: &DataConfig) -> bool {
    let split = data.split.clone().unwrap_or_default();
    split.valid_from.or(split.valid_ratio).or(split.valid_of_test).is_some() || !data.valid.is_empty()
}

fn wants_test(data: &DataConfig) -> bool {
    let split = data.split.clone().unwrap_or_default();
    split.test_from.or(split.test_ratio).is_some() || !data.test.is_empty()
}

/// A line for each part that the config asks for and that has no row.
fn what_is_missing(data: &DataConfig, no_valid: bool, no_test: bool) -> Vec<String> {
    let parts = [("validation", wants_valid(data) && no_valid), ("test", wants_test(data) && no_test)];
    let missing = parts.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(name, _)| format!("no {name} rows are left after data.filter and data.split")).collect()
}

/// Encodes files with a stored schema.
///
/// `paths` are files, folders or glob patterns; the schema's joined files are found in `data_dir`. With `labels`, labels, masks and
/// groups are read, else they are 0 and absent, and the files need no such columns. `keep` names columns to keep as text.
pub fn encode_files(
    schema: &Schema,
    paths: &[PathBuf],
    data_dir: &Path,
    labels: bool,
    keep: &[String],
) -> Result<Dataset, DataError> {
    let mut columns = Columns::new(schema.needs(labels, keep));
    let mut selection = Selection::new(&schema.dialect, &schema.joins, &schema.filter, data_dir, &columns)?;
    for source in files(paths, Path::new(""), "--data")? {
        selection.read(&source, &mut columns)?;
    }
    selection.notes().iter().for_each(|note| log::warn!("{note}"));
    let rows: Vec<u32> = (0..columns.rows() as u32).collect();
    if rows.is_empty() {
        return Err(DataError::config("--data", "no rows are left after data.filter"));
    }
    let groups = if labels { Groups::default().number(schema, &columns, &rows) } else { None };
    Ok(Dataset { groups, ..encode(schema, &columns, &rows, labels, keep)? })
}

/// The sources of training, validation and test rows.
fn sources(data: &DataConfig, data_dir: &Path) -> Result<[Vec<Source>; 3], DataError> {
    let train = match &data.synthetic {
        None if data.train.is_empty() => {
            return Err(DataError::config("data.train", "names no file; name one, or set data.synthetic"));
        }
        None => files(&data.train, data_dir, "data.train")?,
        Some(_) if !data.train.is_empty() => {
            return Err(DataError::config("data.synthetic", "stands beside data.train; leave one out"));
        }
        Some(config) => vec![Source::Synthetic(config.clone())],
    };
    Ok([train, files(&data.valid, data_dir, "data.valid")?, files(&data.test, data_dir, "data.test")?])
}

/// The files that paths name, in their order.
fn files(paths: &[PathBuf], folder: &Path, key: &str) -> Result<Vec<Source>, DataError> {
    let mut sources = Vec::new();
    for path in paths {
        sources.extend(paths::data_files(path, folder, key)?.into_iter().map(Source::File));
    }
    Ok(sources)
}

/// The columns that splitting and encoding take; `labels` adds those of labels, masks and groups.
fn needs(schema: &Schema, data: &DataConfig, labels: bool) -> Needs {
    let mut needs = schema.needs(labels, &[]);
    if let Some(column) = data.split.as_ref().and_then(|split| split.column.as_deref()) {
        needs.number(column, "data.split");
    }
    needs
}

fn unfitted(
    data: &DataConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    first: &Source,
) -> Result<Schema, DataError> {
    let mut columns = first.columns(&resolve::dialect(data))?;
    for join in &data.join {
        columns.extend(join::Join::from(join).added_columns(data_dir)?);
    }
    Schema::resolve(data, features, tasks, &Known { file: &first.file(), columns })
}
