//! What the device `cpu` holds of a plan.

use super::{BLOCK_ROWS, largest, transposed};
use crate::memory::{Part, What};
use crate::optim::Rule;
use crate::plan::{Placement, Plan};

/// To train in batches of `batch_size` rows in single precision.
pub fn memory(plan: &Plan, rule: &Rule, batch_size: usize) -> Vec<Part> {
    let part = |what, floats: usize| Part { what, bytes: 4 * floats as u64 };
    let arrays = rule.optimizer.formula().state().len();
    let formulas = rule.formulas(plan.input.tables.len());
    let table_state = [Placement::Device, Placement::Host].map(|p| plan.table_state_floats(&formulas, p)).iter().sum();
    let rows = batch_size.next_multiple_of(BLOCK_ROWS);
    // Running ones, the batch's, and each block's part in them.
    let statistics = plan.statistics.len * (4 + rows / BLOCK_ROWS);
    vec![
        part(What::Tables, plan.embedding.len),
        part(What::TableState, table_state),
        // With their gradients and the weights turned around.
        part(What::Dense, plan.dense.len * (2 + arrays) + transposed::floats(plan) + statistics),
        part(What::Activations, 2 * plan.arena_stride() * rows + largest::words(plan, batch_size)),
    ]
}
