//! Records of text on their way into columns: joined, filtered and appended one by one.

use std::path::Path;

use csv::ByteRecord;

use super::bind::{Bound, Place};
use super::columns::{Columns, ListColumn, ListNeed, Need, finite, is_missing};
use super::error::DataError;
use super::items::List;
use super::join::Side;
use super::reader::trim;
use super::source::Selection;

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

/// A record on its way into columns.
pub struct Row<'a> {
    pub record: &'a ByteRecord,
    pub line: u64,
    pub file: &'a Path,
    pub selection: &'a Selection,
}

impl<'a> Row<'a> {
    /// Finds the side tables' rows, and says whether the filter keeps the row.
    pub fn join_and_filter(&self, bound: &Bound, side_rows: &mut [Option<u32>]) -> Result<bool, DataError> {
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

    pub fn append(&self, bound: &Bound, side_rows: &[Option<u32>], columns: &mut Columns) -> Result<(), DataError> {
        let Columns { needs, texts, numbers, lists, lines: out, .. } = columns;
        for ((place, need), column) in bound.texts.iter().zip(&needs.texts).zip(texts) {
            let (text, missing) = self.cell(*place, &need.column, side_rows)?;
            column.push(text, missing);
        }
        for ((place, need), column) in bound.numbers.iter().zip(&needs.numbers).zip(numbers) {
            let (text, missing) = self.cell(*place, &need.column, side_rows)?;
            column.push(self.number(text, missing, need, *place)?);
        }
        for (i, column) in lists.iter_mut().enumerate() {
            match bound.lists[i] {
                Place::Own(_) => self.append_list(bound, i, &needs.lists[i], column)?,
                Place::Side { side, column: of } => {
                    let from = &self.selection.sides[side].lists[of].1;
                    column.push(&side_rows[side].map_or_else(List::default, |row| from.list(row as usize)));
                }
            }
        }
        out.push(self.line);
        Ok(())
    }

    /// Appends the record's own list number `i`.
    fn append_list(&self, bound: &Bound, i: usize, need: &ListNeed, column: &mut ListColumn) -> Result<(), DataError> {
        let own = |place, name: &str| Ok::<_, DataError>(self.cell(place, name, &[])?.0.unwrap_or_default());
        let text = own(bound.lists[i], &need.need.column)?;
        let weights = match (bound.weights[i], need.items.weights_column()) {
            (Some(position), Some(name)) => Some(own(Place::Own(position), name)?),
            _ => None,
        };
        let missing = &self.selection.dialect.missing;
        column.push(&need.list(text, weights, missing, (self.file, self.line))?);
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
                Ok((side_rows[side].and_then(|row| table.text(column, row)), &table.missing))
            }
        }
    }

    fn number(&self, text: Option<&str>, missing: &[String], need: &Need, place: Place) -> Result<f64, DataError> {
        let Some(text) = text.filter(|text| !is_missing(text, missing)) else { return Ok(f64::NAN) };
        finite(text).ok_or_else(|| self.selection.number_error(self.file, self.line, need, text, place))
    }
}
