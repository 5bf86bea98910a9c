//! Rows of files and of the generator, joined, filtered and appended to columns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::ByteRecord;

use super::bind::{Bound, Place};
use super::columns::{Columns, Need};
use super::error::{DataError, not_a_number};
use super::file::DataFile;
use super::groups;
use super::join::{Join, Side};
use super::reader::Dialect;
use super::records::Row;
use super::synthetic::Generator;
use crate::config::SyntheticConfig;

/// Where rows come from.
pub enum Source {
    File(PathBuf),
    Synthetic(SyntheticConfig),
}

impl Source {
    pub fn file(&self) -> PathBuf {
        match self {
            Self::File(file) => file.clone(),
            Self::Synthetic(_) => PathBuf::from("data.synthetic"),
        }
    }

    /// The names of the columns.
    pub fn columns(&self, dialect: &Dialect) -> Result<Vec<String>, DataError> {
        Ok(Rows::open(self, dialect)?.columns())
    }
}

enum Rows {
    File(DataFile),
    Synthetic(Box<Generator>),
}

impl Rows {
    fn open(source: &Source, dialect: &Dialect) -> Result<Self, DataError> {
        Ok(match source {
            Source::File(file) => Self::File(DataFile::open(file, dialect)?),
            Source::Synthetic(config) => Self::Synthetic(Box::new(Generator::new(config)?)),
        })
    }

    fn columns(&self) -> Vec<String> {
        match self {
            Self::File(file) => file.columns().to_vec(),
            Self::Synthetic(generator) => generator.columns(),
        }
    }
}

/// Which rows to read, and what to add to them.
pub struct Selection {
    pub(super) dialect: Dialect,
    pub(super) sides: Vec<Side>,
    /// Rows that found no row of each side table.
    misses: Vec<usize>,
    /// Rows kept.
    kept: usize,
    /// Column, and the texts that keep a row.
    pub(super) filter: Vec<(Need, BTreeSet<String>)>,
}

impl Selection {
    /// Loads the side tables that `columns` and the filter draw from.
    pub fn new(
        dialect: &Dialect,
        joins: &[Join],
        filter: &[(String, Vec<String>)],
        data_dir: &Path,
        columns: &Columns,
    ) -> Result<Self, DataError> {
        let mut wanted: BTreeSet<&str> = filter.iter().map(|(column, _)| column.as_str()).collect();
        wanted.extend(joins.iter().map(|join| join.on.as_str()));
        wanted.extend(columns.needs.texts.iter().chain(&columns.needs.numbers).map(|need| need.column.as_str()));
        let load = |join| Side::load(join, data_dir, &wanted, &columns.needs.lists);
        let sides = joins.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let filter = filter.iter().map(|(column, texts)| {
            (Need { column: column.clone(), used_by: "data.filter".to_owned() }, texts.iter().cloned().collect())
        });
        Ok(Self { dialect: dialect.clone(), misses: vec![0; sides.len()], kept: 0, filter: filter.collect(), sides })
    }

    /// Appends a source's rows.
    pub fn read(&mut self, source: &Source, columns: &mut Columns) -> Result<(), DataError> {
        self.read_rows(source, columns, usize::MAX, &mut |_| Ok(()))
    }

    /// Hands a source's rows to `each` as soon as there are `least` of them, and those left at the end: a text file's one
    /// by one, so that there are no more, and a Parquet file's by row group. `columns` is cleared before and behind each.
    pub fn read_parts(
        &mut self,
        source: &Source,
        columns: &mut Columns,
        least: usize,
        each: &mut dyn FnMut(&Columns) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        columns.clear();
        let mut hand_over = |columns: &mut Columns| {
            each(columns)?;
            columns.clear();
            Ok(())
        };
        self.read_rows(source, columns, least, &mut hand_over)?;
        if columns.rows() == 0 { Ok(()) } else { hand_over(columns) }
    }

    /// Appends rows; `full` empties columns that have `least`.
    fn read_rows(
        &mut self,
        source: &Source,
        columns: &mut Columns,
        least: usize,
        full: &mut dyn FnMut(&mut Columns) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (rows, file) = (Rows::open(source, &self.dialect)?, source.file());
        let bound = Bound::new(&file, &rows.columns(), self, columns)?;
        columns.files.push((file.clone(), columns.rows()));
        let (before, mut handed) = (columns.rows(), 0);
        let mut missed = vec![0; self.sides.len()];
        let mut appended = |columns: &mut Columns| {
            if columns.rows() >= least {
                handed += columns.rows();
                full(columns)?;
                columns.files.push((file.clone(), 0));
            }
            Ok(())
        };
        let any = match rows {
            Rows::File(DataFile::Text(mut reader)) => {
                let mut next = |record: &mut ByteRecord| reader.read(record);
                self.read_records(&file, &bound, columns, &mut missed, &mut next, &mut appended)?
            }
            Rows::Synthetic(mut generator) => {
                let mut next = |record: &mut ByteRecord| Ok(generator.read(record));
                self.read_records(&file, &bound, columns, &mut missed, &mut next, &mut appended)?
            }
            Rows::File(DataFile::Parquet(parquet)) => {
                groups::read(self, &parquet, &bound, columns, &mut missed, &mut appended)?
            }
        };
        if !any {
            return Err(DataError::HeaderOnly { file });
        }
        self.kept += handed + columns.rows() - before;
        self.misses.iter_mut().zip(missed).for_each(|(misses, missed)| *misses += missed);
        if u32::try_from(columns.rows()).is_err() {
            return Err(DataError::config("data", format!("{} rows are more than 2^32", columns.rows())));
        }
        Ok(())
    }

    /// Appends records one by one; whether there was any. Counts in `missed` the rows that found none of each side table.
    fn read_records(
        &self,
        file: &Path,
        bound: &Bound,
        columns: &mut Columns,
        missed: &mut [usize],
        next: &mut dyn FnMut(&mut ByteRecord) -> Result<Option<u64>, DataError>,
        appended: &mut dyn FnMut(&mut Columns) -> Result<(), DataError>,
    ) -> Result<bool, DataError> {
        let (mut record, mut any) = (ByteRecord::new(), false);
        let mut side_rows = vec![None; self.sides.len()];
        while let Some(line) = next(&mut record)? {
            any = true;
            let row = Row { record: &record, line, file, selection: self };
            if row.join_and_filter(bound, &mut side_rows)? {
                row.append(bound, &side_rows, columns)?;
                missed.iter_mut().zip(&side_rows).for_each(|(missed, row)| *missed += usize::from(row.is_none()));
                appended(columns)?;
            }
        }
        Ok(any)
    }

    /// The error of a text that is no finite number, in a row of a file.
    pub(super) fn number_error(&self, file: &Path, row: u64, need: &Need, value: &str, place: Place) -> DataError {
        let joined = match place {
            Place::Own(_) => String::new(),
            Place::Side { side, .. } => format!(" (joined from {})", self.sides[side].file.display()),
        };
        let (file, column, value) = (file.to_owned(), need.column.clone(), value.to_owned());
        DataError::Cell { file, row, column, value, must: not_a_number(&need.used_by, &joined) }
    }

    /// One line for each side table that lacked keys.
    pub fn notes(&self) -> Vec<String> {
        let lines = self.sides.iter().zip(&self.misses).filter(|(_, misses)| **misses > 0);
        lines
            .map(|(side, misses)| {
                format!(
                    "{}: no row for the {} of {misses} of {} rows; its columns count as missing there",
                    side.file.display(),
                    side.on,
                    self.kept
                )
            })
            .collect()
    }
}
