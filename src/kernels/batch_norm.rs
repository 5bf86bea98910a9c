//! `shaders/batch_norm.wgsl`: batch normalisation of a phase of a level, in several dispatches. The shader says what each
//! does.

use super::level::activation_number;
use super::norm::{self, norms};
use super::{Kernel, NONE, Place, Workgroups, grid, plain, shader_struct, weight_grad};
use crate::plan::{Linear, Norm, Plan, Running};

shader_struct! {
    pub struct BatchNorm {
        pub first: u32,
        pub stride: u32,
        pub width: u32,
        pub result: u32,
        pub output: u32,
        pub activation: u32,
        pub argument: u32,
        pub dropout: u32,
        pub weight: u32,
        pub bias: u32,
        pub mean: u32,
        pub variance: u32,
        pub length: u32,
    }
}

/// A dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Moments,
    Statistics,
    Forward,
    /// Of the norms' weights and biases.
    WeightGrad,
    Slopes,
    InputGrad,
    Track,
}

impl Part {
    pub const ALL: [Self; 7] =
        [Self::Moments, Self::Statistics, Self::Forward, Self::WeightGrad, Self::Slopes, Self::InputGrad, Self::Track];
    pub const FORWARD: [Self; 3] = [Self::Moments, Self::Statistics, Self::Forward];
    pub const BACKWARD: [Self; 3] = [Self::WeightGrad, Self::Slopes, Self::InputGrad];

    pub fn kernel(self) -> Kernel {
        plain(match self {
            Self::Moments => "batch_norm_moments",
            Self::Statistics => "batch_norm_statistics",
            Self::Forward => "batch_norm_forward",
            Self::WeightGrad => "norm_weight_grad",
            Self::Slopes => "batch_norm_slopes",
            Self::InputGrad => "batch_norm_input_grad",
            Self::Track => "batch_norm_track",
        })
    }

    /// Over `columns` vec4s of columns and a batch of `rows` of up to `capacity` rows; `group` are a workgroup's invocations.
    pub fn workgroups(self, columns: u32, rows: usize, capacity: usize, group: u32) -> Workgroups {
        match self {
            Self::Moments | Self::WeightGrad => norm::workgroups(columns, capacity, group),
            Self::Statistics | Self::Slopes | Self::Track => [columns.div_ceil(group), 1],
            Self::Forward | Self::InputGrad => grid(columns as usize * rows, group),
        }
    }
}

/// Norms whose layers lie side by side, with their vec4s of columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub norms: Vec<BatchNorm>,
    /// The same for the gradients of their weights.
    pub weight_grads: Vec<norm::Norm>,
    pub columns: u32,
}

impl Phase {
    /// Of the layers that have a norm over the batch.
    pub fn new<'a>(place: Place, layers: impl Iterator<Item = &'a Linear>) -> Self {
        let plan = place.plan;
        let of_batch = layers.filter_map(|layer| {
            let norm = layer.norm.as_ref()?;
            Some((layer, norm, norm.running()?))
        });
        let of_batch: Vec<(&Linear, &Norm, Running)> = of_batch.collect();
        let (weight_grads, columns) = norms(place, of_batch.iter().map(|&(layer, norm, _)| (layer, norm)));
        let statistic = |id| (plan.statistics.get(id).offset / 4) as u32;
        let places = of_batch.into_iter().zip(&weight_grads);
        let norms = places.map(|((layer, norm, running), of_grads)| BatchNorm {
            first: of_grads.first,
            stride: of_grads.stride,
            width: place.width(layer.output),
            result: of_grads.normalised,
            output: of_grads.gradient,
            activation: activation_number(layer.activation),
            argument: layer.argument.map_or(NONE, |argument| place.start(argument)),
            dropout: layer.dropout.unwrap_or(NONE),
            weight: place.parameter(norm.weight),
            bias: place.parameter(norm.bias),
            mean: statistic(running.mean),
            variance: statistic(running.variance),
            length: (plan.statistics.len / 4) as u32,
        });
        Self { norms: norms.collect(), weight_grads, columns }
    }
}

/// vec4s of columns of all of a plan's norms: half of the running statistics.
pub fn columns(plan: &Plan) -> u32 {
    (plan.statistics.len / 8) as u32
}

/// Rows of the shader's `moments` before those of slots.
const ROWS: usize = 3;
/// Among them: the batch's means and variances; what norms go by; means of gradients.
pub const MOMENTS: usize = 0;
pub const NORMALIZERS: usize = 1;
pub const SLOPES: usize = 2;

/// Floats of the shader's `moments`, for batches of up to `capacity` rows.
pub fn moments_floats(plan: &Plan, capacity: usize) -> usize {
    plan.statistics.len * (ROWS + weight_grad::slots(capacity))
}
