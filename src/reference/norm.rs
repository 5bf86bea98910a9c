//! Layer normalisation (Ba et al. 2016), as `torch.nn.LayerNorm` defines it.

use super::arena::vector;
use super::level::Rows;
use super::real::Real;
use super::vector::{dot, sum};
use crate::plan::{Linear, NORM_EPS, Norm, TensorId};

/// Normalises what the linear map left in [`Norm::normalised`], in place, and writes `normalised weight + bias` to the
/// layer's output.
pub fn norm_forward<T: Real>(norm: &Norm, inverse_deviation: TensorId, layer: &Linear, r: &mut Rows<T>) {
    let t = r.plan.tensor(layer.output);
    let [weight, bias] = [norm.weight, norm.bias].map(|id| vector(&r.plan.dense, r.dense, id));
    let tensors = [norm.normalised, inverse_deviation, layer.output];
    let [normalised, inverse, output] = r.values.many(r.plan, tensors, r.rows);
    normalise((t.width, t.stride), (weight, bias), normalised, inverse, output);
}

/// From the gradient by the norm's result, which lies in place of the layer's output, to that by what it normalises:
/// with `dn = d weight`, `dx = (dn - mean(dn) - normalised mean(dn normalised)) / sqrt(variance + eps)`.
pub fn norm_input_grad<T: Real>(norm: &Norm, inverse_deviation: TensorId, layer: &Linear, r: &mut Rows<T>) {
    let t = r.plan.tensor(layer.output);
    let weight = vector(&r.plan.dense, r.dense, norm.weight);
    let normalised = r.values.get(r.plan, norm.normalised, r.rows);
    let inverse = r.values.get(r.plan, inverse_deviation, r.rows);
    let (d, dx) = r.grads.pair(r.plan, layer.output, norm.normalised, r.rows);
    through_norm((t.width, t.stride), weight, (normalised, inverse), d, dx);
}

/// Floats of a row of a tensor of width one.
const LONE: usize = 4;

vectorized! {
    /// `shape` is the rows' width and stride.
    fn normalise<T: Real>(
        shape: (usize, usize),
        learnt: (&[T], &[T]),
        rows: &mut [T],
        inverse: &mut [T],
        output: &mut [T],
    ) {
        let (width, stride) = shape;
        let count = T::of(width as f64);
        let rows = rows.chunks_mut(stride).zip(inverse.chunks_mut(LONE)).zip(output.chunks_mut(stride));
        for ((row, inverse), output) in rows {
            let row = &mut row[..width];
            let mean = sum(row) / count;
            row.iter_mut().for_each(|x| *x = *x - mean);
            inverse[0] = T::ONE / (dot(row, row) / count + T::of(NORM_EPS)).sqrt();
            row.iter_mut().for_each(|x| *x *= inverse[0]);
            for ((y, &n), (&weight, &bias)) in output.iter_mut().zip(&*row).zip(learnt.0.iter().zip(learnt.1)) {
                *y = n * weight + bias;
            }
        }
    }

    /// `values` are what was normalised and the inverse deviations.
    fn through_norm<T: Real>(shape: (usize, usize), weight: &[T], values: (&[T], &[T]), d: &[T], dx: &mut [T]) {
        let (width, stride) = shape;
        let count = T::of(width as f64);
        let values = values.0.chunks(stride).zip(values.1.chunks(LONE));
        for ((d, dx), (normalised, inverse)) in d.chunks(stride).zip(dx.chunks_mut(stride)).zip(values) {
            let (dx, normalised) = (&mut dx[..width], &normalised[..width]);
            dx.iter_mut().zip(d).zip(weight).for_each(|((dx, &d), &weight)| *dx = d * weight);
            let (mean, slope) = (sum(dx) / count, dot(dx, normalised) / count);
            dx.iter_mut().zip(normalised).for_each(|(dx, &n)| *dx = inverse[0] * (*dx - mean - n * slope));
        }
    }
}
