//! What a training will hold on a device, before any buffer is made.

use super::context::with_room_to_spare;
use super::executor::{Gpu, PREDICTION_BYTES};
use super::recorder::staging_bytes;
use crate::data::BatchSize;
use crate::kernels::{self, Place, batch_norm, embedding, loss, weight_grad};
use crate::memory::{Part, What};
use crate::optim::Rule;
use crate::plan::Plan;

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
        let (tables, dense) = (4 * plan.embedding.len, 4 * plan.dense.len);
        let table_state = 4 * plan.table_state_floats(&rule.formulas(plan.input.tables.len()));
        let moving = plan.embedding.parameters.iter().enumerate().filter(|(t, _)| rule.table(*t).moves_others());
        let marks = moving.map(|(_, table)| table.len()).sum::<usize>();
        let statistics = 4 * (plan.statistics.len + batch_norm::moments_floats(plan, batch_size));
        let sums = 4 * plan.tasks.len() * (loss::SUMS + loss::COUNTS);
        let (words, gathered) = kernels::batch_words(plan, batch, held.is_some());
        let rows = 4 * embedding::compact_floats(plan, batch.segments);
        let uploaded = 4 * (words - if held.is_some() { gathered } else { 0 });
        let predictions = (16 * plan.tasks.len() * place.capacity).max(PREDICTION_BYTES);
        let part = |what, bytes: usize| Part { what, bytes: bytes as u64 };
        vec![
            part(What::Tables, tables),
            part(What::TableState, table_state + marks),
            part(
                What::Dense,
                dense * (1 + rule.optimizer.formula().state().len() + weight_grad::slots(batch_size)) + statistics,
            ),
            part(What::Activations, 8 * plan.arena_stride() * place.capacity),
            part(
                What::Batches,
                with_room_to_spare(4 * words) + with_room_to_spare(rows) + staging_bytes(uploaded) + sums,
            ),
            part(What::Data, 4 * held.unwrap_or(0)),
            part(What::ReadBack, predictions),
        ]
    }
}
