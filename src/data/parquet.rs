//! Parquet files: their columns, a row group at a time.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::ArrayRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::arrays::{self, Refused};
use super::columns::{ListColumn, ListNeed, Need, TextColumn};
use super::error::{DataError, not_a_number};
use super::items::weights_user;
use super::list_arrays;

/// What a Parquet file begins and ends with.
const MAGIC: [u8; 4] = *b"PAR1";

/// The bytes of the shortest Parquet file: both magics and the length of what describes the file.
const LEAST: u64 = 12;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 16 << 10;

/// An open Parquet file. Its columns are read apart, so that threads can share it.
pub struct ParquetFile {
    pub file: PathBuf,
    metadata: ArrowReaderMetadata,
    columns: Vec<String>,
}

/// Whether a file is meant to be Parquet: by its name, or by how it begins and ends.
pub fn is_parquet(file: &Path) -> bool {
    let named = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet") || e.eq_ignore_ascii_case("pq"));
    named || File::open(file).and_then(|mut file| ends(&mut file)).is_ok_and(|ends| ends == [MAGIC; 2])
}

/// The first and the last four bytes.
fn ends(file: &mut File) -> std::io::Result<[[u8; 4]; 2]> {
    let mut ends = [[0; 4]; 2];
    file.read_exact(&mut ends[0])?;
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut ends[1])?;
    Ok(ends)
}

impl ParquetFile {
    /// Opens a file and reads its schema.
    ///
    /// # Errors
    /// A file that is not there, is not Parquet or is truncated, or that names a column twice.
    pub fn open(file: &Path) -> Result<Self, DataError> {
        let io = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => DataError::NotFound { file: file.to_owned() },
            _ => DataError::Io { file: file.to_owned(), source },
        };
        let mut opened = File::open(file).map_err(io)?;
        let length = opened.metadata().map_err(io)?.len();
        let [start, end] = if length < LEAST { [[0; 4]; 2] } else { ends(&mut opened).map_err(io)? };
        if length == 0 {
            return Err(DataError::Empty { file: file.to_owned() });
        }
        if start != MAGIC {
            return Err(DataError::NotParquet { file: file.to_owned() });
        }
        if end != MAGIC {
            return Err(DataError::TruncatedParquet { file: file.to_owned() });
        }
        // The types of Parquet itself, not those that a writer noted beside them: fewer, and each column has one.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(file, || ArrowReaderMetadata::load(&opened, options))?;
        check_places(&metadata, length).map_err(|reason| corrupt(file, reason))?;
        let columns: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        if let Some(column) = columns.iter().enumerate().find(|(i, name)| columns[..*i].contains(name)) {
            let (file, column) = (file.to_owned(), column.1.clone());
            return Err(DataError::DuplicateColumn { file, listed: "schema", column });
        }
        Ok(Self { file: file.to_owned(), metadata, columns })
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    pub fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub fn rows(&self, group: usize) -> usize {
        self.metadata.metadata().row_group(group).num_rows() as usize
    }

    /// The number of a row group's first row in the file, from 1.
    pub fn first_row(&self, group: usize) -> u64 {
        1 + (0..group).map(|before| self.rows(before) as u64).sum::<u64>()
    }

    /// A row group's cells of a column, as texts.
    ///
    /// # Errors
    /// A type that has no text, a file that cannot be read on.
    pub fn texts(
        &self,
        group: usize,
        column: usize,
        used_by: &str,
        missing: &[String],
    ) -> Result<TextColumn, DataError> {
        let mut texts = TextColumn::default();
        self.each(group, &[column], used_by, |read| arrays::texts(read[0], |text| texts.push(text, missing)))?;
        Ok(texts)
    }

    /// A row group's cells of a column as numbers, NaN where missing.
    ///
    /// # Errors
    /// As [`ParquetFile::texts`], and a cell that is no finite number.
    pub fn numbers(&self, group: usize, column: usize, need: &Need, missing: &[String]) -> Result<Vec<f64>, DataError> {
        let mut numbers = Vec::with_capacity(self.rows(group));
        self.each(group, &[column], &need.used_by, |read| arrays::numbers(read[0], missing, &mut numbers))?;
        Ok(numbers)
    }

    /// A row group's cells of a column as lists; `weights` is the column of their weights.
    ///
    /// # Errors
    /// As [`ParquetFile::texts`], and weights that cannot be.
    pub fn lists(
        &self,
        group: usize,
        column: usize,
        weights: Option<usize>,
        need: &ListNeed,
        missing: &[String],
    ) -> Result<ListColumn, DataError> {
        let mut lists = ListColumn::new(&need.items);
        let columns: Vec<usize> = std::iter::once(column).chain(weights).collect();
        self.each(group, &columns, &need.need.used_by, |read| {
            list_arrays::lists(read[0], read.get(1).copied(), &need.items, missing, &mut lists)
        })?;
        Ok(lists)
    }

    /// Decodes columns of a row group, and gives the arrays of the same rows to `take`; the second has the weights of the
    /// first, which is used by `used_by`.
    fn each(
        &self,
        group: usize,
        columns: &[usize],
        used_by: &str,
        mut take: impl FnMut(&[&ArrayRef]) -> Result<(), Refused>,
    ) -> Result<(), DataError> {
        let file = || self.file.clone();
        let opened = File::open(&self.file).map_err(|source| DataError::Io { file: file(), source })?;
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        let mut reader = guarded(&self.file, || builder.build())?;
        let mut first = 0;
        while let Some(batch) = guarded(&self.file, || Ok(reader.next().transpose()?))? {
            // A batch has its columns in the order of the file.
            let place = |column: &usize| columns.iter().filter(|other| *other < column).count();
            let arrays: Vec<&ArrayRef> = columns.iter().map(|column| batch.column(place(column))).collect();
            take(&arrays).map_err(|refused| self.refusal(refused, group, first, columns, used_by))?;
            first += batch.num_rows();
        }
        Ok(())
    }

    /// The error of an array whose first row is number `first` of a group.
    fn refusal(&self, refused: Refused, group: usize, first: usize, columns: &[usize], used_by: &str) -> DataError {
        let (file, column) = (self.file.clone(), self.columns[columns[0]].clone());
        let number = |row: usize| self.first_row(group) + (first + row) as u64;
        match refused {
            Refused::Type { found, remedy } => {
                DataError::ColumnType { file, column, found, used_by: used_by.to_owned(), remedy }
            }
            Refused::Number { row, value } => {
                DataError::Cell { file, row: number(row), column, value, must: not_a_number(used_by, "") }
            }
            Refused::Items { row, value, wrong } => {
                DataError::Cell { file, row: number(row), column, value, must: wrong.to_string() }
            }
            Refused::Weights(refused) => self.refusal(*refused, group, first, &columns[1..], &weights_user(used_by)),
        }
    }
}

fn corrupt(file: &Path, reason: impl Display) -> DataError {
    DataError::CorruptParquet { file: file.to_owned(), reason: reason.to_string() }
}

/// What the parquet crate makes of a file. Where pages are damaged, it may panic.
fn guarded<T>(file: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| corrupt(file, error)),
        Err(_) => Err(corrupt(file, "it is damaged")),
    }
}

/// Whether every page lies in the file, which the reader takes for granted.
fn check_places(metadata: &ArrowReaderMetadata, length: u64) -> Result<(), &'static str> {
    for group in metadata.metadata().row_groups() {
        let is_inside = |column: &ColumnChunkMetaData| {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let size = column.compressed_size();
            start >= 0 && size >= 0 && start.checked_add(size).is_some_and(|end| end as u64 <= length)
        };
        if group.num_rows() < 0 || !group.columns().iter().all(is_inside) {
            return Err("its footer speaks of pages that lie outside of it");
        }
    }
    Ok(())
}
