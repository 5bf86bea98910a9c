//! `shaders/weight_grad.wgsl`: gradients of all weights and biases in one dispatch.

use super::variant::WeightGradVariant;
use super::{NONE, Place, Workgroups, shader_struct};

shader_struct! {
    pub struct Layer {
        pub first_tile: u32,
        pub across: u32,
        pub input: u32,
        pub input_stride: u32,
        pub gradient: u32,
        pub gradient_stride: u32,
        pub width: u32,
        pub weight: u32,
        pub bias: u32,
    }
}

/// Rows that one slot sums over, until there are [`MOST_SLOTS`].
const SLOT_ROWS: usize = 256;
const MOST_SLOTS: usize = 16;

/// Rows of a slot for batches of up to `capacity` rows. Depends on that alone, so that a sum's order does too.
pub fn slot_rows(capacity: usize) -> usize {
    capacity.div_ceil(MOST_SLOTS).max(SLOT_ROWS)
}

pub fn slots(capacity: usize) -> usize {
    capacity.div_ceil(slot_rows(capacity))
}

/// Every linear layer of the model with its tiles, and the number of tiles.
pub fn layers(place: Place, variant: WeightGradVariant) -> (Vec<Layer>, u32) {
    let (down, mut right) = (variant.tile.rows / 4, variant.tile.columns / 4);
    if variant.tile.shared {
        right *= variant.lanes;
    }
    let mut tiles = 0;
    let mut layers = Vec::new();
    for layer in place.plan.layers() {
        let (input_stride, gradient_stride) = (place.stride(layer.input), place.stride(layer.output));
        let across = input_stride.div_ceil(right);
        layers.push(Layer {
            first_tile: tiles,
            across,
            input: place.start(layer.input),
            input_stride,
            gradient: place.start(layer.result()),
            gradient_stride,
            width: place.width(layer.output),
            weight: place.parameter(layer.weight),
            bias: layer.bias.map_or(NONE, |b| place.parameter(b)),
        });
        tiles += gradient_stride.div_ceil(down) * across;
    }
    (layers, tiles)
}

/// Tiles along x, slots along y.
pub fn workgroups(tiles: u32, capacity: usize, variant: WeightGradVariant) -> Workgroups {
    let groups = if variant.tile.shared { tiles } else { tiles.div_ceil(variant.lanes) };
    [groups, slots(capacity) as u32]
}
