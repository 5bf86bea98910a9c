//! A data directory with files, loaded by a config's sections.

use std::fs;
use std::path::Path;

use polygate::config::{DataConfig, FeatureConfig, TaskConfig};
use polygate::data::{DataError, Dataset, Schema, Splits, encode_files, load};
use serde::Deserialize;
use tempfile::TempDir;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sections {
    pub data: DataConfig,
    #[serde(default)]
    pub feature: Vec<FeatureConfig>,
    #[serde(default)]
    pub task: Vec<TaskConfig>,
}

/// A data directory with files.
pub struct Files(TempDir);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect::<Vec<_>>();
        Self::of_bytes(&files)
    }

    pub fn of_bytes(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn load(&self, config: &str) -> Result<Splits, DataError> {
        load_from(self.path(), config)
    }

    /// As `loaded`, with another data directory.
    pub fn loaded_from(&self, data_dir: &Path, config: &str) -> Splits {
        load_from(data_dir, config).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn loaded(&self, config: &str) -> Splits {
        self.load(config).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The message of a config that must fail, without the directory.
    pub fn error(&self, config: &str) -> String {
        let error = self.load(config).expect_err("loading must fail").to_string();
        error.replace(&format!("{}/", self.path().display()), "")
    }

    pub fn encode(&self, schema: &Schema, file: &str, labels: bool, keep: &[&str]) -> Result<Dataset, DataError> {
        let keep: Vec<String> = keep.iter().map(|name| (*name).to_owned()).collect();
        encode_files(schema, &[self.path().join(file)], self.path(), labels, &keep)
    }
}

fn load_from(data_dir: &Path, config: &str) -> Result<Splits, DataError> {
    let Sections { data, feature, task } = toml::from_str(config).unwrap();
    load(&data, &feature, &task, data_dir, 7, None)
}

/// The ids of each row of a bag field.
pub fn ids(dataset: &Dataset, bag: usize) -> Vec<Vec<u32>> {
    (0..dataset.rows).map(|row| dataset.bags[bag].row(row).to_vec()).collect()
}
