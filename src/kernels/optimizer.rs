//! `shaders/optimizer.wgsl`: adding up the slots of the weight gradients, and the update.

use super::{Place, Workgroups, grid};

/// An invocation per vec4 of the dense block.
pub fn workgroups(place: Place, group: u32) -> Workgroups {
    grid(place.plan.dense.len / 4, group)
}
