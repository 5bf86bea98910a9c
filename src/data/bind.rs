//! Which column of a file, or of a side table, each wanted column is.

use std::collections::BTreeSet;
use std::path::Path;

use super::columns::{Columns, ListNeed, Need};
use super::error::DataError;
use super::items;
use super::join::Side;
use super::source::Selection;

/// Where a column's cells lie.
#[derive(Clone, Copy)]
pub enum Place {
    /// A column of the file.
    Own(usize),
    /// One of a side table's texts; of its lists, where a list is wanted.
    Side { side: usize, column: usize },
}

/// The places of all columns that are read, for one source.
pub struct Bound<'a> {
    /// Of the key of each side table.
    pub keys: Vec<Place>,
    pub filter: Vec<(Place, &'a Need, &'a BTreeSet<String>)>,
    pub texts: Vec<Place>,
    pub numbers: Vec<Place>,
    pub lists: Vec<Place>,
    /// Of each list of the file itself, the column of the file that its weights are in, if they have one.
    pub weights: Vec<Option<usize>>,
}

impl<'a> Bound<'a> {
    pub fn new(file: &Path, own: &[String], selection: &'a Selection, columns: &Columns) -> Result<Self, DataError> {
        let sides = &selection.sides;
        refuse_clashes(file, own, sides)?;
        let find = |need: &Need, sides: &[Side]| place(file, own, sides, need, |side| names(&side.texts));
        let list = |need: &Need| place(file, own, sides, need, |side| names(&side.lists));
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
            lists: columns.needs.lists.iter().map(|need| list(&need.need)).collect::<Result<_, _>>()?,
            weights: columns.needs.lists.iter().map(|need| weights_of(file, own, need)).collect::<Result<_, _>>()?,
        })
    }
}

/// `read_of` gives the columns of a side table that were read in the role that is wanted.
fn place<'a>(
    file: &Path,
    own: &[String],
    sides: &'a [Side],
    need: &Need,
    read_of: impl Fn(&'a Side) -> Vec<&'a str>,
) -> Result<Place, DataError> {
    if let Some(position) = own.iter().position(|name| *name == need.column) {
        return Ok(Place::Own(position));
    }
    for (side, table) in sides.iter().enumerate() {
        if let Some(column) = read_of(table).iter().position(|name| *name == need.column) {
            return Ok(Place::Side { side, column });
        }
    }
    let known = own.iter().chain(sides.iter().flat_map(|side| &side.added));
    Err(DataError::missing_column(file, &need.column, &need.used_by, known.map(String::as_str)))
}

/// The column that a list's weights are in, in the file that has the list; `None` where there is none, or the file has
/// not the list.
pub fn weights_of(file: &Path, own: &[String], list: &ListNeed) -> Result<Option<usize>, DataError> {
    let Some(weights) = list.items.weights_column().filter(|_| own.contains(&list.need.column)) else {
        return Ok(None);
    };
    let position = own.iter().position(|name| name == weights);
    let missing = || {
        let used_by = items::weights_user(&list.need.used_by);
        DataError::missing_column(file, weights, &used_by, own.iter().map(String::as_str))
    };
    position.map(Some).ok_or_else(missing)
}

fn names<T>(columns: &[(String, T)]) -> Vec<&str> {
    columns.iter().map(|(name, _)| name.as_str()).collect()
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
