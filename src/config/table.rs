//! `[[table]]`: what holds for one embedding table.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[table]]`. Tables come from features; this says more about one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The table: a feature's name, or the `table` that features share.
    #[schemars(example = &"video_id")]
    pub name: String,
    /// A safetensors file with the table's first vectors, `[rows, embedding_dim]`, relative to the data directory.
    /// Default: small random ones.
    #[serde(default)]
    #[schemars(example = &"video.safetensors")]
    pub init: Option<PathBuf>,
    /// The tensor of `init`. Default: `embedding.<name>.weight`, or else the file's only tensor.
    #[serde(default)]
    #[schemars(example = &"vectors")]
    pub init_tensor: Option<String>,
}
