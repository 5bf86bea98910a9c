//! `shaders/clip.wgsl`: the norm of all gradients, and clipping them by it.

use super::{Place, Workgroups, grid, shader_struct, weight_grad};
use crate::plan::Plan;

shader_struct! {
    pub struct Clip {
        pub most: f32,
        pub segments: u32,
        pub parts: u32,
    }
}

shader_struct! {
    pub struct Norm {
        pub norm: f32,
        pub factor: f32,
    }
}

/// Parts of the sum of squares: enough to keep a large GPU busy, few enough for one workgroup to add up.
pub const MOST_PARTS: usize = 1 << 14;

impl Clip {
    /// For a batch of so many segments, and norms of up to `most`.
    pub fn new(plan: &Plan, segments: usize, most: f64) -> Self {
        let parts = (plan.dense.len / 4).max(segments).clamp(1, MOST_PARTS);
        Self { most: most as f32, segments: segments as u32, parts: parts as u32 }
    }

    /// An invocation per part.
    pub fn part_workgroups(&self, group: u32) -> Workgroups {
        grid(self.parts as usize, group)
    }
}

/// An invocation per vec4 of the slots and of the input slot.
pub fn gradient_workgroups(place: Place, batch_size: usize, rows: usize, group: u32) -> Workgroups {
    let dense = weight_grad::slots(batch_size) * place.plan.dense.len / 4;
    grid(dense + rows * place.stride(place.plan.input_slot) as usize, group)
}
