//! Side tables: their columns join a row by a key, while the row is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use super::bind::weights_of;
use super::columns::{ListColumn, ListNeed, TextColumn, is_missing};
use super::error::DataError;
use super::file::DataFile;
use super::parquet::ParquetFile;
use super::reader::{Dialect, RecordReader};
use super::records::cell;
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
        let file = data_dir.join(&self.file);
        let opened = DataFile::open(&file, &self.dialect)?;
        self.key_position(&file, opened.columns())?;
        Ok(opened.columns().iter().filter(|column| **column != self.on).cloned().collect())
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
    /// Of `added`, those that were read as texts; numbers are read from them, too.
    pub texts: Vec<(String, TextColumn)>,
    /// Of `added`, those that were read as lists.
    pub lists: Vec<(String, ListColumn)>,
    rows: TextMap<Box<str>, u32>,
}

/// Which columns of a side table's file are read.
struct Read<'a> {
    key: usize,
    texts: Vec<usize>,
    /// Each with the column of its weights, if they have one.
    lists: Vec<(usize, Option<usize>, &'a ListNeed)>,
}

impl Side {
    /// Reads the key and those of the wanted columns that the table has.
    ///
    /// # Errors
    /// A key that stands twice, and what [`DataFile`] refuses.
    pub fn load(join: &Join, data_dir: &Path, wanted: &BTreeSet<&str>, lists: &[ListNeed]) -> Result<Self, DataError> {
        let file = data_dir.join(&join.file);
        let opened = DataFile::open(&file, &join.dialect)?;
        let header = opened.columns().to_vec();
        let key = join.key_position(&file, &header)?;
        let added: Vec<usize> = (0..header.len()).filter(|i| *i != key).collect();
        let texts = added.iter().copied().filter(|i| wanted.contains(header[*i].as_str())).collect();
        let mut read = Read { key, texts, lists: Vec::new() };
        for i in added.iter().copied() {
            if let Some(list) = lists.iter().find(|list| list.need.column == header[i]) {
                read.lists.push((i, weights_of(&file, &header, list)?, list));
            }
        }
        let mut side = Self {
            missing: join.dialect.missing.clone(),
            on: join.on.clone(),
            added: added.iter().map(|i| header[*i].clone()).collect(),
            texts: read.texts.iter().map(|i| (header[*i].clone(), TextColumn::default())).collect(),
            lists: read.lists.iter().map(|(i, _, list)| (header[*i].clone(), ListColumn::new(&list.items))).collect(),
            rows: TextMap::default(),
            file,
        };
        let rows = match opened {
            DataFile::Text(reader) => side.read_records(*reader, &read)?,
            DataFile::Parquet(parquet) => side.read_groups(&parquet, &read)?,
        };
        if rows == 0 {
            return Err(DataError::HeaderOnly { file: side.file });
        }
        Ok(side)
    }

    /// Reads all rows, and says how many there were.
    fn read_records(&mut self, mut reader: RecordReader, read: &Read) -> Result<usize, DataError> {
        let (mut record, mut lines) = (ByteRecord::new(), Vec::new());
        while let Some(line) = reader.read(&mut record)? {
            let text = |i: usize, name: &str| cell(&record, i, reader.file(), line, name);
            let key = text(read.key, &self.on)?;
            lines.push(line);
            self.add_key((!is_missing(key, &self.missing)).then_some(key), lines.len() - 1, |row| lines[row])?;
            for (i, (name, column)) in read.texts.iter().zip(&mut self.texts) {
                column.push(Some(text(*i, name)?), &self.missing);
            }
            for ((i, weights, list), (name, column)) in read.lists.iter().zip(&mut self.lists) {
                let weights = weights.map(|i| text(i, list.items.weights_column().unwrap_or(name))).transpose()?;
                column.push(&list.list(text(*i, name)?, weights, &self.missing, (reader.file(), line))?);
            }
        }
        Ok(lines.len())
    }

    /// Reads all row groups, and says how many rows there were.
    fn read_groups(&mut self, parquet: &ParquetFile, read: &Read) -> Result<usize, DataError> {
        let mut rows = 0;
        for group in 0..parquet.groups() {
            let all = || (0..parquet.rows(group) as u32).map(Some);
            let keys = parquet.texts(group, read.key, "data.join.on", &self.missing)?;
            let values: Vec<Option<&str>> = keys.values().collect();
            for symbol in &keys.symbols {
                self.add_key(values[*symbol as usize], rows, |row| row as u64 + 1)?;
                rows += 1;
            }
            let used_by = format!("the join with {}", self.file.display());
            for (i, (_, column)) in read.texts.iter().zip(&mut self.texts) {
                column.extend(&parquet.texts(group, *i, &used_by, &self.missing)?, all());
            }
            for ((i, weights, list), (_, column)) in read.lists.iter().zip(&mut self.lists) {
                column.extend(&parquet.lists(group, *i, *weights, list, &self.missing)?, all());
            }
        }
        Ok(rows)
    }

    /// Notes where a key's row is; `number` gives a row's number in the file.
    fn add_key(&mut self, key: Option<&str>, row: usize, number: impl Fn(usize) -> u64) -> Result<(), DataError> {
        if let Some(key) = key
            && let Some(first) = self.rows.insert(key.into(), row as u32)
        {
            let (file, column, value) = (self.file.clone(), self.on.clone(), key.to_owned());
            return Err(DataError::DuplicateKey {
                file,
                row: number(row),
                first: number(first as usize),
                column,
                value,
            });
        }
        Ok(())
    }

    /// The table's row of a key.
    pub fn row(&self, key: &str) -> Option<u32> {
        self.rows.get(key).copied()
    }

    /// A row's text in one of `texts`; `None` where there is none.
    pub fn text(&self, column: usize, row: u32) -> Option<&str> {
        self.texts[column].1.cell(row as usize)
    }
}
