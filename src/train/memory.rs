//! What a run will hold in memory, before it is made.

use super::Prepared;
use crate::data::{BATCHES_AT_ONCE, BatchSize};
use crate::device::Device;
use crate::gpu::AdapterSummary;
use crate::kernels::{self, gather};
use crate::memory::{Holding, Memory, Part, What, host_room};
use crate::reference;

impl Prepared {
    /// What training will hold on a device and beside it. What the process itself takes is left out.
    pub fn memory(&self, device: &Device) -> Memory {
        let (plan, rule, batch_size) = (&*self.plan, self.rule(), self.config.train.batch_size);
        let batch = BatchSize::expected(&plan.input, &self.train, batch_size);
        let sets = [Some(&self.train), self.valid.as_ref(), self.test.as_ref()];
        let part = |what, bytes: usize| Part { what, bytes: bytes as u64 };
        let (words, _) = kernels::batch_words(plan, batch, false);
        let mut host = Holding {
            parts: vec![
                part(What::Data, sets.into_iter().flatten().map(|set| set.bytes()).sum()),
                part(What::Batches, 4 * words * BATCHES_AT_ONCE),
            ],
            room: host_room(),
        };
        let Some(gpu) = device.gpu() else {
            let largest = plan.parameters().map(|p| 4 * p.rows * p.cols).max();
            host.parts.extend(reference::memory(plan, &rule, batch_size));
            host.parts.push(part(What::Copies, largest.unwrap_or(0)));
            return Memory { adapter: None, host };
        };
        // The parameters until they are on the adapter.
        host.parts.push(part(What::Copies, 4 * (plan.embedding.len + plan.dense.len)));
        let held = gather::words(&self.train);
        let most = self.most_held_bytes().min(gpu.most_held_bytes());
        let held = (4 * held as u64 <= most).then_some(held);
        let parts = gpu.memory(plan, &rule, batch_size, batch, held);
        // Software adapters live in the host's memory, whatever they tell.
        let room = |adapter: &AdapterSummary| if adapter.kind == "software" { host_room() } else { adapter.memory };
        let room = device.adapter.as_ref().and_then(room);
        Memory { adapter: Some(Holding { parts, room }), host }
    }
}
