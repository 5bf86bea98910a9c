//! The columns that a run needs, read once: texts as symbols, numbers as f64.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DataError;
use super::vocab::TextMap;

/// The symbol of a cell that is not there, because a join found no row.
const ABSENT: u32 = 0;

/// A column of texts, each distinct text stored once and named by a symbol.
pub struct TextColumn {
    texts: Vec<Arc<str>>,
    missing: Vec<bool>,
    lookup: TextMap<Arc<str>, u32>,
    /// One symbol a row.
    pub symbols: Vec<u32>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { texts: vec!["".into()], missing: vec![true], lookup: TextMap::default(), symbols: Vec::new() }
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
            && *self.texts[*last as usize] == *text
        {
            return *last;
        }
        if let Some(symbol) = self.lookup.get(text) {
            return *symbol;
        }
        let (shared, symbol) = (Arc::<str>::from(text), self.texts.len() as u32);
        self.texts.push(Arc::clone(&shared));
        self.missing.push(is_missing(text, missing));
        self.lookup.insert(shared, symbol);
        symbol
    }

    /// The text of a row as the file has it.
    pub fn text(&self, row: usize) -> &str {
        &self.texts[self.symbols[row] as usize]
    }

    /// The text of each symbol, `None` where it stands for a missing value.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.texts.iter().zip(&self.missing).map(|(text, missing)| (!missing).then_some(&**text))
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

/// Whether a text stands for a missing value.
pub fn is_missing(text: &str, missing: &[String]) -> bool {
    missing.iter().any(|one| one == text)
}

/// A column that someone needs, and who, for the message when it is not there.
#[derive(Clone, Debug)]
pub struct Need {
    pub column: String,
    pub used_by: String,
}

/// The columns to read, each once in each role.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub texts: Vec<Need>,
    pub numbers: Vec<Need>,
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
    /// The line of each row in its file.
    pub lines: Vec<u64>,
    /// Each file, and its first row here.
    pub files: Vec<(PathBuf, usize)>,
}

impl Columns {
    pub fn new(needs: Needs) -> Self {
        Self {
            texts: needs.texts.iter().map(|_| TextColumn::default()).collect(),
            numbers: vec![Vec::new(); needs.numbers.len()],
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
    needs.iter().position(|need| need.column == column).expect("a column is looked up only after it was asked for")
}
