//! `shaders/optimizer.wgsl`: adding up the slots of the weight gradients, and the update.

use super::{Place, Workgroups};

/// An invocation per vec4 of the dense block.
pub fn workgroups(place: Place, group: u32) -> Workgroups {
    [((place.plan.dense.len / 4) as u32).div_ceil(group), 1]
}
