//! Rows of a Parquet file: row groups are decoded in parallel, joined and filtered, and appended in their order.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::bind::{Bound, Place};
use super::columns::{Cell, Columns, ListColumn, Need, TextColumn, finite};
use super::error::DataError;
use super::parquet::ParquetFile;
use super::source::Selection;

/// Appends a file's rows; whether there was any. Counts in `missed` the rows that found none of each side table. `appended`
/// is told of each row group.
pub fn read(
    selection: &Selection,
    parquet: &ParquetFile,
    bound: &Bound,
    columns: &mut Columns,
    missed: &mut [usize],
    appended: &mut dyn FnMut(&mut Columns) -> Result<(), DataError>,
) -> Result<bool, DataError> {
    let groups: Vec<usize> = (0..parquet.groups()).collect();
    // As many at once as there are threads, so that memory does not grow with the file.
    for some in groups.chunks(rayon::current_num_threads()) {
        let read = |group: &usize| Group::read(selection, parquet, bound, columns, *group);
        // The first error in the order of the file, whichever thread was first.
        let read: Vec<Result<Group, DataError>> = some.par_iter().map(read).collect();
        for group in read {
            group?.append(selection, &parquet.file, bound, columns, missed)?;
            appended(columns)?;
        }
    }
    Ok(groups.iter().any(|group| parquet.rows(*group) > 0))
}

/// The decoded columns of a row group, and which of its rows are kept.
struct Group {
    /// Its first row's number in the file.
    first_row: u64,
    /// The file's columns that are read, by position, in each role.
    texts: BTreeMap<usize, TextColumn>,
    numbers: BTreeMap<usize, Vec<f64>>,
    lists: BTreeMap<usize, ListColumn>,
    /// The rows that the filter keeps, each `Some`.
    kept: Vec<Option<u32>>,
    /// For each side table, the row of it that each kept row found.
    side_rows: Vec<Vec<Option<u32>>>,
}

impl Group {
    fn read(
        selection: &Selection,
        parquet: &ParquetFile,
        bound: &Bound,
        columns: &Columns,
        group: usize,
    ) -> Result<Self, DataError> {
        let (missing, needs) = (&selection.dialect.missing, &columns.needs);
        let keys = bound.keys.iter().map(|place| (place, "data.join.on"));
        let filter = bound.filter.iter().map(|(place, need, _)| (place, need.used_by.as_str()));
        let texts = bound.texts.iter().zip(needs.texts.iter().map(|need| need.used_by.as_str()));
        let texts = own(keys.chain(filter).chain(texts));
        let numbers = own(bound.numbers.iter().zip(&needs.numbers));
        let lists = own(bound.lists.iter().zip(needs.lists.iter().zip(bound.weights.iter().copied())));
        let (texts, (numbers, lists)) = rayon::join(
            || decoded(texts, |column, used_by| parquet.texts(group, column, used_by, missing)),
            || {
                rayon::join(
                    || decoded(numbers, |column, need| parquet.numbers(group, column, need, missing)),
                    || decoded(lists, |column, (need, weights)| parquet.lists(group, column, weights, need, missing)),
                )
            },
        );
        let (texts, numbers, lists) = (texts?, numbers?, lists?);
        let kept = (0..parquet.rows(group) as u32).map(Some).collect();
        let mut read = Self { first_row: parquet.first_row(group), texts, numbers, lists, kept, side_rows: Vec::new() };
        read.join(selection, bound);
        read.filter(selection, bound);
        Ok(read)
    }

    /// A text column, with the row of it for each kept row.
    fn text<'a>(&'a self, selection: &'a Selection, place: Place) -> (&'a TextColumn, &'a [Option<u32>]) {
        match place {
            Place::Own(column) => (&self.texts[&column], &self.kept),
            Place::Side { side, column } => (&selection.sides[side].texts[column].1, &self.side_rows[side]),
        }
    }

    /// Finds the side tables' rows.
    fn join(&mut self, selection: &Selection, bound: &Bound) {
        for (side, key) in selection.sides.iter().zip(&bound.keys) {
            let (column, rows) = self.text(selection, *key);
            let found = column.map(rows, |key| key.and_then(|key| side.row(key.value()?)));
            self.side_rows.push(found);
        }
    }

    /// Leaves out the rows that the filter does not keep.
    fn filter(&mut self, selection: &Selection, bound: &Bound) {
        for (place, _, keep) in &bound.filter {
            let (column, rows) = self.text(selection, *place);
            let keeps = column.map(rows, |cell| keep.contains(cell.map_or("", |cell| cell.text)));
            for rows in std::iter::once(&mut self.kept).chain(&mut self.side_rows) {
                let mut keeps = keeps.iter();
                rows.retain(|_| keeps.next() == Some(&true));
            }
        }
    }

    fn append(
        &self,
        selection: &Selection,
        file: &Path,
        bound: &Bound,
        columns: &mut Columns,
        missed: &mut [usize],
    ) -> Result<(), DataError> {
        for (missed, rows) in missed.iter_mut().zip(&self.side_rows) {
            *missed += rows.iter().filter(|row| row.is_none()).count();
        }
        let Columns { needs, texts, numbers, lists, lines, .. } = columns;
        texts.par_iter_mut().zip(&bound.texts).for_each(|(column, place)| {
            let (from, rows) = self.text(selection, *place);
            column.extend(from, rows.iter().copied());
        });
        lists.par_iter_mut().zip(&bound.lists).for_each(|(column, place)| {
            let (from, rows) = match *place {
                Place::Own(column) => (&self.lists[&column], &self.kept),
                Place::Side { side, column } => (&selection.sides[side].lists[column].1, &self.side_rows[side]),
            };
            column.extend(from, rows.iter().copied());
        });
        for ((column, place), need) in numbers.iter_mut().zip(&bound.numbers).zip(&needs.numbers) {
            match *place {
                Place::Own(of) => column.extend(self.kept.iter().flatten().map(|row| self.numbers[&of][*row as usize])),
                Place::Side { .. } => self.append_joined(selection, file, *place, need, column)?,
            }
        }
        lines.extend(self.kept.iter().flatten().map(|row| self.first_row + u64::from(*row)));
        Ok(())
    }

    /// Appends the numbers that the texts of a side table are.
    fn append_joined(
        &self,
        selection: &Selection,
        file: &Path,
        place: Place,
        need: &Need,
        column: &mut Vec<f64>,
    ) -> Result<(), DataError> {
        let (from, rows) = self.text(selection, place);
        let number = |cell: Option<Cell>| cell.and_then(|cell| cell.value()).map_or(Some(f64::NAN), finite);
        for ((number, row), kept) in from.map(rows, number).into_iter().zip(rows).zip(&self.kept) {
            let (Some(row), Some(kept)) = (row, kept) else {
                column.push(f64::NAN);
                continue;
            };
            column.push(number.ok_or_else(|| {
                let line = self.first_row + u64::from(*kept);
                selection.number_error(file, line, need, from.text(*row as usize), place)
            })?);
        }
        Ok(())
    }
}

/// The columns of the file itself, each once, with the first that needs it.
fn own<'a, N>(places: impl Iterator<Item = (&'a Place, N)>) -> BTreeMap<usize, N> {
    let mut own = BTreeMap::new();
    for (place, need) in places {
        if let Place::Own(column) = place {
            own.entry(*column).or_insert(need);
        }
    }
    own
}

/// Each column decoded; of several errors, that of the first column.
fn decoded<N: Copy + Send + Sync, C: Send>(
    columns: BTreeMap<usize, N>,
    decode: impl Fn(usize, N) -> Result<C, DataError> + Sync,
) -> Result<BTreeMap<usize, C>, DataError> {
    let decoded: Vec<_> = columns.par_iter().map(|(column, need)| Ok((*column, decode(*column, *need)?))).collect();
    decoded.into_iter().collect()
}
