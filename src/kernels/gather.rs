//! `shaders/gather.wgsl`: a data set as the device holds it, and batches gathered from it.

use super::{Workgroups, grid};
use crate::data::Dataset;
use crate::plan::Plan;

/// Words that a data set takes on a device: ids stay on the host, which sorts them.
pub fn words(dataset: &Dataset) -> usize {
    dataset.dense.len() + dataset.labels.len() + dataset.masks.len()
}

/// A data set as the device holds it, row by row. Its [`words`] must be fewer than 2^32.
pub fn lay_out(dataset: &Dataset) -> Vec<u32> {
    let mut held = Vec::with_capacity(words(dataset));
    let matrices = [&dataset.dense, &dataset.labels, &dataset.masks];
    for row in 0..dataset.rows {
        for matrix in matrices {
            let width = matrix.len() / dataset.rows;
            held.extend_from_slice(bytemuck::cast_slice(&matrix[row * width..][..width]));
        }
    }
    held
}

/// An invocation per number of a row.
pub fn workgroups(plan: &Plan, rows: usize, group: u32) -> Workgroups {
    grid(rows * (plan.input.dense_fields() + 2 * plan.tasks.len()), group)
}
