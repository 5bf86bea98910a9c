//! `shaders/gather.wgsl`: a data set as the device holds it, and batches gathered from it.

use super::{NONE, Workgroups, grid, shader_struct};
use crate::data::{BagColumn, Dataset};
use crate::plan::Plan;

shader_struct! {
    pub struct Source {
        pub ids: u32,
        pub starts: u32,
    }
}

/// A data set as one run of words, with where its bag fields are.
pub struct HeldWords {
    pub words: Vec<u32>,
    /// One per bag field.
    pub sources: Vec<Source>,
}

/// Words that a data set takes on a device.
pub fn words(dataset: &Dataset) -> usize {
    let bags = dataset.bags.iter().map(|bags| match bags {
        BagColumn::One(ids) => ids.len(),
        BagColumn::Many { starts, ids } => starts.len() + ids.len(),
    });
    dataset.dense.len() + dataset.labels.len() + dataset.masks.len() + bags.sum::<usize>()
}

/// Lays out a data set. Its [`words`] must be fewer than 2^32.
pub fn lay_out(dataset: &Dataset) -> HeldWords {
    let mut held = HeldWords { words: Vec::with_capacity(words(dataset)), sources: Vec::new() };
    let matrices = [&dataset.dense, &dataset.labels, &dataset.masks];
    for row in 0..dataset.rows {
        for matrix in matrices {
            let width = matrix.len() / dataset.rows;
            held.words.extend_from_slice(bytemuck::cast_slice(&matrix[row * width..][..width]));
        }
    }
    for bags in &dataset.bags {
        let mut append = |words: &[u32]| {
            held.words.extend_from_slice(words);
            (held.words.len() - words.len()) as u32
        };
        held.sources.push(match bags {
            BagColumn::One(ids) => Source { ids: append(ids), starts: NONE },
            BagColumn::Many { starts, ids } => Source { ids: append(ids), starts: append(starts) },
        });
    }
    held
}

/// An invocation per number of a row, and one per bag.
pub fn workgroups(plan: &Plan, rows: usize, group: u32) -> Workgroups {
    grid(rows * (plan.input.fields.len() + 2 * plan.tasks.len()), group)
}
