//! Going on with a run that was interrupted or killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::{CONFIG, INIT, METRICS, Made, RunError, RunFolder, SCHEMA, board};
use crate::checkpoint;
use crate::config::Config;
use crate::device::Device;
use crate::train::{Prepared, Start};

/// What may differ between a run and its continuation: it changes no result.
fn is_free(key: &str) -> bool {
    let of_table = key.starts_with("table.") && key.ends_with(".placement");
    of_table || ["train.keep_checkpoints", "train.data_on_device_mb"].contains(&key)
}

impl RunFolder {
    /// Opens a run's folder to go on from its newest whole checkpoint. What was written after that is taken back.
    ///
    /// # Errors
    /// Where there is no run, or its config or data are others than these.
    pub fn resume(path: &Path, p: &Prepared, device: &Device) -> Result<(Self, Start), RunError> {
        if !path.is_dir() {
            return Err(RunError::NoRun(path.into()));
        }
        if !path.join(CONFIG).is_file() {
            return Err(RunError::NeverBegan(path.into()));
        }
        let theirs = Config::load(&path.join(CONFIG), &[])?;
        let differences = differences(&theirs, &p.config);
        if !differences.is_empty() {
            return Err(RunError::OtherConfig { run: path.into(), differences: differences.join("; ") });
        }
        let damaged = |e: io::Error| RunError::Damaged { path: path.join(SCHEMA), reason: e.to_string() };
        let schema = serde_json::to_vec(&p.schema).map_err(|e| damaged(e.into()))?;
        if fs::read(path.join(SCHEMA)).map_err(damaged)? != schema {
            return Err(RunError::OtherSchema { run: path.into() });
        }
        let cannot = |source| RunError::Create { path: path.into(), source };
        let mut folder = Self::open(path, Made::Nothing, p).map_err(cannot)?;
        let (start, lengths) = match folder.checkpoints.newest(&folder.data)? {
            Some((saved, note)) => {
                if saved.state.device != device.kind() {
                    log::warn!(
                        "the run was trained on {} and goes on on {}; the result is not the same to the bit",
                        saved.state.device,
                        device.kind()
                    );
                }
                (Start::Checkpoint(Box::new(saved)), note.lengths)
            }
            None => {
                log::info!("{} has no checkpoint yet: training starts at its first step", path.display());
                let init = Some(path.join(INIT)).filter(|init| init.is_file());
                (Start::Parameters(p.parameters(init.as_deref())?), BTreeMap::new())
            }
        };
        // Only now is it sure that the run goes on.
        checkpoint::remove_leftovers(path);
        folder.checkpoints.remove_leftovers();
        folder.cut_back(&lengths)?;
        Ok((folder, start))
    }

    /// Takes back what was written after a checkpoint that found files of these lengths.
    fn cut_back(&mut self, lengths: &BTreeMap<String, u64>) -> Result<(), RunError> {
        let length = |name| lengths.get(name).copied().unwrap_or(0);
        let (path, bytes) = (self.path.join(METRICS), length(METRICS));
        let failed = |source| RunError::Cut { path: path.clone(), bytes, source };
        let found = self.metrics.metadata().map_err(failed)?.len();
        if found < bytes {
            let reason = format!("it has {found} bytes, and had {bytes} when the newest checkpoint was written");
            return Err(RunError::Damaged { path, reason });
        }
        self.metrics.set_len(bytes).map_err(failed)?;
        let (path, bytes) = (self.path.join(board::FILE), length(board::FILE));
        self.events.cut(bytes).map_err(|source| RunError::Cut { path, bytes, source })
    }
}

/// The keys whose values differ, with both.
fn differences(theirs: &Config, ours: &Config) -> Vec<String> {
    let [theirs, ours] = [theirs, ours].map(|config| {
        let mut leaves = Vec::new();
        if let Ok(value) = toml::Value::try_from(config) {
            leaves_of(String::new(), &value, &mut leaves);
        }
        leaves
    });
    let find = |leaves: &[(String, String)], key: &str| {
        let found = leaves.iter().find(|(k, _)| k == key);
        found.map_or_else(|| "not set".to_owned(), |(_, value)| value.clone())
    };
    let keys: BTreeSet<&str> = theirs.iter().chain(&ours).map(|(key, _)| key.as_str()).collect();
    let differing = keys.into_iter().filter(|key| !is_free(key)).filter_map(|key| {
        let (a, b) = (find(&theirs, key), find(&ours, key));
        (a != b).then(|| format!("{key} was {a} and is {b}"))
    });
    differing.collect()
}

/// Keys as `--set` names them, each with its value as TOML.
fn leaves_of(key: String, value: &toml::Value, leaves: &mut Vec<(String, String)>) {
    let below = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(k, v)| leaves_of(below(k), v, leaves)),
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().enumerate().for_each(|(i, v)| leaves_of(below(&i.to_string()), v, leaves));
        }
        other => leaves.push((key, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(&format!("{text}\n[data]\ntrain = [\"a.csv\"]\n[model]\nfamily = \"mmoe\"\n")).unwrap()
    }

    #[test]
    fn configs_that_differ_are_told_by_key_with_both_values() {
        let theirs = config("seed = 1\n[train]\nbatch_size = 7\n[[task]]\nname = \"a\"");
        let ours = config("seed = 1\n[train]\nbatch_size = 8\nbest = \"a.auc\"\n[[task]]\nname = \"b\"");
        assert_eq!(
            differences(&theirs, &ours),
            [
                "task.0.name was \"a\" and is \"b\"",
                "train.batch_size was 7 and is 8",
                "train.best was not set and is \"a.auc\""
            ]
        );
        assert!(differences(&theirs, &theirs.clone()).is_empty());
    }

    #[test]
    fn what_changes_no_result_may_differ() {
        let ours = config("[train]\nkeep_checkpoints = 9\ndata_on_device_mb = 0");
        assert!(differences(&config(""), &ours).is_empty());
        let [theirs, ours] =
            ["device", "host"].map(|place| config(&format!("[[table]]\nname = \"a\"\nplacement = \"{place}\"")));
        assert!(differences(&theirs, &ours).is_empty());
    }
}
