//! From files to batches: read, join, filter, split, fit on the training rows, encode once, batch.

mod arrays;
mod batch;
mod bind;
mod cells;
mod columns;
mod dataset;
mod encode;
mod error;
mod file;
mod fit;
mod groups;
mod join;
mod labels;
mod numbers;
mod parquet;
mod paths;
mod reader;
mod records;
mod resolve;
mod schema;
mod segments;
mod source;
mod split;
mod synthetic;
mod vocab;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use batch::{Batch, Batches, Contents, Forming, Held, Order};
pub use cells::{Cells, GroupCells, Part, TextCells};
pub use dataset::{BagColumn, Dataset};
pub use error::DataError;
pub use numbers::Numbers;
pub use schema::{Feature, FeatureKind, Schema, TableEncoder};
pub use segments::Segments;
pub use synthetic::write_csv;
pub use vocab::{Encoder, fnv1a};

use crate::config::TaskConfig;
use crate::config::{DataConfig, FeatureConfig};
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
/// `seed` decides the splits by ratio. Paths in the config are relative to `data_dir`.
pub fn load(
    data: &DataConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    seed: u64,
) -> Result<Splits, DataError> {
    load_with_cells(data, features, tasks, data_dir, seed).map(|(splits, _)| splits)
}

/// [`load`], with the rows as they were read.
pub fn load_with_cells(
    data: &DataConfig,
    features: &[FeatureConfig],
    tasks: &[TaskConfig],
    data_dir: &Path,
    seed: u64,
) -> Result<(Splits, Cells), DataError> {
    let start = Instant::now();
    split::check(data)?;
    let sources = sources(data, data_dir)?;
    let mut schema = unfitted(data, features, tasks, data_dir, &sources[0][0])?;
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
    let mut fit = Fit::new(&schema);
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
    let mut optional = |name: &str, rows: &[u32], wanted: bool| {
        if wanted && rows.is_empty() {
            notes.push(format!("no {name} rows are left after data.filter and data.split"));
        }
        (!rows.is_empty()).then(|| encode(rows)).transpose()
    };
    let split = data.split.clone().unwrap_or_default();
    let wants_valid = split.valid_from.or(split.valid_ratio).or(split.valid_of_test).is_some();
    let valid = optional("validation", &parts.valid, wants_valid || !data.valid.is_empty())?;
    let wants_test = split.test_from.or(split.test_ratio).is_some();
    let test = optional("test", &parts.test, wants_test || !data.test.is_empty())?;
    notes.iter().for_each(|note| log::warn!("{note}"));
    let loading = Loading { rows: columns.rows(), read, encode: start.elapsed().as_secs_f64() - read };
    Ok((Splits { schema, train, valid, test, notes, loading }, Cells { columns, parts }))
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
