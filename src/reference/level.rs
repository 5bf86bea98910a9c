//! Experts, gates and their mixing, and the gradients. The towers are a level too.

use std::ops::Range;

use super::activation::{activate_rows, through_activation};
use super::arena::{Arena, matrix, matrix_mut, vector, weight};
use super::batch_norm::{self, Statistics};
use super::dropout::{Drop, drop_rows, through_dropout};
use super::matmul::{Write, a_b};
use super::norm::{norm_forward, norm_input_grad};
use super::real::Real;
use super::transposed::Transposed;
use super::vector::{add_scaled, dot};
use crate::plan::{Activation, Concat, Gate, Level, Linear, Masks, Mlp, Over, Plan, TensorId};

/// The values and gradients of a block of rows that a level works on.
pub struct Rows<'a, T> {
    pub plan: &'a Plan,
    /// The dense block of parameters.
    pub dense: &'a [T],
    /// Its weights turned around.
    pub transposed: &'a Transposed<T>,
    pub values: &'a mut Arena<T>,
    /// Of the loss: by each layer's activation's argument in the place of its output, by each linear map's result in that of
    /// [`Linear::result`], and by each slot's value.
    pub grads: &'a mut Arena<T>,
    pub rows: usize,
    /// The first one's number in the batch.
    pub first_row: usize,
    /// None where nothing is dropped.
    pub masks: Option<Masks>,
    /// The columns of the input slot with respect to which the gradient is computed.
    pub input_columns: &'a [Range<usize>],
    /// What norms over batches compute with.
    pub statistics: &'a Statistics<T>,
    /// These rows' part in the batch's statistics, laid out like them.
    pub partials: &'a mut [T],
}

pub fn level_forward<T: Real>(level: &Level, r: &mut Rows<T>) {
    for layer in level.mlps().flat_map(|mlp| &mlp.layers) {
        linear_forward(layer, r);
        behind_linear_forward(layer, r);
    }
    gates_forward(level, r);
}

/// What follows a level's MLPs.
pub fn gates_forward<T: Real>(level: &Level, r: &mut Rows<T>) {
    for gate in &level.gates {
        softmax(gate, r);
        mix(level, gate, r);
    }
    if let Some(concat) = &level.concat {
        for_each_part(level, concat, r.plan, |expert, column| {
            let width = r.plan.tensor(expert).width;
            let (from, to) = r.values.pair(r.plan, expert, concat.output, r.rows);
            let strides = (r.plan.tensor(expert).stride, r.plan.tensor(concat.output).stride);
            for (from, to) in from.chunks(strides.0).zip(to.chunks_mut(strides.1)) {
                to[column..column + width].copy_from_slice(&from[..width]);
            }
        });
    }
}

/// Computes the gradients with respect to the level's inputs from those with respect to its outputs, and every linear
/// layer's on the way.
pub fn level_input_grad<T: Real>(level: &Level, r: &mut Rows<T>) {
    gates_grad(level, r);
    for mlp in level.mlps() {
        for (i, layer) in mlp.layers.iter().enumerate().rev() {
            activation_grad(layer, r);
            norm_grad(layer, r);
            if i > 0 {
                linear_input_grad(layer, Write::Replace, r);
            }
        }
        slot_grad(level, mlp, r);
    }
}

/// Gradients by the outputs of a level's MLPs.
pub fn gates_grad<T: Real>(level: &Level, r: &mut Rows<T>) {
    for expert in &level.experts {
        // What a later block read directly has its gradient there already.
        if !r.plan.is_read_outside(level, expert.output()) && !is_logit(level, r.plan) {
            r.grads.get_mut(r.plan, expert.output(), r.rows).fill(T::ZERO);
        }
    }
    if let Some(concat) = &level.concat {
        for_each_part(level, concat, r.plan, |expert, column| {
            let width = r.plan.tensor(expert).width;
            let (from, to) = r.grads.pair(r.plan, concat.output, expert, r.rows);
            let strides = (r.plan.tensor(concat.output).stride, r.plan.tensor(expert).stride);
            for (from, to) in from.chunks(strides.0).zip(to.chunks_mut(strides.1)) {
                to.iter_mut().zip(&from[column..column + width]).for_each(|(to, &from)| *to += from);
            }
        });
    }
    for gate in &level.gates {
        mix_grad(level, gate, r);
    }
}

/// Adds an MLP's part to the gradient with respect to its input; the first MLP that reads the input replaces what was
/// there.
pub fn slot_grad<T: Real>(level: &Level, mlp: &Mlp, r: &mut Rows<T>) {
    let is_first =
        level.mlps().find(|first| first.input() == mlp.input()).is_some_and(|first| std::ptr::eq(first, mlp));
    let (layer, write) = (&mlp.layers[0], if is_first { Write::Replace } else { Write::Add });
    if mlp.input() != r.plan.input_slot {
        return linear_input_grad(layer, write, r);
    }
    for columns in r.input_columns {
        linear_column_grad(layer, columns.clone(), write, r);
    }
}

/// The towers' outputs are the logits, whose gradients the loss has written.
fn is_logit(level: &Level, plan: &Plan) -> bool {
    std::ptr::eq(level, &plan.towers)
}

/// The linear map. Its bias is left to what follows, unless that is a norm.
pub fn linear_forward<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    let (t, result) = (r.plan.tensor(layer.output), layer.result());
    let bias = if layer.norm.is_some() { bias(layer, r) } else { None };
    let w = r.transposed.weight(r.plan, layer.weight);
    let (input, output) = r.values.pair(r.plan, layer.input, result, r.rows);
    let x = matrix(r.plan.tensor(layer.input), input, r.rows);
    a_b(x, w, matrix_mut(r.plan.tensor(result), output, r.rows), Write::Replace);
    activate_rows(Activation::Identity, bias, output, t.width, t.stride);
}

fn bias<'a, T>(layer: &Linear, r: &Rows<'a, T>) -> Option<&'a [T]> {
    layer.bias.map(|bias| vector(&r.plan.dense, r.dense, bias))
}

/// What follows a linear map: its norm or its bias, the activation and dropout.
pub fn behind_linear_forward<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    let t = r.plan.tensor(layer.output);
    let bias = if layer.norm.is_none() { bias(layer, r) } else { None };
    if let Some(norm) = &layer.norm {
        match norm.over {
            Over::Row { inverse_deviation } => norm_forward(norm, inverse_deviation, layer, r),
            Over::Batch(running) => batch_norm::forward(norm, running, layer, r),
        }
    }
    let output = r.values.get_mut(r.plan, layer.output, r.rows);
    match layer.argument {
        Some(argument) => {
            activate_rows(Activation::Identity, bias, output, t.width, t.stride);
            let (output, argument) = r.values.pair(r.plan, layer.output, argument, r.rows);
            argument.copy_from_slice(output);
            activate_rows(layer.activation, None, r.values.get_mut(r.plan, layer.output, r.rows), t.width, t.stride);
        }
        None => activate_rows(layer.activation, bias, output, t.width, t.stride),
    }
    if let Some(drop) = dropout(layer, r) {
        drop_rows(drop, r.values.get_mut(r.plan, layer.output, r.rows), t.stride);
    }
}

/// The layer's dropout over these rows, if it has one.
fn dropout<T>(layer: &Linear, r: &Rows<T>) -> Option<Drop> {
    let (masks, layer) = (r.masks?, layer.dropout?);
    Some(Drop { masks, layer, first_row: r.first_row })
}

/// `weights = softmax(scores)`, with the maximum taken off first.
fn softmax<T: Real>(gate: &Gate, r: &mut Rows<T>) {
    let t = r.plan.tensor(gate.weights);
    let (scores, weights) = r.values.pair(r.plan, gate.score.output(), gate.weights, r.rows);
    for (scores, weights) in scores.chunks(t.stride).zip(weights.chunks_mut(t.stride)) {
        let scores = &scores[..t.width];
        let largest = scores.iter().copied().fold(scores[0], Real::max);
        for (w, &s) in weights.iter_mut().zip(scores) {
            *w = (s - largest).exp();
        }
        let sum: T = weights[..t.width].iter().copied().sum();
        weights[..t.width].iter_mut().for_each(|w| *w = *w / sum);
    }
}

/// `output = sum over e of weights_e * expert_e`.
fn mix<T: Real>(level: &Level, gate: &Gate, r: &mut Rows<T>) {
    let (w, o) = (r.plan.tensor(gate.weights), r.plan.tensor(gate.output));
    for (e, &expert) in gate.sees.iter().enumerate() {
        let [weights, expert, output] =
            r.values.many(r.plan, [gate.weights, level.experts[expert].output(), gate.output], r.rows);
        mix_expert(e, weights, w.stride, expert, output, o.stride);
    }
}

/// From `d output`: `d expert_e += weights_e * d output`, `d weights_e = <d output, expert_e>`, and through the
/// softmax `d score_e = weights_e * (d weights_e - sum over f of weights_f * d weights_f)`.
fn mix_grad<T: Real>(level: &Level, gate: &Gate, r: &mut Rows<T>) {
    let (s, o) = (r.plan.tensor(gate.score.output()), r.plan.tensor(gate.output));
    let weights = r.values.get(r.plan, gate.weights, r.rows);
    for (e, &expert) in gate.sees.iter().enumerate() {
        let expert = level.experts[expert].output();
        let [d_score, d_output, d_expert] = r.grads.many(r.plan, [gate.score.output(), gate.output, expert], r.rows);
        let expert = r.values.get(r.plan, expert, r.rows);
        mix_expert_grad((e, s.stride, o.width, o.stride), (weights, expert), d_output, d_score, d_expert);
    }
    let d_scores = r.grads.get_mut(r.plan, gate.score.output(), r.rows);
    for (d, w) in d_scores.chunks_mut(s.stride).zip(weights.chunks(s.stride)) {
        let mean: T = d[..s.width].iter().zip(w).map(|(&d, &w)| d * w).sum();
        d[..s.width].iter_mut().zip(w).for_each(|(d, &w)| *d = w * (*d - mean));
    }
}

vectorized! {
    /// The part of one expert in the mix; the first one clears what was there.
    fn mix_expert<T: Real>(e: usize, weights: &[T], sees: usize, expert: &[T], output: &mut [T], stride: usize) {
        let rows = weights.chunks(sees).zip(expert.chunks(stride)).zip(output.chunks_mut(stride));
        for ((weights, expert), output) in rows {
            if e == 0 {
                output.fill(T::ZERO);
            }
            add_scaled(output, weights[e], expert);
        }
    }

    /// The gradients by one expert and by its weight, from `values` (weights, the expert) and `d output`. `shape` is the
    /// expert's place in the gate, the stride of the weights, and width and stride of the mix.
    fn mix_expert_grad<T: Real>(
        shape: (usize, usize, usize, usize),
        values: (&[T], &[T]),
        d_output: &[T],
        d_score: &mut [T],
        d_expert: &mut [T],
    ) {
        let (e, sees, width, stride) = shape;
        let (weights, expert) = values;
        let rows = d_output.chunks(stride).zip(expert.chunks(stride)).zip(d_expert.chunks_mut(stride));
        let rows = rows.zip(weights.chunks(sees)).zip(d_score.chunks_mut(sees));
        for ((((d_output, expert), d_expert), weights), d_score) in rows {
            d_score[e] = dot(&d_output[..width], &expert[..width]);
            add_scaled(&mut d_expert[..width], weights[e], &d_output[..width]);
        }
    }
}

/// From the gradient by a layer's output to that by its activation's argument, in place.
pub fn activation_grad<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    let drop = dropout(layer, r);
    let y = r.values.get(r.plan, layer.output, r.rows);
    let z = r.values.get(r.plan, layer.argument.unwrap_or(layer.output), r.rows);
    let d = r.grads.get_mut(r.plan, layer.output, r.rows);
    match drop {
        None => through_activation(layer.activation, d, y, z),
        Some(drop) => through_dropout(drop, layer.activation, d, y, z, r.plan.tensor(layer.output).stride),
    }
}

/// From there to that by the linear map's result, if a norm lies between.
pub fn norm_grad<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    let Some(norm) = &layer.norm else { return };
    match norm.over {
        Over::Row { inverse_deviation } => norm_input_grad(norm, inverse_deviation, layer, r),
        Over::Batch(running) => batch_norm::input_grad(norm, running, layer, r),
    }
}

/// From there to that by the layer's input.
pub fn linear_input_grad<T: Real>(layer: &Linear, write: Write, r: &mut Rows<T>) {
    linear_column_grad(layer, 0..r.plan.tensor(layer.input).width, write, r);
}

/// The same for some columns of the input.
fn linear_column_grad<T: Real>(layer: &Linear, columns: Range<usize>, write: Write, r: &mut Rows<T>) {
    let w = weight(&r.plan.dense, r.dense, layer.weight).columns(columns.clone());
    let (dz, dx) = r.grads.pair(r.plan, layer.result(), layer.input, r.rows);
    let dz = matrix(r.plan.tensor(layer.result()), dz, r.rows);
    a_b(dz, w, matrix_mut(r.plan.tensor(layer.input), dx, r.rows).columns(columns), write);
}

/// Calls `f` with each expert's output and its first column in the concatenation.
fn for_each_part(level: &Level, concat: &Concat, plan: &Plan, mut f: impl FnMut(TensorId, usize)) {
    let mut column = 0;
    for &e in &concat.experts {
        let expert = level.experts[e].output();
        f(expert, column);
        column += plan.tensor(expert).width;
    }
}
