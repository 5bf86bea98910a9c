//! Side tables: their columns join a row by a key, while the row is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use super::columns::{TextColumn, is_missing};
use super::error::DataError;
use super::reader::{Dialect, RecordReader, columns_of};
use super::source::cell;
use super::vocab::TextMap;
use crate::config::JoinConfig;

/// A side table as the schema keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// As the config has it, relative to the data directory.
    pub file: PathBuf,
    pub on: String,
    pub dialect: Dialect,
}

impl From<&JoinConfig> for Join {
    fn from(config: &JoinConfig) -> Self {
        let JoinConfig { file, on, delimiter, columns, missing } = config.clone();
        Self { file, on, dialect: Dialect { delimiter, columns, missing } }
    }
}

impl Join {
    /// The columns that the table adds to a row.
    pub fn added_columns(&self, data_dir: &Path) -> Result<Vec<String>, DataError> {
        let columns = columns_of(&data_dir.join(&self.file), &self.dialect)?;
        self.key_position(&data_dir.join(&self.file), &columns)?;
        Ok(columns.into_iter().filter(|column| *column != self.on).collect())
    }

    fn key_position(&self, file: &Path, columns: &[String]) -> Result<usize, DataError> {
        columns.iter().position(|column| *column == self.on).ok_or_else(|| {
            DataError::missing_column(file, &self.on, "data.join.on", columns.iter().map(String::as_str))
        })
    }
}

/// A side table in memory.
pub struct Side {
    pub file: PathBuf,
    pub on: String,
    pub missing: Vec<String>,
    /// All columns that the table adds to a row, whether read or not.
    pub added: Vec<String>,
    /// Of `added`, those that were read.
    pub columns: Vec<(String, TextColumn)>,
    rows: TextMap<Box<str>, u32>,
}

impl Side {
    /// Reads the key and those of the wanted columns that the table has.
    ///
    /// # Errors
    /// A key that stands twice, and what `RecordReader` refuses.
    pub fn load(join: &Join, data_dir: &Path, wanted: &BTreeSet<&str>) -> Result<Self, DataError> {
        let file = data_dir.join(&join.file);
        let mut reader = RecordReader::open(&file, &join.dialect)?;
        let header = reader.columns().to_vec();
        let key = join.key_position(&file, &header)?;
        let added: Vec<usize> = (0..header.len()).filter(|i| *i != key).collect();
        let read: Vec<usize> = added.iter().copied().filter(|i| wanted.contains(header[*i].as_str())).collect();
        let mut side = Self {
            missing: join.dialect.missing.clone(),
            on: join.on.clone(),
            added: added.iter().map(|i| header[*i].clone()).collect(),
            columns: read.iter().map(|i| (header[*i].clone(), TextColumn::default())).collect(),
            rows: TextMap::default(),
            file,
        };
        let (mut record, mut lines) = (ByteRecord::new(), Vec::new());
        while let Some(line) = reader.read(&mut record)? {
            side.push(&record, line, key, &read, &header, &mut lines)?;
        }
        if lines.is_empty() {
            return Err(DataError::HeaderOnly { file: side.file });
        }
        Ok(side)
    }

    fn push(
        &mut self,
        record: &ByteRecord,
        line: u64,
        key: usize,
        read: &[usize],
        header: &[String],
        lines: &mut Vec<u64>,
    ) -> Result<(), DataError> {
        let text = cell(record, key, &self.file, line, &header[key])?;
        if !is_missing(text, &self.missing)
            && let Some(first) = self.rows.insert(text.into(), lines.len() as u32)
        {
            let (column, value, first) = (header[key].clone(), text.to_owned(), lines[first as usize]);
            return Err(DataError::DuplicateKey { file: self.file.clone(), row: line, first, column, value });
        }
        for (position, (name, column)) in read.iter().zip(&mut self.columns) {
            column.push(Some(cell(record, *position, &self.file, line, name)?), &self.missing);
        }
        lines.push(line);
        Ok(())
    }

    /// The table's row of a key.
    pub fn row(&self, key: &str) -> Option<u32> {
        self.rows.get(key).copied()
    }
}
