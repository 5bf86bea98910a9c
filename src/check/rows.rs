//! Rows: how many, whose, and how many of them repeat.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::data::{Cells, Dataset, GroupCells, Part, Schema};

/// The rows of a part.
#[derive(Debug, Serialize)]
pub struct RowFigures {
    pub part: Part,
    pub rows: usize,
    pub groups: Option<GroupCells>,
    pub repeats: Repeats,
}

/// Rows that are alike as the model sees them: all features, encoded, and the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// Rows that an earlier row of the part equals, labels included.
    pub copies: usize,
    /// Rows to which another row of the part is alike in features and group, with other labels.
    pub contradicted: usize,
    /// Rows that a training row equals, labels included; 0 for the training rows themselves.
    pub in_train: usize,
}

pub fn figures(schema: &Schema, parts: &[(Part, &Dataset)], cells: &Cells) -> Vec<RowFigures> {
    let keys: Vec<Vec<Key>> = parts.iter().map(|(part, dataset)| keys(schema, *part, dataset, cells)).collect();
    let train: HashSet<Key> = keys.first().into_iter().flatten().copied().collect();
    let figures = parts.iter().zip(&keys).map(|((part, dataset), keys)| RowFigures {
        part: *part,
        rows: dataset.rows,
        groups: schema.group().map(|column| cells.group_cells(column, *part)),
        repeats: Repeats {
            in_train: if *part == Part::Train { 0 } else { keys.iter().filter(|key| train.contains(key)).count() },
            ..repeats(keys)
        },
    });
    figures.collect()
}

/// Hashes of 64 bits: of a row's features and group, and of these with its labels. Two rows that differ share one with
/// a probability of 2^-64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    features: u64,
    all: u64,
}

fn keys(schema: &Schema, part: Part, dataset: &Dataset, cells: &Cells) -> Vec<Key> {
    let groups: Vec<u32> = schema.group().map(|column| cells.groups(column, part).collect()).unwrap_or_default();
    let (dense, tasks) = (dataset.dense.len() / dataset.rows.max(1), schema.tasks().len());
    let key = |row: usize| {
        let mut hasher = DefaultHasher::new();
        groups.get(row).hash(&mut hasher);
        dataset.dense[row * dense..(row + 1) * dense].iter().for_each(|value| value.to_bits().hash(&mut hasher));
        for bag in &dataset.bags {
            bag.row(row).hash(&mut hasher);
            bag.weights(row).iter().for_each(|weight| weight.to_bits().hash(&mut hasher));
        }
        let features = hasher.finish();
        let labels = row * tasks..(row + 1) * tasks;
        let labels = dataset.labels[labels.clone()].iter().chain(&dataset.masks[labels]);
        labels.for_each(|value| value.to_bits().hash(&mut hasher));
        Key { features, all: hasher.finish() }
    };
    (0..dataset.rows).map(key).collect()
}

fn repeats(keys: &[Key]) -> Repeats {
    /// Rows of the same features: how many, the first one's key, and whether another differs from it.
    struct Alike {
        rows: usize,
        first: u64,
        differ: bool,
    }
    let mut by_features: HashMap<u64, Alike> = HashMap::new();
    for key in keys {
        let alike = by_features.entry(key.features).or_insert(Alike { rows: 0, first: key.all, differ: false });
        alike.rows += 1;
        alike.differ |= alike.first != key.all;
    }
    let distinct: HashSet<u64> = keys.iter().map(|key| key.all).collect();
    Repeats {
        copies: keys.len() - distinct.len(),
        contradicted: by_features.values().filter(|alike| alike.differ).map(|alike| alike.rows).sum(),
        in_train: 0,
    }
}
