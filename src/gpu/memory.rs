//! What a training will hold on a device, before any buffer is made.

use super::context::with_room_to_spare;
use super::executor::{GRADIENT_BYTES, Gpu, PREDICTION_BYTES};
use super::recorder::staging_bytes;
use crate::data::BatchSize;
use crate::kernels::{self, Place, batch_norm, embedding, loss, weight_grad};
use crate::memory::{Part, What};
use crate::optim::Rule;
use crate::plan::{Placement, Plan};

impl Gpu {
    /// Of batches of up to `batch_size` rows, one of which is of the size `batch`; `held` are the words of a data set
    /// that the device is to hold.
    pub fn memory(
        &self,
        plan: &Plan,
        rule: &Rule,
        batch_size: usize,
        batch: BatchSize,
        held: Option<usize>,
    ) -> Vec<Part> {
        let rows_of_workgroup = self.default_variants().level.rows_of_workgroup() as usize;
        let place = Place { plan, capacity: batch_size.next_multiple_of(rows_of_workgroup) };
        let (tables, dense) = (4 * plan.table_floats(Placement::Device), 4 * plan.dense.len);
        let formulas = rule.formulas(plan.input.tables.len());
        let table_state = 4 * plan.table_state_floats(&formulas, Placement::Device);
        let from_host = 4 * embedding::host_floats(plan, &formulas, batch.segments);
        let moving = plan.embedding.parameters.iter().enumerate().filter(|(t, _)| rule.table(*t).moves_others());
        let marks = moving.map(|(_, table)| table.len()).sum::<usize>();
        let statistics = 4 * (plan.statistics.len + batch_norm::moments_floats(plan, batch_size));
        let sums = 4 * plan.tasks.len() * (loss::SUMS + loss::COUNTS);
        let squares = if rule.clip_norm.is_some() { 4 * batch.segments } else { 0 };
        let (words, gathered) = kernels::batch_words(plan, batch, held.is_some());
        let rows = 4 * embedding::compact_floats(plan, batch.segments);
        let uploaded = 4 * (words - if held.is_some() { gathered } else { 0 }) + from_host;
        let returned = with_room_to_spare(from_host);
        let predictions = (16 * plan.tasks.len() * place.capacity).max(PREDICTION_BYTES);
        let slots = dense * weight_grad::slots(batch_size);
        let reports = sums + if slots as u64 <= GRADIENT_BYTES { slots } else { 0 };
        let part = |what, bytes: usize| Part { what, bytes: bytes as u64 };
        vec![
            part(What::Tables, tables),
            part(What::TableState, table_state + marks),
            part(What::Dense, dense * (1 + rule.optimizer.formula().state().len()) + slots + statistics),
            part(What::Activations, 8 * plan.arena_stride() * place.capacity),
            part(
                What::Batches,
                with_room_to_spare(4 * words)
                    + with_room_to_spare(rows + squares + from_host)
                    + staging_bytes(uploaded)
                    + sums,
            ),
            part(What::Data, 4 * held.unwrap_or(0)),
            part(What::ReadBack, predictions + returned + reports),
        ]
    }
}
