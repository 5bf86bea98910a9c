//! Rows encoded once into compact columns.

/// Encoded rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    pub rows: usize,
    /// [rows, dense fields]
    pub dense: Vec<f32>,
    /// One for each bag field, in the order of the fields.
    pub bags: Vec<BagColumn>,
    /// [rows, tasks]; 0 where the mask is 0.
    pub labels: Vec<f32>,
    /// [rows, tasks]; 1 counts, 0 does not.
    pub masks: Vec<f32>,
    /// The group of each row, numbered by first appearance. A row without one has a group of its own.
    pub groups: Option<Vec<u32>>,
    /// Columns kept as text: name, and the text of each row as the file has it.
    pub kept: Vec<(String, Vec<String>)>,
}

/// The table rows of one bag field.
#[derive(Clone, Debug, PartialEq)]
pub enum BagColumn {
    /// One id a row.
    One(Vec<u32>),
    /// Row r has `ids[starts[r]..starts[r + 1]]`; `starts` has rows + 1 entries. `weights` are those of the ids, in a
    /// field that has weights, else empty.
    Many { starts: Vec<u32>, ids: Vec<u32>, weights: Vec<f32> },
}

impl BagColumn {
    /// The ids of a row.
    pub fn row(&self, row: usize) -> &[u32] {
        match self {
            Self::One(ids) => &ids[row..=row],
            Self::Many { starts, ids, .. } => &ids[starts[row] as usize..starts[row + 1] as usize],
        }
    }

    /// The weights of a row's ids; empty in a field without weights.
    pub fn weights(&self, row: usize) -> &[f32] {
        match self {
            Self::Many { starts, weights, .. } if !weights.is_empty() => {
                &weights[starts[row] as usize..starts[row + 1] as usize]
            }
            _ => &[],
        }
    }
}
