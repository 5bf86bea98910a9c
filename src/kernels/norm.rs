//! `shaders/norm.wgsl`: gradients of norms' weights and biases in one dispatch.

use super::{Place, Workgroups, shader_struct, weight_grad};
use crate::plan::{self, Linear};

shader_struct! {
    pub struct Norm {
        pub first: u32,
        pub stride: u32,
        pub normalised: u32,
        pub gradient: u32,
        pub weight: u32,
        pub bias: u32,
    }
}

/// Some of a plan's norms with their layers, and their vec4s of columns.
pub fn norms<'a>(place: Place, of: impl Iterator<Item = (&'a Linear, &'a plan::Norm)>) -> (Vec<Norm>, u32) {
    let mut columns = 0;
    let mut norms = Vec::new();
    for (layer, norm) in of {
        let stride = place.stride(layer.output);
        norms.push(Norm {
            first: columns,
            stride,
            normalised: place.start(norm.normalised),
            gradient: place.start(layer.output),
            weight: place.parameter(norm.weight),
            bias: place.parameter(norm.bias),
        });
        columns += stride;
    }
    (norms, columns)
}

/// An invocation per vec4 of columns along x, slots along y.
pub fn workgroups(columns: u32, capacity: usize, group: u32) -> Workgroups {
    [columns.div_ceil(group), weight_grad::slots(capacity) as u32]
}
