//! A run's checkpoints: `checkpoints/step-<n>.safetensors`, each all that training goes on from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::checkpoint::{self, CheckpointError, Reader};
use crate::data::{Dataset, TrainRows};
use crate::executor::{Executor, is_parameter};
use crate::train::{Prepared, Saved, TrainError, TrainState, read_finite};

const FOLDER: &str = "checkpoints";

/// What a checkpoint says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    pub train: TrainState,
    pub data: Digests,
    /// How long each of the run's growing files was. Bytes.
    pub lengths: BTreeMap<String, u64>,
}

/// Digests of encoded rows, by split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Digests(BTreeMap<String, Option<String>>);

impl Digests {
    pub fn of(p: &Prepared) -> Self {
        let judged = |rows: &Option<Arc<Dataset>>| rows.clone().map(|rows| TrainRows::from(rows).digest());
        let splits =
            [("training", Some(p.train.digest())), ("validation", judged(&p.valid)), ("test", judged(&p.test))];
        Self(splits.map(|(name, digest)| (name.into(), digest)).into())
    }

    /// The splits whose rows differ.
    fn differing(&self, other: &Self) -> Vec<&str> {
        let differs = |(name, digest): &(&String, &Option<String>)| other.0.get(*name) != Some(*digest);
        self.0.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
    }
}

/// The folder of a run's checkpoints.
pub struct Checkpoints {
    folder: PathBuf,
    /// How many are kept.
    keep: usize,
}

impl Checkpoints {
    pub fn new(run: &Path, keep: usize) -> Self {
        Self { folder: run.join(FOLDER), keep }
    }

    /// # Errors
    /// Where it cannot be made.
    pub fn make_folder(&self) -> io::Result<()> {
        if self.keep == 0 { Ok(()) } else { fs::create_dir_all(&self.folder) }
    }

    /// Removes the folder, if it is empty.
    pub fn remove_folder(&self) {
        let _ = fs::remove_dir(&self.folder);
    }

    /// Whether there is one.
    pub fn any(&self) -> bool {
        !self.newest_first().is_empty()
    }

    /// Writes one, then removes those that are too old.
    ///
    /// # Errors
    /// A parameter that is not finite, the device's, or where it cannot be written; the others stay then.
    pub fn write(&self, executor: &mut dyn Executor, note: &Note) -> Result<(), TrainError> {
        if self.keep == 0 {
            return Ok(());
        }
        self.make_folder()?;
        let path = self.folder.join(format!("step-{:010}.safetensors", note.train.step));
        let json = serde_json::to_string(note).map_err(io::Error::other)?;
        let metadata = BTreeMap::from([("polygate".to_owned(), json)]);
        let (tensors, at) = (executor.state(), note.train.at());
        checkpoint::write_with(&path, &tensors, &metadata, |name, rows| -> Result<_, TrainError> {
            Ok(match is_parameter(name) {
                true => read_finite(executor, name, rows, at)?.into(),
                false => executor.read_rows(name, rows)?.into(),
            })
        })?;
        for old in self.newest_first().into_iter().skip(self.keep) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    /// The newest that can be read whole; those that cannot are told and passed over.
    ///
    /// # Errors
    /// Where it was made of other rows.
    pub fn newest(&self, data: &Digests) -> Result<Option<(Saved, Note)>, RunError> {
        for path in self.newest_first() {
            match read(&path) {
                Ok((tensors, note)) => {
                    let differing = note.data.differing(data);
                    if !differing.is_empty() {
                        return Err(RunError::OtherRows { checkpoint: path, splits: differing.join(" and the ") });
                    }
                    return Ok(Some((Saved { state: note.train.clone(), tensors }, note)));
                }
                Err(error) => log::warn!("{error}; the checkpoint before it is taken"),
            }
        }
        Ok(None)
    }

    /// Removes files whose writing was cut off.
    pub fn remove_leftovers(&self) {
        checkpoint::remove_leftovers(&self.folder);
    }

    fn newest_first(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
        // Names of ten digits or more sort as their numbers do up to ten thousand million steps.
        paths.sort_unstable_by(|a, b| b.cmp(a));
        paths
    }
}

fn read(path: &Path) -> Result<(Reader, Note), CheckpointError> {
    let reader = Reader::open(path)?;
    let metadata = reader.metadata();
    let foreign = |reason| CheckpointError::NotSafetensors { path: path.into(), reason };
    let text = metadata.get("polygate").ok_or_else(|| foreign("it says nothing of a run".into()))?;
    let note = serde_json::from_str(text).map_err(|e| foreign(format!("what it says of its run: {e}")))?;
    Ok((reader, note))
}
