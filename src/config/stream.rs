//! `[data.stream]`: training rows that are read from files while training, for data larger than memory.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[data.stream]`: encodes all rows once into a cache on disk, and reads the training rows from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// Folder of the cache, relative to the working directory, as runs are; made where it is not there. Default:
    /// "polygate-cache".
    pub cache: PathBuf,
    /// Rows of a file of the cache. Default: 65536.
    pub shard_rows: usize,
    /// Rows that are shuffled together, in whole files of the cache; twice as many are in memory. Default: 1048576.
    pub buffer_rows: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { cache: "polygate-cache".into(), shard_rows: 1 << 16, buffer_rows: 1 << 20 }
    }
}
