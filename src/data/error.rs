//! What can be wrong with data, and what to do about it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Data that cannot be used. `row` is the line of the file as an editor counts it, from 1; of a Parquet file, the row.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("{}: no such file; paths are relative to the data directory (--data-dir)", file.display())]
    NotFound { file: PathBuf },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
    #[error("{}: the gzip stream ends early after row {row}: the file is truncated; fetch it again", file.display())]
    TruncatedGzip { file: PathBuf, row: u64 },
    #[error("{}: not readable as gzip ({reason}); fetch it again, or name it without .gz if it is plain text", file.display())]
    CorruptGzip { file: PathBuf, reason: String },
    #[error("{}: it does not start as a Parquet file does; fetch it again, or name it .csv if it is text", file.display())]
    NotParquet { file: PathBuf },
    #[error("{}: the Parquet file is truncated: its end is missing; fetch it again", file.display())]
    TruncatedParquet { file: PathBuf },
    #[error("{}: the Parquet file cannot be read ({reason}); write it again, plain or with snappy, zstd, gzip or lz4", file.display())]
    CorruptParquet { file: PathBuf, reason: String },
    #[error("{}, column {column}: it is {found}, which {used_by} cannot read; {remedy}", file.display())]
    ColumnType { file: PathBuf, column: String, found: String, used_by: String, remedy: &'static str },
    #[error("{}: the file is empty", file.display())]
    Empty { file: PathBuf },
    #[error("{}: the file has a header and no rows", file.display())]
    HeaderOnly { file: PathBuf },
    #[error("{}, row {row}: the file starts with a header; leave out `columns`, or remove that line", file.display())]
    UnexpectedHeader { file: PathBuf, row: u64 },
    #[error("{}: {listed} column {column} stands twice; rename one", file.display())]
    DuplicateColumn { file: PathBuf, listed: &'static str, column: String },
    #[error("{}: no column {column}, which {used_by} names; {hint}", file.display())]
    MissingColumn { file: PathBuf, column: String, used_by: String, hint: String },
    #[error("{}, row {row}: it has {found} fields, not {expected}; check the delimiter and the quotes", file.display())]
    Fields { file: PathBuf, row: u64, found: usize, expected: usize },
    #[error("{}, row {row}: a quote that opens in this row is never closed; close it, or double it if it is text", file.display())]
    OpenQuote { file: PathBuf, row: u64 },
    #[error("{}, row {row}, column {column}: invalid UTF-8 in {value:?}; convert the file to UTF-8", file.display())]
    Utf8 { file: PathBuf, row: u64, column: String, value: String },
    #[error("{}, row {row}, column {column}: {value:?} {must}", file.display())]
    Cell { file: PathBuf, row: u64, column: String, value: String, must: String },
    #[error("{} and {} both have a column {column}; rename one, or leave it out of one", first.display(), second.display())]
    JoinClash { first: PathBuf, second: PathBuf, column: String },
    #[error("{}, row {row}, column {column}: the key {value:?} stands there already in row {first}; a side table has one row a key", file.display())]
    DuplicateKey { file: PathBuf, row: u64, first: u64, column: String, value: String },
    #[error(
        "feature {column} is read from a column that task {task} is learned from; remove it, or set allow_label = true to feed it all the same"
    )]
    LabelAsFeature { column: String, task: String },
    #[error("two features are named {name}; remove one")]
    DuplicateFeature { name: String },
    #[error("two tasks are named {name}; rename one")]
    DuplicateTask { name: String },
    #[error("a task cannot be named \"shared\": that names what tasks share; rename it and set `column`")]
    ReservedTask,
    #[error(
        "features {first} and {second} share table {table} but differ in {what}; make them agree, or name another table"
    )]
    TableClash { table: String, first: String, second: String, what: String },
    #[error("{key}: {problem}")]
    Config { key: String, problem: String },
    #[error("{}: this file of the cache is damaged: {problem}; remove the cache's folder, and it is made anew", file.display())]
    Shard { file: PathBuf, problem: String },
    #[error("{} changed while the cache was made of it; start again when it is complete", file.display())]
    SourceChanged { file: PathBuf },
    #[error(
        "the run to continue and this config do not fit: {what} of the run {differs}; use the run's own config, with new files"
    )]
    Continued { what: String, differs: String },
    #[error("no training rows are left after {after}; loosen it")]
    NoTrainingRows { after: &'static str },
    #[error("writing synthetic rows: {0}")]
    Write(std::io::Error),
}

impl DataError {
    pub(crate) fn config(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { key: key.into(), problem: problem.into() }
    }

    /// The error of a column that is not there, with the nearest name that is.
    pub(crate) fn missing_column<'a>(
        file: &Path,
        column: &str,
        used_by: &str,
        columns: impl Iterator<Item = &'a str>,
    ) -> Self {
        let columns: Vec<&str> = columns.collect();
        let hint = match nearest(column, columns.iter().copied()) {
            Some(name) => format!("the nearest is {name}"),
            None => format!("it has {}", summary(&columns)),
        };
        Self::MissingColumn { file: file.to_owned(), column: column.to_owned(), used_by: used_by.to_owned(), hint }
    }
}

/// What must be said of a cell that is no finite number; `joined` says where it came from, if from elsewhere.
pub(crate) fn not_a_number(used_by: &str, joined: &str) -> String {
    format!(
        "is not a finite number{joined}, which {used_by} needs; list it in `missing` if it stands for a missing value"
    )
}

fn summary(columns: &[&str]) -> String {
    const SHOWN: usize = 8;
    let mut text = columns[..columns.len().min(SHOWN)].join(", ");
    if columns.len() > SHOWN {
        text += &format!(" and {} more", columns.len() - SHOWN);
    }
    text
}

/// The name most like `wanted`, if any is like it at all.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.75;
    names
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
