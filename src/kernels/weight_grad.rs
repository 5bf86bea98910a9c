//! `shaders/weight_grad.wgsl`: gradients of all weights and biases in one dispatch.

use super::{NONE, Place, Workgroups, shader_struct};

shader_struct! {
    pub struct Layer {
        pub first_tile: u32,
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

/// Every linear layer of the model with its tiles of 8 x 8 weights, and the number of tiles.
pub fn layers(place: Place) -> (Vec<Layer>, u32) {
    let mut tiles = 0;
    let mut layers = Vec::new();
    for layer in place.plan.blocks().flat_map(|level| level.mlps()).flat_map(|mlp| &mlp.layers) {
        let (input_stride, gradient_stride) = (place.stride(layer.input), place.stride(layer.output));
        layers.push(Layer {
            first_tile: tiles,
            input: place.start(layer.input),
            input_stride,
            gradient: place.start(layer.output),
            gradient_stride,
            width: place.width(layer.output),
            weight: place.parameter(layer.weight),
            bias: layer.bias.map_or(NONE, |b| place.parameter(b)),
        });
        tiles += gradient_stride.div_ceil(2) * input_stride.div_ceil(2);
    }
    (layers, tiles)
}

/// Tiles along x, slots along y.
pub fn workgroups(tiles: u32, capacity: usize, group: u32) -> Workgroups {
    [tiles.div_ceil(group), slots(capacity) as u32]
}
