//! Records of CSV and TSV files, plain or gzip, with the line that each starts on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::error::DataError;

/// How a file writes its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialect {
    /// `None`: by the file's name.
    pub delimiter: Option<char>,
    /// Column names; empty when files have a header.
    pub columns: Vec<String>,
    /// Texts that stand for a missing value.
    pub missing: Vec<String>,
}

impl Dialect {
    fn delimiter_of(&self, file: &Path) -> Result<u8, DataError> {
        let delimiter = self.delimiter.unwrap_or_else(|| {
            let name = file.to_string_lossy().to_lowercase();
            let stem = name.strip_suffix(".gz").unwrap_or(&name);
            if stem.ends_with(".tsv") || stem.ends_with(".tab") { '\t' } else { ',' }
        });
        u8::try_from(delimiter)
            .ok()
            .filter(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | b'"'))
            .ok_or_else(|| DataError::config("data.delimiter", format!("{delimiter:?} is not one ASCII character")))
    }
}

/// Follows each file: it ends the last line, and shows whether a quote is still open there. 0xff is never in UTF-8.
const AFTER_THE_FILE: &[u8] = b"\n\xff\n";
const LAST_RECORD: &[u8] = b"\xff";

/// Reads one file, record by record.
pub struct RecordReader {
    file: PathBuf,
    columns: Vec<String>,
    reader: csv::Reader<Box<dyn Read>>,
    /// A first record that was read to look for a header where there should be none.
    pending: Option<(ByteRecord, u64)>,
    row: u64,
}

impl RecordReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// A file that is not there, cannot be read, is empty, or lists a column twice.
    pub fn open(file: &Path, dialect: &Dialect) -> Result<Self, DataError> {
        let text = decompressed(file).map_err(|source| match source.kind() {
            ErrorKind::NotFound => DataError::NotFound { file: file.to_owned() },
            _ => read_error(file, 0, source),
        })?;
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(dialect.delimiter_of(file)?)
            // Line numbers hold only if every line ends in one newline. A carriage return before it is trimmed.
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(1 << 16)
            .from_reader(Box::new(text.chain(AFTER_THE_FILE)) as Box<dyn Read>);
        let mut opened = Self { file: file.to_owned(), columns: Vec::new(), reader, pending: None, row: 0 };
        let mut first = ByteRecord::new();
        let Some(row) = opened.next_record(&mut first)? else {
            return Err(DataError::Empty { file: file.to_owned() });
        };
        let names = first.iter().map(|name| std::str::from_utf8(name).map(|name| trim(name).to_owned()));
        let names = names.collect::<Result<Vec<_>, _>>();
        if dialect.columns.is_empty() {
            opened.columns = names.map_err(|_| DataError::Utf8 {
                file: file.to_owned(),
                row,
                column: "header".to_owned(),
                value: String::from_utf8_lossy(first.as_slice()).into_owned(),
            })?;
        } else if names.is_ok_and(|names| names == dialect.columns) {
            return Err(DataError::UnexpectedHeader { file: file.to_owned(), row });
        } else {
            opened.columns.clone_from(&dialect.columns);
            opened.pending = Some((first, row));
        }
        opened.refuse_duplicates(if dialect.columns.is_empty() { "header" } else { "`columns`" })?;
        Ok(opened)
    }

    fn refuse_duplicates(&self, listed: &'static str) -> Result<(), DataError> {
        let mut sorted: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(DataError::DuplicateColumn { file: self.file.clone(), listed, column: pair[0].to_owned() })
            }
            None => Ok(()),
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Reads the next record and gives its line; blank lines are skipped.
    ///
    /// # Errors
    /// A record of another length than the header's; a file that cannot be read on; a file without any record.
    pub fn read(&mut self, record: &mut ByteRecord) -> Result<Option<u64>, DataError> {
        let row = match self.pending.take() {
            Some((first, row)) => {
                *record = first;
                Some(row)
            }
            None => self.next_record(record)?,
        };
        let Some(row) = row else { return Ok(None) };
        if record.len() != self.columns.len() {
            let (found, expected) = (record.len(), self.columns.len());
            return Err(DataError::Fields { file: self.file.clone(), row, found, expected });
        }
        Ok(Some(row))
    }

    fn next_record(&mut self, record: &mut ByteRecord) -> Result<Option<u64>, DataError> {
        loop {
            match self.reader.read_byte_record(record) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(self.csv_error(error)),
            }
            if record.len() == 1 && &record[0] == LAST_RECORD {
                return Ok(None);
            }
            let inner = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
            let after = self.reader.position().line() - inner;
            if record.as_slice().ends_with(AFTER_THE_FILE) {
                return Err(DataError::OpenQuote { file: self.file.clone(), row: after });
            }
            self.row = after - 1;
            if record.len() > 1 || !record[0].trim_ascii().is_empty() {
                return Ok(Some(self.row));
            }
        }
    }

    fn csv_error(&self, error: csv::Error) -> DataError {
        match error.into_kind() {
            csv::ErrorKind::Io(source) => read_error(&self.file, self.row, source),
            other => DataError::Io { file: self.file.clone(), source: io::Error::other(format!("{other:?}")) },
        }
    }
}

/// A cell without the space around it, nor quotes that followed such space.
pub fn trim(cell: &str) -> &str {
    let trimmed = cell.trim();
    if trimmed.len() == cell.len() || !cell.starts_with(' ') {
        return trimmed;
    }
    trimmed.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or(trimmed, str::trim)
}

fn decompressed(file: &Path) -> io::Result<Box<dyn Read>> {
    let mut plain = BufReader::with_capacity(1 << 16, File::open(file)?);
    let named_gz = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    const MAGIC: u8 = 0x1f;
    let start = plain.fill_buf()?;
    if named_gz && start.first().is_some_and(|byte| *byte != MAGIC) {
        return Err(io::Error::new(ErrorKind::InvalidData, "it does not start as gzip does"));
    }
    if start.starts_with(&[MAGIC, 0x8b]) || (named_gz && !start.is_empty()) {
        return Ok(Box::new(MultiGzDecoder::new(plain)));
    }
    Ok(Box::new(plain))
}

fn read_error(file: &Path, row: u64, source: io::Error) -> DataError {
    let file = file.to_owned();
    match source.kind() {
        ErrorKind::UnexpectedEof => DataError::TruncatedGzip { file, row },
        ErrorKind::InvalidData | ErrorKind::InvalidInput => DataError::CorruptGzip { file, reason: source.to_string() },
        _ => DataError::Io { file, source },
    }
}
