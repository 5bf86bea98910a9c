//! What a sample brings to the first level: embedding tables, and the fields that make up a row of the input slot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the vectors of a bag of ids become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    #[default]
    Mean,
    Sum,
}

/// Where an embedding table lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the device's memory.
    #[default]
    Device,
    /// In the host's memory; the rows of a batch travel. On the device `cpu` that is the same.
    Host,
}

/// An embedding table of `rows` vectors of `dim` floats. Row 0 is for unknown and missing ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub rows: usize,
    pub dim: usize,
}

/// One field of the input. A row of the input slot is its fields' values, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Field {
    /// One float.
    Dense { name: String },
    /// A bag of ids of `tables[table]`, pooled to `dim` floats. An empty bag gives zeros.
    Bag { name: String, table: usize, pooling: Pooling },
}

/// The input side of a plan: tables, and fields in the order of the input slot's columns.
///
/// The dense fields of a batch and its bag fields are each numbered apart, in the order in which they stand in `fields`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub tables: Vec<Table>,
    pub fields: Vec<Field>,
}
