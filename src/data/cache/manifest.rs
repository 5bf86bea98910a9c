//! What a cache was made of and made for, and whether that still holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::error::DataError;
use super::super::schema::Schema;
use super::super::source::Source;
use super::Asked;
use crate::checkpoint::write_atomically;
use crate::digest;

/// Of the files of a cache. One of another number is made anew.
const FORMAT: u32 = 2;

/// Written when all shards are there: without it a folder is no cache.
pub const MANIFEST: &str = "manifest.json";

/// A cache's table of contents.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub recipe: Recipe,
    pub sources: Vec<Stamp>,
    pub schema: Schema,
    /// What is odd about the data.
    pub notes: Vec<String>,
    pub train: Vec<Shard>,
    pub valid: Vec<Shard>,
    pub test: Vec<Shard>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    pub file: String,
    pub rows: usize,
    pub bytes: u64,
    /// Checksum of the file.
    pub digest: String,
}

/// Everything but the sources' content that the encoded rows depend on: what a user knows it by, and a checksum of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe(BTreeMap<String, String>);

impl Recipe {
    /// `unfitted` is the schema before vocabularies and statistics are taken. What shapes the model alone is left out.
    pub fn new(asked: &Asked, unfitted: &Schema) -> Self {
        let mut recipe = BTreeMap::new();
        if let Ok(Value::Object(parts)) = serde_json::to_value(unfitted) {
            recipe.extend(parts.into_iter().filter(|(name, _)| name != "input"));
        }
        without(&mut recipe, "tables", &["dim"]);
        without(&mut recipe, "tasks", &["weight", "tower_units"]);
        let ends = asked.sources.each_ref().map(Vec::len);
        let picks = asked.data.split.as_ref().map(|split| (split, split.seed.unwrap_or(asked.seed)));
        recipe.extend([
            ("the list of data files".into(), json!((ends, source_files(asked, unfitted)))),
            ("data.synthetic".into(), json!(asked.data.synthetic)),
            ("data.split".into(), json!(picks)),
            ("data.stream.shard_rows".into(), json!(asked.stream.shard_rows)),
            ("polygate".into(), json!((env!("CARGO_PKG_VERSION"), FORMAT))),
        ]);
        Self(recipe.into_iter().map(|(name, value)| (name, digest::of(value.to_string().as_bytes()))).collect())
    }

    /// The first part that another does not have alike.
    fn difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let all = self.0.keys().chain(other.0.keys());
        all.map(String::as_str).find(|name| self.0.get(*name) != other.0.get(*name))
    }
}

/// Takes keys out of each element of a part that is a list of objects.
fn without(recipe: &mut BTreeMap<String, Value>, part: &str, keys: &[&str]) {
    let elements = recipe.get_mut(part).and_then(Value::as_array_mut).into_iter().flatten();
    for element in elements.filter_map(Value::as_object_mut) {
        keys.iter().for_each(|key| _ = element.remove(*key));
    }
}

/// A source file as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    file: PathBuf,
    bytes: u64,
    /// When it was modified. Nanoseconds since 1970.
    modified: u64,
    /// Checksum of all of it.
    digest: String,
}

impl Stamp {
    pub fn of(file: &Path) -> Result<Self, DataError> {
        let (bytes, modified) = measure(file)?;
        Ok(Self { file: file.to_owned(), bytes, modified, digest: checksum(file)? })
    }

    /// Whether the file is still as old and as long as it was.
    pub fn is_untouched(&self) -> Result<bool, DataError> {
        Ok(measure(&self.file)? == (self.bytes, self.modified))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// A file's length and when it was modified.
fn measure(file: &Path) -> Result<(u64, u64), DataError> {
    let failed = |source| DataError::Io { file: file.to_owned(), source };
    let metadata = fs::metadata(file).map_err(failed)?;
    let modified = metadata.modified().map_err(failed)?.duration_since(UNIX_EPOCH);
    Ok((metadata.len(), modified.map_or(0, |age| age.as_nanos() as u64)))
}

fn checksum(file: &Path) -> Result<String, DataError> {
    let read = File::open(file).and_then(digest::of_reader);
    read.map_err(|source| DataError::Io { file: file.to_owned(), source })
}

/// The files that a cache is made of, by their full paths, so that a run from another folder finds them to be the same.
pub fn source_files(asked: &Asked, schema: &Schema) -> Vec<PathBuf> {
    let files = asked.sources.iter().flatten().filter_map(|source| match source {
        Source::File(file) => Some(file.clone()),
        Source::Synthetic(_) => None,
    });
    let full = |file: PathBuf| fs::canonicalize(&file).unwrap_or(file);
    files.chain(schema.joined_files(asked.data_dir)).map(full).collect()
}

impl Manifest {
    /// The manifest in a folder; `None` where there is none that can be read.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()
    }

    pub fn write(&self, folder: &Path) -> Result<(), DataError> {
        let written = write_atomically(&folder.join(MANIFEST), |w| Ok(serde_json::to_writer(w, self)?));
        written.map_err(|error| DataError::Io { file: error.path, source: error.source })
    }

    /// Why the cache does not hold for what is asked; `None` where it does.
    ///
    /// A file of the same age and length counts as the same. Where the age alone differs, as behind a copy, its checksum
    /// decides; the new age is written down then, so that it is not read again the next time.
    pub fn stale(&mut self, folder: &Path, recipe: &Recipe) -> Result<Option<String>, DataError> {
        if let Some(part) = self.recipe.difference(recipe) {
            return Ok(Some(format!("{part} changed")));
        }
        let mut is_touched = false;
        for stamp in &mut self.sources {
            let (bytes, modified) = measure(&stamp.file)?;
            if bytes != stamp.bytes || (modified != stamp.modified && checksum(&stamp.file)? != stamp.digest) {
                return Ok(Some(format!("{} changed", stamp.file.display())));
            }
            is_touched |= modified != stamp.modified;
            stamp.modified = modified;
        }
        for shard in self.train.iter().chain(&self.valid).chain(&self.test) {
            match fs::metadata(folder.join(&shard.file)) {
                Ok(metadata) if metadata.len() == shard.bytes => {}
                Ok(_) => return Ok(Some(format!("{} has another length", shard.file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Some(format!("{} is missing", shard.file)));
                }
                Err(source) => return Err(DataError::Io { file: folder.join(&shard.file), source }),
            }
        }
        if is_touched {
            self.write(folder)?;
        }
        Ok(None)
    }
}
