//! A data file of either format.

use std::path::Path;

use super::error::DataError;
use super::parquet::{ParquetFile, is_parquet};
use super::reader::{Dialect, RecordReader};

/// An open data file.
pub enum DataFile {
    Text(Box<RecordReader>),
    Parquet(ParquetFile),
}

impl DataFile {
    /// Opens a file: as Parquet where its name or its bytes say so, else as text of the dialect.
    ///
    /// # Errors
    /// Those of [`RecordReader::open`] and [`ParquetFile::open`].
    pub fn open(file: &Path, dialect: &Dialect) -> Result<Self, DataError> {
        match is_parquet(file) {
            true => ParquetFile::open(file).map(Self::Parquet),
            false => RecordReader::open(file, dialect).map(|reader| Self::Text(Box::new(reader))),
        }
    }

    pub fn columns(&self) -> &[String] {
        match self {
            Self::Text(reader) => reader.columns(),
            Self::Parquet(parquet) => parquet.columns(),
        }
    }
}
