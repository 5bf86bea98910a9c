//! The columns that a run needs, read once: texts as symbols, numbers as f64, lists as runs of symbols.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DataError;
use super::items::{Items, List};
use super::vocab::TextMap;

/// The symbol of a cell that is not there, because a join found no row.
const ABSENT: u32 = 0;

/// Distinct texts, each stored once and named by a symbol, in order of first appearance.
#[derive(Default)]
pub struct Texts {
    texts: Vec<Arc<str>>,
    lookup: TextMap<Arc<str>, u32>,
}

impl Texts {
    /// The symbol of a text, which is added if it is new.
    pub fn symbol(&mut self, text: &str) -> u32 {
        self.known(text).unwrap_or_else(|| self.add(text.into()))
    }

    fn known(&self, text: &str) -> Option<u32> {
        self.lookup.get(text).copied()
    }

    fn add(&mut self, text: Arc<str>) -> u32 {
        let symbol = self.texts.len() as u32;
        self.texts.push(Arc::clone(&text));
        self.lookup.insert(text, symbol);
        symbol
    }

    pub fn text(&self, symbol: u32) -> &str {
        &self.texts[symbol as usize]
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Symbols here of symbols of another, found as they are asked for.
    fn of_other<'a>(&'a mut self, other: &'a Texts) -> impl FnMut(u32) -> u32 + 'a {
        let mut found: Vec<Option<u32>> = vec![None; other.len()];
        move |symbol| {
            *found[symbol as usize].get_or_insert_with(|| {
                let text = &other.texts[symbol as usize];
                self.known(text).unwrap_or_else(|| self.add(Arc::clone(text)))
            })
        }
    }
}

/// A text, and whether it stands for a missing value.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    pub text: &'a str,
    pub missing: bool,
}

impl<'a> Cell<'a> {
    /// The text, if it is not missing.
    pub fn value(self) -> Option<&'a str> {
        (!self.missing).then_some(self.text)
    }
}

/// A column of texts.
pub struct TextColumn {
    texts: Texts,
    /// Whether each text stands for a missing value.
    missing: Vec<bool>,
    /// One symbol a row.
    pub symbols: Vec<u32>,
}

impl Default for TextColumn {
    fn default() -> Self {
        let absent = Texts { texts: vec!["".into()], lookup: TextMap::default() };
        Self { texts: absent, missing: vec![true], symbols: Vec::new() }
    }
}

impl TextColumn {
    /// Appends a row's text; `None` is a cell that is not there. `missing` lists the texts that stand for a missing value.
    pub fn push(&mut self, text: Option<&str>, missing: &[String]) {
        let symbol = text.map_or(ABSENT, |text| self.symbol(text, missing));
        self.symbols.push(symbol);
    }

    fn symbol(&mut self, text: &str, missing: &[String]) -> u32 {
        // Neighbouring rows often agree, and comparing is quicker than hashing.
        if let Some(last) = self.symbols.last().filter(|last| **last != ABSENT)
            && self.texts.text(*last) == text
        {
            return *last;
        }
        let symbol = self.texts.symbol(text);
        if symbol as usize == self.missing.len() {
            self.missing.push(is_missing(text, missing));
        }
        symbol
    }

    /// Appends cells of another column, by their rows there; `None` is a cell that is not there.
    pub fn extend(&mut self, from: &Self, rows: impl Iterator<Item = Option<u32>>) {
        let Self { texts, missing, symbols } = self;
        let mut symbol_of = texts.of_other(&from.texts);
        symbols.extend(rows.map(|row| {
            let symbol = row.map_or(ABSENT, |row| from.symbols[row as usize]);
            if symbol == ABSENT {
                return ABSENT;
            }
            let own = symbol_of(symbol);
            if own as usize == missing.len() {
                missing.push(from.missing[symbol as usize]);
            }
            own
        }));
    }

    /// The text of a row; `None` where there is no cell.
    pub fn cell(&self, row: usize) -> Option<&str> {
        let symbol = self.symbols[row];
        (symbol != ABSENT).then(|| self.texts.text(symbol))
    }

    /// The text of a row as the file has it.
    pub fn text(&self, row: usize) -> &str {
        self.texts.text(self.symbols[row])
    }

    /// The text of each symbol, `None` where it stands for a missing value.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.texts.texts.iter().zip(&self.missing).map(|(text, missing)| (!missing).then_some(&**text))
    }

    /// A function of each row's cell, worked out once for each text; `None` is a cell that is not there.
    pub fn map<T: Copy>(&self, rows: &[Option<u32>], of: impl Fn(Option<Cell>) -> T) -> Vec<T> {
        let mut known: Vec<Option<T>> = vec![None; self.texts.len()];
        let of_symbol = |symbol: u32| {
            let cell = Cell { text: self.texts.text(symbol), missing: self.missing[symbol as usize] };
            of((symbol != ABSENT).then_some(cell))
        };
        let of_row = |row: &Option<u32>| {
            let symbol = row.map_or(ABSENT, |row| self.symbols[row as usize]);
            *known[symbol as usize].get_or_insert_with(|| of_symbol(symbol))
        };
        rows.iter().map(of_row).collect()
    }

    /// How many of `rows` hold each symbol.
    pub fn counts(&self, rows: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.texts.len()];
        for row in rows {
            counts[self.symbols[*row as usize] as usize] += 1;
        }
        counts
    }
}

/// A column of lists of texts. A cell that is missing or not there is an empty list.
pub struct ListColumn {
    items: Texts,
    /// Row r holds `symbols[starts[r]..starts[r + 1]]`.
    starts: Vec<usize>,
    symbols: Vec<u32>,
    /// Of each item; `None` where the feature has no weights.
    weights: Option<Vec<f32>>,
    /// Of each row, all its items, those that were cut among them.
    lengths: Vec<u32>,
}

impl ListColumn {
    pub fn new(items: &Items) -> Self {
        let weights = items.weights.is_some().then(Vec::new);
        Self { items: Texts::default(), starts: vec![0], symbols: Vec::new(), weights, lengths: Vec::new() }
    }

    /// Appends a row.
    pub fn push(&mut self, list: &List<&str>) {
        for (item, weight) in &list.items {
            let symbol = self.items.symbol(item);
            self.push_item(symbol, *weight);
        }
        self.end_row(list.length);
    }

    /// The symbol of an item, for [`ListColumn::push_item`].
    pub fn symbol(&mut self, item: &str) -> u32 {
        self.items.symbol(item)
    }

    /// Appends an item to the row that [`ListColumn::end_row`] ends.
    pub fn push_item(&mut self, symbol: u32, weight: f64) {
        self.symbols.push(symbol);
        if let Some(weights) = &mut self.weights {
            weights.push(weight as f32);
        }
    }

    /// `length` counts all items of the row, those that were cut among them.
    pub fn end_row(&mut self, length: usize) {
        self.lengths.push(length as u32);
        self.starts.push(self.symbols.len());
    }

    /// Appends rows of another column; `None` is an empty list.
    pub fn extend(&mut self, from: &Self, rows: impl Iterator<Item = Option<u32>>) {
        let mut symbol_of = self.items.of_other(&from.items);
        for row in rows {
            let range = row.map_or(0..0, |row| from.range(row as usize));
            self.symbols.extend(from.symbols[range.clone()].iter().map(|symbol| symbol_of(*symbol)));
            if let (Some(weights), Some(of)) = (&mut self.weights, &from.weights) {
                weights.extend_from_slice(&of[range]);
            }
            self.lengths.push(row.map_or(0, |row| from.lengths[row as usize]));
            self.starts.push(self.symbols.len());
        }
    }

    fn range(&self, row: usize) -> Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }

    /// The symbols of a row's items.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.symbols[self.range(row)]
    }

    /// The weights of a row's items; `None` where the feature has none.
    pub fn weights(&self, row: usize) -> Option<&[f32]> {
        self.weights.as_ref().map(|weights| &weights[self.range(row)])
    }

    /// How many items a row has, those that were cut among them.
    pub fn length(&self, row: usize) -> usize {
        self.lengths[row] as usize
    }

    /// The texts of a row's items with their weights.
    pub fn list(&self, row: usize) -> List<&str> {
        let texts = self.row(row).iter().map(|symbol| self.items.text(*symbol));
        let items = match self.weights(row) {
            Some(weights) => texts.zip(weights).map(|(text, weight)| (text, f64::from(*weight))).collect(),
            None => texts.map(|text| (text, 1.0)).collect(),
        };
        List { items, length: self.length(row) }
    }

    /// The text of each symbol.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.items.texts.iter().map(|text| &**text)
    }

    /// How often each symbol stands in `rows`.
    pub fn counts(&self, rows: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.items.len()];
        for row in rows {
            self.row(*row as usize).iter().for_each(|symbol| counts[*symbol as usize] += 1);
        }
        counts
    }
}

/// Whether a text stands for a missing value.
pub fn is_missing(text: &str, missing: &[String]) -> bool {
    missing.iter().any(|one| one == text)
}

/// The finite number that a text is.
pub fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A column that someone needs, and who, for the message when it is not there.
#[derive(Clone, Debug)]
pub struct Need {
    pub column: String,
    pub used_by: String,
}

/// A column of lists that a feature needs.
#[derive(Clone, Debug)]
pub struct ListNeed {
    pub need: Need,
    pub items: Items,
}

impl ListNeed {
    /// The list of a row's cell; `weights` is the cell of the weights' column, if they have one.
    ///
    /// # Errors
    /// Weights that cannot be, by the column that has them.
    pub fn list<'a>(
        &self,
        text: &'a str,
        weights: Option<&str>,
        missing: &[String],
        (file, row): (&Path, u64),
    ) -> Result<List<&'a str>, DataError> {
        if is_missing(text, missing) {
            return Ok(List::default());
        }
        self.items.of_text(text, weights).map_err(|wrong| {
            let (column, value) = self.items.weights_column().zip(weights).unwrap_or((&self.need.column, text));
            let (file, column, value) = (file.to_owned(), column.to_owned(), value.to_owned());
            DataError::Cell { file, row, column, value, must: wrong.to_string() }
        })
    }
}

/// The columns to read, each once in each role.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub texts: Vec<Need>,
    pub numbers: Vec<Need>,
    pub lists: Vec<ListNeed>,
}

impl Needs {
    pub fn text(&mut self, column: &str, used_by: &str) {
        add(&mut self.texts, column, used_by);
    }

    pub fn number(&mut self, column: &str, used_by: &str) {
        add(&mut self.numbers, column, used_by);
    }
}

fn add(needs: &mut Vec<Need>, column: &str, used_by: &str) {
    if needs.iter().all(|need| need.column != column) {
        needs.push(Need { column: column.to_owned(), used_by: used_by.to_owned() });
    }
}

/// The rows of all files that were read, one after another.
pub struct Columns {
    pub needs: Needs,
    pub texts: Vec<TextColumn>,
    /// NaN where missing.
    pub numbers: Vec<Vec<f64>>,
    pub lists: Vec<ListColumn>,
    /// The line of each row in its file; the number of the row, from 1, in a Parquet file.
    pub lines: Vec<u64>,
    /// Each file, and its first row here.
    pub files: Vec<(PathBuf, usize)>,
}

impl Columns {
    pub fn new(needs: Needs) -> Self {
        Self {
            texts: needs.texts.iter().map(|_| TextColumn::default()).collect(),
            numbers: vec![Vec::new(); needs.numbers.len()],
            lists: needs.lists.iter().map(|list| ListColumn::new(&list.items)).collect(),
            needs,
            lines: Vec::new(),
            files: Vec::new(),
        }
    }

    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Drops all rows, and the texts that they hold.
    pub fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.needs));
    }

    /// A text column that `needs` names.
    pub fn text(&self, column: &str) -> &TextColumn {
        &self.texts[position(&self.needs.texts, column)]
    }

    /// A column of lists that `needs` names.
    pub fn list(&self, column: &str) -> &ListColumn {
        let place = self.needs.lists.iter().position(|list| list.need.column == column);
        &self.lists[place.expect(ASKED)]
    }

    /// A numeric column that `needs` names; NaN where missing.
    pub fn number(&self, column: &str) -> &[f64] {
        &self.numbers[position(&self.needs.numbers, column)]
    }

    /// Where a row stands: its file and its line there.
    pub fn place(&self, row: usize) -> (&Path, u64) {
        let file = self.files.iter().rev().find(|(_, first)| *first <= row);
        (file.map_or(Path::new(""), |(file, _)| file), self.lines[row])
    }

    /// The error of a cell of a row.
    pub fn cell_error(&self, row: usize, column: &str, value: &str, must: &str) -> DataError {
        let (file, row) = self.place(row);
        let (column, value, must) = (column.to_owned(), value.to_owned(), must.to_owned());
        DataError::Cell { file: file.to_owned(), row, column, value, must }
    }

    /// The error of a number of a row.
    pub fn number_error(&self, row: usize, column: &str, value: f64, must: &str) -> DataError {
        let value = if value.is_nan() { String::new() } else { value.to_string() };
        self.cell_error(row, column, &value, must)
    }
}

fn position(needs: &[Need], column: &str) -> usize {
    needs.iter().position(|need| need.column == column).expect(ASKED)
}

const ASKED: &str = "a column is looked up only after it was asked for";
