//! Rows encoded once into files, from which training streams them: `data.stream`.
//!
//! A folder is a cache when its manifest is there, which is written last. The folder is locked while it is made and while
//! a run reads it, so that no run sees half of one.

mod build;
mod manifest;
mod shard;

use std::fs::{self, File, TryLockError};
use std::path::Path;

pub use manifest::Shard;
pub use shard::from_bytes;

use super::error::DataError;
use super::schema::Schema;
use super::source::Source;
use crate::config::{DataConfig, StreamConfig};
use manifest::{Manifest, Recipe};

/// What a cache is asked for.
pub struct Asked<'a> {
    pub data: &'a DataConfig,
    pub stream: &'a StreamConfig,
    pub sources: &'a [Vec<Source>; 3],
    pub data_dir: &'a Path,
    /// Decides the splits by ratio.
    pub seed: u64,
    /// Whether the schema goes on from another, whose statistics it keeps.
    pub keeps_statistics: bool,
}

impl Asked<'_> {
    fn picks_by_ratio(&self) -> bool {
        self.data.split.as_ref().is_some_and(|split| split.test_ratio.is_some() || split.valid_ratio.is_some())
    }
}

/// A cache that holds for what was asked, and keeps others from changing it while it is there.
pub struct Opened {
    /// The asked schema with the cache's vocabularies and statistics.
    pub schema: Schema,
    pub notes: Vec<String>,
    pub train: Vec<Shard>,
    pub valid: Vec<Shard>,
    pub test: Vec<Shard>,
    pub lock: File,
}

/// Opens the cache of a schema that is not fitted yet, and makes it first where there is none that holds.
///
/// # Errors
/// Whatever is wrong with the data, or a folder that cannot be read or written.
pub fn open(asked: &Asked, folder: &Path, unfitted: Schema) -> Result<Opened, DataError> {
    let failed = |source| DataError::Io { file: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    let recipe = Recipe::new(asked, &unfitted);
    // Between the making and the reading there is a moment without a lock: what was made is looked at again.
    loop {
        lock.lock_shared().map_err(failed)?;
        if let Ok(manifest) = current(folder, &recipe)? {
            return Ok(Opened {
                schema: unfitted.fitted_as(manifest.schema),
                notes: manifest.notes,
                train: manifest.train,
                valid: manifest.valid,
                test: manifest.test,
                lock,
            });
        }
        lock.unlock().map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                log::info!("waiting for another run that uses the cache in {}", folder.display());
                lock.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if let Err(why) = current(folder, &recipe)? {
            log::info!("making the cache in {}: {why}", folder.display());
            build::build(asked, folder, unfitted.clone(), recipe.clone())?;
        }
        lock.unlock().map_err(failed)?;
    }
}

/// The folder's cache, or why it does not hold.
fn current(folder: &Path, recipe: &Recipe) -> Result<Result<Manifest, String>, DataError> {
    let Some(mut manifest) = Manifest::read(folder) else { return Ok(Err("there is none yet".into())) };
    Ok(match manifest.stale(folder, recipe)? {
        Some(why) => Err(why),
        None => Ok(manifest),
    })
}
