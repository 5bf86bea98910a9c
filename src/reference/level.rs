//! Experts, gates and their mixing, and the gradients. The towers are a level too.

use super::activation::{activate, derivative};
use super::arena::{Arena, matrix, matrix_mut, weight};
use super::matmul::{MatrixMut, Write, a_b, a_bt, at_b};
use super::real::Real;
use crate::plan::{Activation, Concat, Gate, Level, Linear, Mlp, Plan, TensorId};

/// The values and gradients of a block of rows that a level works on.
pub struct Rows<'a, T> {
    pub plan: &'a Plan,
    /// The dense block of parameters.
    pub dense: &'a [T],
    pub values: &'a mut Arena<T>,
    /// Of the loss, by each linear layer's result before its activation, and by each slot's value.
    pub grads: &'a mut Arena<T>,
    pub rows: usize,
}

pub fn level_forward<T: Real>(level: &Level, r: &mut Rows<T>) {
    for mlp in level.mlps() {
        mlp.layers.iter().for_each(|layer| linear_forward(layer, r));
    }
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

/// Gradients by the level's inputs, from those by its outputs. Writes every linear layer's on the way.
pub fn level_input_grad<T: Real>(level: &Level, r: &mut Rows<T>) {
    for input in level.inputs() {
        r.grads.get_mut(r.plan, input, r.rows).fill(T::ZERO);
    }
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
    for mlp in level.mlps() {
        mlp_input_grad(mlp, r);
    }
}

/// Adds the gradients of every weight and bias of the level to `grads`, a dense block.
pub fn level_weight_grad<T: Real>(level: &Level, r: &Rows<T>, grads: &mut [T]) {
    for layer in level.mlps().flat_map(|mlp| &mlp.layers) {
        let p = r.plan.dense.get(layer.weight);
        let dz = r.grads.matrix(r.plan, layer.output, r.rows);
        let dw =
            MatrixMut { data: &mut grads[p.offset..p.offset + p.len()], rows: p.rows, cols: p.cols, stride: p.stride };
        at_b(dz, r.values.matrix(r.plan, layer.input, r.rows), dw, Write::Add);
        if let Some(bias) = layer.bias {
            let p = r.plan.dense.get(bias);
            let db = &mut grads[p.offset..p.offset + p.cols];
            for dz in dz.data.chunks(dz.stride) {
                db.iter_mut().zip(dz).for_each(|(db, &dz)| *db += dz);
            }
        }
    }
}

/// The towers' outputs are the logits, whose gradients the loss has written.
fn is_logit(level: &Level, plan: &Plan) -> bool {
    std::ptr::eq(level, &plan.towers)
}

fn linear_forward<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    let t = r.plan.tensor(layer.output);
    let w = weight(&r.plan.dense, r.dense, layer.weight);
    let (input, output) = r.values.pair(r.plan, layer.input, layer.output, r.rows);
    let x = matrix(r.plan.tensor(layer.input), input, r.rows);
    let mut write = Write::Replace;
    if let Some(bias) = layer.bias {
        let p = r.plan.dense.get(bias);
        let bias = &r.dense[p.offset..p.offset + p.cols];
        output.chunks_mut(t.stride).for_each(|row| row[..t.width].copy_from_slice(bias));
        write = Write::Add;
    }
    a_bt(x, w, matrix_mut(t, output, r.rows), write);
    if let Some(argument) = layer.argument {
        let (output, argument) = r.values.pair(r.plan, layer.output, argument, r.rows);
        argument.copy_from_slice(output);
    }
    if layer.activation != Activation::Identity {
        for row in r.values.get_mut(r.plan, layer.output, r.rows).chunks_mut(t.stride) {
            row[..t.width].iter_mut().for_each(|z| *z = activate(layer.activation, *z));
        }
    }
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
    r.values.get_mut(r.plan, gate.output, r.rows).fill(T::ZERO);
    for (e, &expert) in gate.sees.iter().enumerate() {
        let [weights, expert, output] =
            r.values.many(r.plan, [gate.weights, level.experts[expert].output(), gate.output], r.rows);
        for ((weights, expert), output) in
            weights.chunks(w.stride).zip(expert.chunks(o.stride)).zip(output.chunks_mut(o.stride))
        {
            output.iter_mut().zip(expert).for_each(|(o, &x)| *o += weights[e] * x);
        }
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
        for i in 0..r.rows {
            let (row, w) = (i * o.stride..i * o.stride + o.width, weights[i * s.stride + e]);
            let d_output = &d_output[row.clone()];
            d_score[i * s.stride + e] = d_output.iter().zip(&expert[row.clone()]).map(|(&d, &x)| d * x).sum();
            d_expert[row].iter_mut().zip(d_output).for_each(|(de, &d)| *de += w * d);
        }
    }
    let d_scores = r.grads.get_mut(r.plan, gate.score.output(), r.rows);
    for (d, w) in d_scores.chunks_mut(s.stride).zip(weights.chunks(s.stride)) {
        let mean: T = d[..s.width].iter().zip(w).map(|(&d, &w)| d * w).sum();
        d[..s.width].iter_mut().zip(w).for_each(|(d, &w)| *d = w * (*d - mean));
    }
}

/// From the gradient by the MLP's output down to its input, to which it is added.
fn mlp_input_grad<T: Real>(mlp: &Mlp, r: &mut Rows<T>) {
    for (i, layer) in mlp.layers.iter().enumerate().rev() {
        through_activation(layer, r);
        let w = weight(&r.plan.dense, r.dense, layer.weight);
        let (dz, dx) = r.grads.pair(r.plan, layer.output, layer.input, r.rows);
        let dz = matrix(r.plan.tensor(layer.output), dz, r.rows);
        let write = if i == 0 { Write::Add } else { Write::Replace };
        a_b(dz, w, matrix_mut(r.plan.tensor(layer.input), dx, r.rows), write);
    }
}

/// From the gradient by a layer's output to that by its activation's argument, in place.
fn through_activation<T: Real>(layer: &Linear, r: &mut Rows<T>) {
    if layer.activation == Activation::Identity {
        return;
    }
    let y = r.values.get(r.plan, layer.output, r.rows);
    let z = r.values.get(r.plan, layer.argument.unwrap_or(layer.output), r.rows);
    let dz = r.grads.get_mut(r.plan, layer.output, r.rows);
    for ((d, &y), &z) in dz.iter_mut().zip(y).zip(z) {
        *d *= derivative(layer.activation, y, z);
    }
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
