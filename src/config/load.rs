//! A config file, with overrides from the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{DataConfig, FeatureConfig, MetricsConfig, ModelConfig, TableConfig, TaskConfig, TrainConfig};
use crate::optim::Rule;
use crate::plan::Normalization;

/// Everything that a run is told.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What every random choice derives from.
    #[serde(default)]
    pub seed: u64,
    pub data: DataConfig,
    #[serde(default)]
    pub feature: Vec<FeatureConfig>,
    #[serde(default)]
    pub table: Vec<TableConfig>,
    #[serde(default)]
    pub task: Vec<TaskConfig>,
    pub model: ModelConfig,
    #[serde(default)]
    pub train: TrainConfig,
    #[serde(default)]
    pub metrics: MetricsConfig,
}

/// A config that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}{hint}")]
    Parse { path: PathBuf, message: String, hint: String },
    #[error("--set {0}: write key.path=value, as in --set train.epochs=3")]
    Override(String),
    #[error("--set {key}: {reason}")]
    OverridePath { key: String, reason: String },
    #[error("{path}: {key} = {value}: {must}")]
    Value { path: PathBuf, key: String, value: String, must: &'static str },
}

/// `key.path=value` of `--set`. A part of the path that is a number counts in a list: `task.0.weight=2`.
#[derive(Clone, Debug)]
pub struct Override {
    path: String,
    value: toml::Value,
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

impl FromStr for Override {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Override(text.into());
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        if path.split('.').any(|part| part.trim().is_empty()) {
            return Err(wrong());
        }
        // What is no TOML value is taken as text, so that strings need no quotes within the shell's.
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let value = parsed.ok().and_then(|mut t| t.remove("value")).unwrap_or_else(|| value.trim().into());
        Ok(Self { path: path.trim().into(), value })
    }
}

impl Config {
    /// # Errors
    /// Names the file, the place in it, an unknown key's nearest valid one, or the value that cannot be.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let wrong = |e: toml::de::Error| {
            let message = e.to_string().trim_end().to_owned();
            ConfigError::Parse { path: path.into(), hint: nearest(&message), message }
        };
        // Parsed from the text where possible: its errors show the line.
        let mut config: Self = toml::from_str(&text).map_err(wrong)?;
        if !overrides.is_empty() {
            let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
            for o in overrides {
                set(&mut table, o)?;
            }
            config = table.try_into().map_err(wrong)?;
        }
        config.check().map_err(|(key, value, must)| ConfigError::Value { path: path.into(), key, value, must })?;
        Ok(config)
    }

    /// How a step changes the parameters in a run of so many.
    pub fn rule(&self, run_steps: u64) -> Rule {
        Rule { seed: self.seed, ..self.train.rule(run_steps) }
    }

    /// A value that cannot be, as its key, itself and what it must be.
    fn check(&self) -> Result<(), (String, String, &'static str)> {
        let positive = |key: &str, value: usize| match value {
            0 => Err((key.into(), "0".into(), "must be at least 1")),
            _ => Ok(()),
        };
        positive("train.epochs", self.train.epochs)?;
        positive("train.batch_size", self.train.batch_size)?;
        positive("train.log_every", self.train.log_every)?;
        if let Some(stream) = &self.data.stream {
            positive("data.stream.shard_rows", stream.shard_rows)?;
            if stream.buffer_rows < stream.shard_rows {
                let value = stream.buffer_rows.to_string();
                return Err(("data.stream.buffer_rows".into(), value, "must be at least data.stream.shard_rows"));
            }
        }
        let optional = [
            ("train.eval_every", self.train.eval_every),
            ("train.patience", self.train.patience),
            ("train.checkpoint_every", self.train.checkpoint_every),
        ];
        optional.into_iter().try_for_each(|(key, value)| value.map_or(Ok(()), |value| positive(key, value)))?;
        if !(self.train.min_delta.is_finite() && self.train.min_delta >= 0.0) {
            return Err(("train.min_delta".into(), self.train.min_delta.to_string(), "must be 0 or more"));
        }
        let optimizers =
            self.train.check_optimizers().and_then(|()| self.table.iter().try_for_each(TableConfig::check));
        optimizers.map_err(|(key, value, must)| (key, value.to_string(), must))?;
        for (i, table) in self.table.iter().enumerate() {
            if self.table[..i].iter().any(|other| other.name == table.name) {
                return Err(("table.name".into(), table.name.clone(), "stands in two [[table]]; make them one"));
            }
            if let (Some(tensor), None) = (&table.init_tensor, &table.init) {
                let key = format!("table {}: init_tensor", table.name);
                return Err((key, tensor.clone(), "needs init; name the file that has it"));
            }
        }
        if self.model.normalization() == Normalization::Batch && self.train.batch_size < 2 {
            let value = self.train.batch_size.to_string();
            return Err(("train.batch_size".into(), value, "must be 2 or more for model.normalization = \"batch\""));
        }
        for task in &self.task {
            if !(task.weight.is_finite() && task.weight >= 0.0) {
                let value = format!("{} (task {})", task.weight, task.name);
                return Err(("task.weight".into(), value, "must be 0 or more"));
            }
        }
        Ok(())
    }
}

/// Puts an override's value at its path; tables on the way are made, lists are not.
fn set(table: &mut toml::Table, o: &Override) -> Result<(), ConfigError> {
    let wrong = |reason: String| ConfigError::OverridePath { key: o.path.clone(), reason };
    let parts: Vec<&str> = o.path.split('.').map(str::trim).collect();
    let (last, parents) = parts.split_last().ok_or_else(|| wrong("is empty".into()))?;
    let mut at: &mut toml::Value = match parents.split_first() {
        None => {
            table.insert((*last).into(), o.value.clone());
            return Ok(());
        }
        Some((first, _)) => table.entry(*first).or_insert_with(|| toml::Table::new().into()),
    };
    for part in &parents[1..] {
        at = match at {
            toml::Value::Table(t) => t.entry(*part).or_insert_with(|| toml::Table::new().into()),
            toml::Value::Array(list) => element(list, part).map_err(wrong)?,
            _ => return Err(wrong(format!("{part} lies in a value that is neither a table nor a list"))),
        };
    }
    match at {
        toml::Value::Table(t) => {
            t.insert((*last).into(), o.value.clone());
        }
        toml::Value::Array(list) => *element(list, last).map_err(wrong)? = o.value.clone(),
        _ => return Err(wrong(format!("{last} lies in a value that is neither a table nor a list"))),
    }
    Ok(())
}

fn element<'a>(list: &'a mut [toml::Value], part: &str) -> Result<&'a mut toml::Value, String> {
    let len = list.len();
    let number: Option<usize> = part.parse().ok();
    number.and_then(|n| list.get_mut(n)).ok_or_else(|| format!("{part} is no place in a list of {len}"))
}

/// From serde's "unknown field `a`, expected one of `b`, `c`": the nearest of those expected.
fn nearest(message: &str) -> String {
    let Some(start) = message.find("unknown field `").or_else(|| message.find("unknown variant `")) else {
        return String::new();
    };
    let mut quoted = message[start..].split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return String::new() };
    let score = |name: &&str| (strsim::jaro_winkler(unknown, name) * 1e6) as u64;
    match quoted.max_by_key(score) {
        Some(name) if strsim::jaro_winkler(unknown, name) > 0.7 => format!("\ndid you mean `{name}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_a_toml_value_or_else_text() {
        let value = |text: &str| text.parse::<Override>().unwrap().value;
        assert_eq!(value("train.epochs=3"), 3.into());
        assert_eq!(value("model.expert_units=[1, 2]"), vec![1, 2].into());
        assert_eq!(value("model.family=ple"), "ple".into());
        assert_eq!(value("a = b=c"), "b=c".into());
        assert!("epochs".parse::<Override>().is_err());
        assert!(".a=1".parse::<Override>().is_err());
    }

    #[test]
    fn overrides_reach_into_tables_and_lists_and_make_tables() {
        let mut table: toml::Table = toml::from_str("[[task]]\nname = \"a\"\n[model]\nx = 1").unwrap();
        for text in ["task.0.weight=2.5", "model.x=2", "train.optimizer.kind=sgd", "seed=9"] {
            set(&mut table, &text.parse().unwrap()).unwrap();
        }
        let expected =
            "seed = 9\n[[task]]\nname = \"a\"\nweight = 2.5\n[model]\nx = 2\n[train.optimizer]\nkind = \"sgd\"";
        assert_eq!(table, toml::from_str(expected).unwrap());
        assert!(set(&mut table, &"task.4.weight=1".parse().unwrap()).is_err());
        assert!(set(&mut table, &"seed.x=1".parse().unwrap()).is_err());
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_valid_one() {
        let message = "unknown field `expert_unit`, expected one of `experts`, `expert_units`, `gate_units`";
        assert_eq!(nearest(message), "\ndid you mean `expert_units`?");
        assert_eq!(nearest("missing field `family`"), "");
    }
}
