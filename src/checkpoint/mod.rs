//! Parameters in files: safetensors, f32, under their names, with metadata.
//!
//! Equal tensors and metadata give equal bytes. The safetensors crate keeps metadata in a `HashMap` and writes it in
//! random order, so the header is written here: sorted metadata first, then tensors by name. Other readers (PyTorch,
//! JAX, NumPy) see plain metadata keys. Reading leaves the header's checks to the crate. Tensors are written and read some
//! rows at a time, so that a large one need not be in memory twice.

mod atomic;
mod fit;

pub use atomic::{WriteError, check_writable, remove_leftovers, write_atomically};
pub use fit::{Misfit, check};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use thiserror::Error;

/// The header's key for metadata, which no tensor may have.
const METADATA_KEY: &str = "__metadata__";
/// What the safetensors crate reads at most. Bytes.
const MAX_HEADER: u64 = 100_000_000;
/// The file starts with the header's length, a little-endian u64. Bytes.
const LENGTH_BYTES: u64 = 8;

/// A parameter as files hold it: row-major values, `shape` from the outermost dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Why parameters were not written or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("there is no checkpoint at {}", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read the checkpoint {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{} is truncated: it has {found} of at least {expected} bytes; copy it again, or use an earlier checkpoint",
        path.display()
    )]
    Truncated { path: PathBuf, expected: u64, found: u64 },
    #[error(
        "{} is not a safetensors file: {reason}; save PyTorch parameters with safetensors.torch.save_file",
        path.display()
    )]
    NotSafetensors { path: PathBuf, reason: String },
    #[error("{}: tensor \"{name}\" holds {dtype}, and polygate reads F32 only; convert it to float32", path.display())]
    WrongDtype { path: PathBuf, name: String, dtype: Dtype },
    #[error("tensor \"{name}\" cannot be written: {reason}")]
    InvalidTensor { name: String, reason: String },
    #[error("the header takes {bytes} bytes, and readers allow {MAX_HEADER}; use fewer tensors or less metadata")]
    HeaderTooLarge { bytes: u64 },
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A tensor's name and its shape, from the outermost dimension.
pub type Shaped = (String, Vec<usize>);

/// Writes tensors and metadata as a safetensors file, by [`write_atomically`]. Tensors lie in the file by name,
/// whatever their order here.
///
/// # Errors
/// A name given twice or reserved, data of another length than the shape's, or any I/O error.
pub fn write(path: &Path, tensors: &[NamedTensor], metadata: &BTreeMap<String, String>) -> Result<(), CheckpointError> {
    let mut tensors: Vec<&NamedTensor> = tensors.iter().collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors.iter().try_for_each(|t| fits(&t.name, &t.shape, t.data.len()))?;
    let shaped: Vec<Shaped> = tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
    let values = |name: &str, rows: Range<usize>| -> Result<_, CheckpointError> {
        let tensor = tensors.iter().find(|t| t.name == name);
        let of = |t: &'_ NamedTensor| row_len(&t.shape) * rows.start..row_len(&t.shape) * rows.end;
        Ok(tensor.map_or(Cow::Borrowed(&[][..]), |t| Cow::Borrowed(&t.data[of(t)])))
    };
    write_with(path, &shaped, metadata, values)
}

/// What is written or read together.
pub const PIECE_BYTES: usize = 16 << 20;

/// Values of a row: of one along the first dimension.
fn row_len(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

/// The rows of a tensor, along its first dimension, in pieces that take little memory each.
pub fn pieces(shape: &[usize]) -> impl Iterator<Item = Range<usize>> + use<> {
    let (rows, piece) = (shape.first().copied().unwrap_or(1), (PIECE_BYTES / 4 / row_len(shape).max(1)).max(1));
    (0..rows).step_by(piece).map(move |start| start..rows.min(start + piece))
}

/// As [`write()`], asking for some rows of a tensor after the other, by name, in the order of [`pieces`].
///
/// # Errors
/// As [`write()`], and those of `values`; what stood at `path` is untouched then.
pub fn write_with<'a, E: From<CheckpointError>>(
    path: &Path,
    tensors: &[Shaped],
    metadata: &BTreeMap<String, String>,
    mut values: impl FnMut(&str, Range<usize>) -> Result<Cow<'a, [f32]>, E>,
) -> Result<(), E> {
    let mut tensors: Vec<&Shaped> = tensors.iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let header = header(&tensors, metadata)?;
    // What went wrong, where it was not the file system.
    let mut failed = None;
    let mut one = |writer: &mut dyn Write, (name, shape): &Shaped| -> io::Result<()> {
        for rows in pieces(shape) {
            let shape = [rows.len(), row_len(shape)];
            let result = values(name, rows).and_then(|v| fits(name, &shape, v.len()).map(|()| v).map_err(E::from));
            match result {
                Ok(values) => write_values(writer, &values)?,
                Err(error) => {
                    failed = Some(error);
                    return Err(io::Error::other("a tensor could not be had"));
                }
            }
        }
        Ok(())
    };
    let written = write_atomically(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| one(writer, tensor))
    });
    match (failed, written) {
        (Some(error), _) => Err(error),
        (None, written) => written.map_err(|e| CheckpointError::from(e).into()),
    }
}

/// Whether so many values fill a shape.
fn fits(name: &str, shape: &[usize], found: usize) -> Result<(), CheckpointError> {
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(found) {
        return Ok(());
    }
    let reason = format!("{found} values do not fill its shape {shape:?}");
    Err(CheckpointError::InvalidTensor { name: name.into(), reason })
}

/// The JSON that describes sorted tensors, padded with spaces so that values start at a multiple of 8 bytes.
fn header(tensors: &[&Shaped], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, CheckpointError> {
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        entries.push(json_entry(METADATA_KEY, metadata));
    }
    let (mut names, mut offset) = (BTreeSet::new(), 0usize);
    for (name, shape) in tensors {
        let invalid = |reason: &str| CheckpointError::InvalidTensor { name: name.clone(), reason: reason.into() };
        if name == METADATA_KEY {
            return Err(invalid("safetensors reserves this name"));
        }
        if !names.insert(name) {
            return Err(invalid("the name is given twice"));
        }
        let bytes = shape.iter().try_fold(size_of::<f32>(), |n, &d| n.checked_mul(d));
        let end = bytes.and_then(|bytes| bytes.checked_add(offset)).ok_or_else(|| invalid("it is too large"))?;
        let info = TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (offset, end) };
        entries.push(json_entry(name, &info));
        offset = end;
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    match header.len() as u64 {
        bytes if bytes > MAX_HEADER => Err(CheckpointError::HeaderTooLarge { bytes }),
        _ => Ok(header),
    }
}

/// `"key":value`
fn json_entry(key: &str, value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings, integers and lists of them are JSON");
    format!("{}:{json}", serde_json::Value::from(key))
}

#[cfg(target_endian = "little")]
fn write_values(writer: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    writer.write_all(bytemuck::cast_slice(values))
}

#[cfg(target_endian = "big")]
fn write_values(writer: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))
}

/// Reads every tensor of a safetensors file, sorted by name.
///
/// # Errors
/// A missing, unreadable, truncated or foreign file, or a tensor that is not F32.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>, CheckpointError> {
    let mut reader = Reader::open(path)?;
    let tensors = reader.tensors();
    let named = |(name, shape): Shaped| {
        let data = reader.read(&name)?;
        Ok(NamedTensor { name, shape, data })
    };
    tensors.into_iter().map(named).collect()
}

/// Reads a file's metadata and none of its tensors; empty where the file has none.
///
/// # Errors
/// As [`read`], but for what tensors hold.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>, CheckpointError> {
    Ok(Reader::open(path)?.metadata())
}

/// An open file, whose tensors are read one by one.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the first tensor's values are. Bytes.
    start: u64,
}

impl Reader {
    /// Reads the header, which describes exactly the bytes behind it.
    ///
    /// # Errors
    /// A missing, unreadable, truncated or foreign file.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (mut file, header) = open(path)?;
        let start = file.stream_position().map_err(|e| read_error(path, e))?;
        Ok(Self { path: path.into(), file, header, start })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Every tensor, by name.
    pub fn tensors(&self) -> Vec<Shaped> {
        let mut tensors: Vec<Shaped> =
            self.header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// A tensor's values, row by row.
    ///
    /// # Errors
    /// Where there is no such tensor, it is not F32, or the file cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let rows = self.header.info(name).and_then(|info| info.shape.first().copied()).unwrap_or(1);
        self.read_rows(name, 0..rows)
    }

    /// The values of some of a tensor's rows along its first dimension.
    ///
    /// # Errors
    /// As [`Reader::read`].
    ///
    /// # Panics
    /// If it has no such rows.
    pub fn read_rows(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        let Some(info) = self.header.info(name) else {
            return Err(Misfit { missing: vec![name.into()], ..Misfit::default() }.into());
        };
        if info.dtype != Dtype::F32 {
            return Err(CheckpointError::WrongDtype { path: self.path.clone(), name: name.into(), dtype: info.dtype });
        }
        // The header's checks have held this length against the file's.
        assert!(rows.end <= info.shape.first().copied().unwrap_or(1), "{name} has no row {}", rows.end);
        let row = row_len(&info.shape);
        let mut data = vec![0f32; rows.len() * row];
        let from = info.data_offsets.0 + size_of::<f32>() * rows.start * row;
        let seek = self.file.seek(SeekFrom::Start(self.start + from as u64));
        let read = seek.and_then(|_| self.file.read_exact(bytemuck::cast_slice_mut(&mut data)));
        read.map_err(|e| read_error(&self.path, e))?;
        if cfg!(target_endian = "big") {
            data.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
        }
        Ok(data)
    }
}

/// A file that lies at the start of its first tensor's values, and its header, which describes exactly the bytes left.
fn open(path: &Path) -> Result<(File, Metadata), CheckpointError> {
    let mut file = File::open(path).map_err(|e| read_error(path, e))?;
    let found = file.metadata().map_err(|e| read_error(path, e))?.len();
    let truncated = |expected| CheckpointError::Truncated { path: path.into(), expected, found };
    let foreign = |reason: String| CheckpointError::NotSafetensors { path: path.into(), reason };

    let mut length = [0; LENGTH_BYTES as usize];
    if found < LENGTH_BYTES {
        return Err(truncated(LENGTH_BYTES));
    }
    file.read_exact(&mut length).map_err(|e| read_error(path, e))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(foreign(format!("its header would take {length} bytes")));
    }
    let mut json = Vec::new();
    (&mut file).take(length).read_to_end(&mut json).map_err(|e| read_error(path, e))?;
    if json.first().is_some_and(|&byte| byte != b'{') {
        return Err(foreign("its header is not JSON".into()));
    }
    if (json.len() as u64) < length {
        return Err(truncated(LENGTH_BYTES + length));
    }
    let header: Metadata = serde_json::from_slice(&json).map_err(|e| foreign(e.to_string()))?;
    match (header.data_len() as u64).checked_add(LENGTH_BYTES + length) {
        Some(expected) if expected == found => Ok((file, header)),
        Some(expected) if expected < found => Err(foreign(format!("{} bytes follow its tensors", found - expected))),
        Some(expected) => Err(truncated(expected)),
        None => Err(foreign("its header describes more bytes than any file has".into())),
    }
}

fn read_error(path: &Path, source: io::Error) -> CheckpointError {
    match source.kind() {
        ErrorKind::NotFound => CheckpointError::Missing { path: path.into() },
        _ => CheckpointError::Read { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests;
