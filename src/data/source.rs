//! Rows of files and of the generator, joined, filtered and appended to columns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::ByteRecord;

use super::columns::{Columns, Need, TextColumn, is_missing};
use super::error::DataError;
use super::join::{Join, Side};
use super::reader::{Dialect, RecordReader, trim};
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
    File(Box<RecordReader>),
    Synthetic(Box<Generator>),
}

impl Rows {
    fn open(source: &Source, dialect: &Dialect) -> Result<Self, DataError> {
        Ok(match source {
            Source::File(file) => Self::File(Box::new(RecordReader::open(file, dialect)?)),
            Source::Synthetic(config) => Self::Synthetic(Box::new(Generator::new(config)?)),
        })
    }

    fn columns(&self) -> Vec<String> {
        match self {
            Self::File(reader) => reader.columns().to_vec(),
            Self::Synthetic(generator) => generator.columns(),
        }
    }

    fn read(&mut self, record: &mut ByteRecord) -> Result<Option<u64>, DataError> {
        match self {
            Self::File(reader) => reader.read(record),
            Self::Synthetic(generator) => Ok(generator.read(record)),
        }
    }
}

/// A record's cell as trimmed text.
pub fn cell<'a>(
    record: &'a ByteRecord,
    position: usize,
    file: &Path,
    row: u64,
    column: &str,
) -> Result<&'a str, DataError> {
    std::str::from_utf8(&record[position]).map(trim).map_err(|_| DataError::Utf8 {
        file: file.to_owned(),
        row,
        column: column.to_owned(),
        value: String::from_utf8_lossy(&record[position]).into_owned(),
    })
}

/// Which rows to read, and what to add to them.
pub struct Selection {
    dialect: Dialect,
    sides: Vec<Side>,
    /// Rows that found no row of each side table.
    misses: Vec<usize>,
    /// Rows kept.
    kept: usize,
    /// Column, and the texts that keep a row.
    filter: Vec<(Need, BTreeSet<String>)>,
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
        let sides = joins.iter().map(|join| Side::load(join, data_dir, &wanted)).collect::<Result<Vec<_>, _>>()?;
        let filter = filter.iter().map(|(column, texts)| {
            (Need { column: column.clone(), used_by: "data.filter".to_owned() }, texts.iter().cloned().collect())
        });
        Ok(Self { dialect: dialect.clone(), misses: vec![0; sides.len()], kept: 0, filter: filter.collect(), sides })
    }

    /// Appends a source's rows.
    pub fn read(&mut self, source: &Source, columns: &mut Columns) -> Result<(), DataError> {
        self.read_rows(source, columns, usize::MAX, &mut |_| Ok(()))
    }

    /// Hands a source's rows to `each`, up to `most` of them at a time. `columns` is cleared before and behind each.
    pub fn read_parts(
        &mut self,
        source: &Source,
        columns: &mut Columns,
        most: usize,
        each: &mut dyn FnMut(&Columns) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        columns.clear();
        let mut hand_over = |columns: &mut Columns| {
            each(columns)?;
            columns.clear();
            Ok(())
        };
        self.read_rows(source, columns, most, &mut hand_over)?;
        if columns.rows() == 0 { Ok(()) } else { hand_over(columns) }
    }

    /// Appends rows; `full` empties columns that have `most`.
    fn read_rows(
        &mut self,
        source: &Source,
        columns: &mut Columns,
        most: usize,
        full: &mut dyn FnMut(&mut Columns) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (mut rows, file) = (Rows::open(source, &self.dialect)?, source.file());
        let bound = Bound::new(&file, &rows.columns(), self, columns)?;
        columns.files.push((file.clone(), columns.rows()));
        let mut record = ByteRecord::new();
        let mut side_rows = vec![None; self.sides.len()];
        let (mut any, mut kept, mut missed) = (false, 0, vec![0; self.sides.len()]);
        while let Some(line) = rows.read(&mut record)? {
            any = true;
            let row = Row { record: &record, line, file: &file, selection: self };
            if row.join_and_filter(&bound, &mut side_rows)? {
                row.append(&bound, &side_rows, columns)?;
                kept += 1;
                missed.iter_mut().zip(&side_rows).for_each(|(missed, row)| *missed += usize::from(row.is_none()));
                if columns.rows() == most {
                    full(columns)?;
                    columns.files.push((file.clone(), 0));
                }
            }
        }
        if !any {
            return Err(DataError::HeaderOnly { file });
        }
        self.kept += kept;
        self.misses.iter_mut().zip(missed).for_each(|(misses, missed)| *misses += missed);
        if u32::try_from(columns.rows()).is_err() {
            return Err(DataError::config("data", format!("{} rows are more than 2^32", columns.rows())));
        }
        Ok(())
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

/// Where a column's cells lie.
#[derive(Clone, Copy)]
enum Place {
    Own(usize),
    Side { side: usize, column: usize },
}

/// The places of all columns that are read, for one source.
struct Bound<'a> {
    keys: Vec<Place>,
    filter: Vec<(Place, &'a Need, &'a BTreeSet<String>)>,
    texts: Vec<Place>,
    numbers: Vec<Place>,
}

impl<'a> Bound<'a> {
    fn new(file: &Path, own: &[String], selection: &'a Selection, columns: &Columns) -> Result<Self, DataError> {
        let sides = &selection.sides;
        refuse_clashes(file, own, sides)?;
        let find = |need: &Need, sides: &[Side]| place(file, own, sides, need);
        let keys = sides
            .iter()
            .enumerate()
            .map(|(i, side)| find(&Need { column: side.on.clone(), used_by: "data.join.on".to_owned() }, &sides[..i]));
        let filter = selection.filter.iter().map(|(need, texts)| Ok((find(need, sides)?, need, texts)));
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
            filter: filter.collect::<Result<_, DataError>>()?,
            texts: columns.needs.texts.iter().map(|need| find(need, sides)).collect::<Result<_, _>>()?,
            numbers: columns.needs.numbers.iter().map(|need| find(need, sides)).collect::<Result<_, _>>()?,
        })
    }
}

fn place(file: &Path, own: &[String], sides: &[Side], need: &Need) -> Result<Place, DataError> {
    if let Some(position) = own.iter().position(|name| *name == need.column) {
        return Ok(Place::Own(position));
    }
    for (side, table) in sides.iter().enumerate() {
        if let Some(column) = table.columns.iter().position(|(name, _)| *name == need.column) {
            return Ok(Place::Side { side, column });
        }
    }
    let known = own.iter().chain(sides.iter().flat_map(|side| &side.added));
    Err(DataError::missing_column(file, &need.column, &need.used_by, known.map(String::as_str)))
}

fn refuse_clashes(file: &Path, own: &[String], sides: &[Side]) -> Result<(), DataError> {
    let mut seen: Vec<(&Path, &[String])> = vec![(file, own)];
    for side in sides {
        for (first, names) in &seen {
            if let Some(column) = side.added.iter().find(|column| names.contains(column)) {
                let (first, column) = (first.to_path_buf(), column.clone());
                return Err(DataError::JoinClash { first, second: side.file.clone(), column });
            }
        }
        seen.push((&side.file, &side.added));
    }
    Ok(())
}

/// A record on its way into columns.
struct Row<'a> {
    record: &'a ByteRecord,
    line: u64,
    file: &'a Path,
    selection: &'a Selection,
}

impl<'a> Row<'a> {
    /// Finds the side tables' rows, and says whether the filter keeps the row.
    fn join_and_filter(&self, bound: &Bound, side_rows: &mut [Option<u32>]) -> Result<bool, DataError> {
        for (i, side) in self.selection.sides.iter().enumerate() {
            let (key, missing) = self.cell(bound.keys[i], &side.on, side_rows)?;
            side_rows[i] = key.filter(|key| !is_missing(key, missing)).and_then(|key| side.row(key));
        }
        for (place, need, texts) in &bound.filter {
            let (text, _) = self.cell(*place, &need.column, side_rows)?;
            if !texts.contains(text.unwrap_or_default()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn append(&self, bound: &Bound, side_rows: &[Option<u32>], columns: &mut Columns) -> Result<(), DataError> {
        let Columns { needs, texts, numbers, lines, .. } = columns;
        for ((place, need), column) in bound.texts.iter().zip(&needs.texts).zip(texts) {
            let (text, missing) = self.cell(*place, &need.column, side_rows)?;
            column.push(text, missing);
        }
        for ((place, need), column) in bound.numbers.iter().zip(&needs.numbers).zip(numbers) {
            let (text, missing) = self.cell(*place, &need.column, side_rows)?;
            column.push(self.number(text, missing, need, *place)?);
        }
        lines.push(self.line);
        Ok(())
    }

    /// A cell's text, `None` where a join found no row, and the texts that stand for missing in it.
    fn cell(
        &self,
        place: Place,
        name: &str,
        side_rows: &[Option<u32>],
    ) -> Result<(Option<&'a str>, &'a [String]), DataError> {
        match place {
            Place::Own(position) => {
                let text = cell(self.record, position, self.file, self.line, name)?;
                Ok((Some(text), &self.selection.dialect.missing))
            }
            Place::Side { side, column } => {
                let table: &'a Side = &self.selection.sides[side];
                let column: &'a TextColumn = &table.columns[column].1;
                Ok((side_rows[side].map(|row| column.text(row as usize)), &table.missing))
            }
        }
    }

    fn number(&self, text: Option<&str>, missing: &[String], need: &Need, place: Place) -> Result<f64, DataError> {
        let Some(text) = text.filter(|text| !is_missing(text, missing)) else { return Ok(f64::NAN) };
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => {
                let joined = match place {
                    Place::Own(_) => String::new(),
                    Place::Side { side, .. } => format!(" (joined from {})", self.selection.sides[side].file.display()),
                };
                Err(DataError::Cell {
                    file: self.file.to_owned(),
                    row: self.line,
                    column: need.column.clone(),
                    value: text.to_owned(),
                    must: format!(
                        "is not a finite number{joined}, which {} needs; list it in `missing` if it stands for a missing value",
                        need.used_by
                    ),
                })
            }
        }
    }
}
