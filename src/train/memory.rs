//! What a run will hold in memory, before it is made.

use super::Prepared;
use crate::checkpoint;
use crate::data::{BatchSize, TrainRows, batches_at_once};
use crate::device::Device;
use crate::gpu::AdapterSummary;
use crate::kernels::{self, gather};
use crate::memory::{Holding, Memory, Part, What, host_room, process_bytes};
use crate::plan::Placement;
use crate::reference;

impl Prepared {
    /// What training will hold on a device and beside it.
    pub fn memory(&self, device: &Device) -> Memory {
        let (plan, rule, batch_size) = (&*self.plan, self.rule(), self.config.train.batch_size);
        let (batch, train_bytes, read) = match &self.train {
            TrainRows::Memory(train) => {
                (BatchSize::expected(&plan.input, train, batch_size), train.bytes(), train.bytes())
            }
            TrainRows::Shards(shards) => {
                let stream = shards.memory(batch_size);
                let batch = BatchSize::at_most(&plan.input, batch_size.min(shards.rows()), shards.row_bytes());
                (batch, 2 * (stream.window + stream.shard), 0)
            }
        };
        let others = [&self.valid, &self.test].into_iter().flatten().map(|set| set.bytes()).sum::<u64>();
        let program = process_bytes().unwrap_or(0).saturating_sub(read + others);
        let part = |what, bytes: usize| Part { what, bytes: bytes as u64 };
        let (words, _) = kernels::batch_words(plan, batch, false);
        // At an epoch's end, rows in memory have batches to be judged by beside those of the next epoch.
        let epochs = if matches!(self.train, TrainRows::Memory(_)) { 2 } else { 1 };
        let mut host = Holding {
            parts: vec![
                Part { what: What::Program, bytes: program },
                Part { what: What::Data, bytes: train_bytes + others },
                part(What::Batches, 4 * words * epochs * batches_at_once(&self.train)),
            ],
            room: host_room(),
        };
        // Of a file's, on its way.
        let piece = plan.parameters().map(|p| 4 * p.len()).max().unwrap_or(0).min(checkpoint::PIECE_BYTES);
        let Some(gpu) = device.gpu() else {
            host.parts.extend(reference::memory(plan, &rule, batch_size));
            host.parts.push(part(What::Copies, piece));
            return Memory { adapter: None, host };
        };
        let formulas = rule.formulas(plan.input.tables.len());
        host.parts.push(part(What::Tables, 4 * plan.table_floats(Placement::Host)));
        host.parts.push(part(What::TableState, 4 * plan.table_state_floats(&formulas, Placement::Host)));
        let most = self.most_held_bytes().min(gpu.most_held_bytes());
        let held = match &self.train {
            TrainRows::Memory(train) => Some(gather::words(train)).filter(|&words| 4 * words as u64 <= most),
            TrainRows::Shards(_) => None,
        };
        let parts = gpu.memory(plan, &rule, batch_size, batch, held);
        // Software adapters live in the host's memory, whatever they tell.
        let room = |adapter: &AdapterSummary| if adapter.kind == "software" { host_room() } else { adapter.memory };
        let room = device.adapter.as_ref().and_then(room);
        // The parameters until they are on the adapter. The optimizer's state comes after, and where the adapter's memory is
        // the host's it takes their place.
        let copies = 4 * (plan.table_floats(Placement::Device) + plan.dense.len) as u64;
        let is_shared = device.adapter.as_ref().is_some_and(|adapter| adapter.kind == "software");
        let state = parts.iter().filter(|part| part.what == What::TableState).map(|part| part.bytes).sum::<u64>();
        let bytes = copies.saturating_sub(if is_shared { state } else { 0 }).max(piece as u64);
        host.parts.push(Part { what: What::Copies, bytes });
        Memory { adapter: Some(Holding { parts, room }), host }
    }
}
