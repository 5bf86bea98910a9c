//! Weights turned around: the forward product reads a weight's rows side by side, and one copy a step serves all blocks of rows.

use super::arena::weight;
use super::matmul::Matrix;
use super::real::Real;
use super::split::for_each_run;
use crate::plan::{ParameterId, Plan, pad4};

/// A side of the square that is turned at a time: it stays in registers or near.
const SIDE: usize = 16;

/// Each weight `[out, in]` of a plan as `[in, out]`.
pub struct Transposed<T> {
    data: Vec<T>,
    /// The weights and where each starts in `data`, in their order there.
    starts: Vec<(ParameterId, usize)>,
    /// By the number of a parameter, its start.
    by_parameter: Vec<usize>,
}

/// What the copies of a plan's weights take.
pub fn floats(plan: &Plan) -> usize {
    plan.layers().map(|layer| plan.dense.get(layer.weight)).map(|p| p.cols * pad4(p.rows)).sum()
}

impl<T: Real> Transposed<T> {
    pub fn new(plan: &Plan) -> Self {
        let (mut starts, mut by_parameter, mut len) = (Vec::new(), vec![0; plan.dense.parameters.len()], 0);
        for layer in plan.layers() {
            let p = plan.dense.get(layer.weight);
            starts.push((layer.weight, len));
            by_parameter[layer.weight.0] = len;
            len += p.cols * pad4(p.rows);
        }
        Self { data: vec![T::ZERO; floats(plan)], starts, by_parameter }
    }

    /// Copies the weights of a dense block.
    pub fn refresh(&mut self, plan: &Plan, dense: &[T]) {
        let starts = &self.starts;
        for_each_run(0..starts.len(), 1, 0, self.data.as_mut_slice(), &|i| starts[i].1, &|run, _, data| {
            if let [(id, _)] = starts[run] {
                let w = weight(&plan.dense, dense, id);
                transpose(w.data, w.rows, w.cols, w.stride, data);
            }
        });
    }

    /// A weight as `[in, out]`.
    pub fn weight(&self, plan: &Plan, id: ParameterId) -> Matrix<'_, T> {
        let (p, start) = (plan.dense.get(id), self.by_parameter[id.0]);
        let stride = pad4(p.rows);
        Matrix { data: &self.data[start..start + p.cols * stride], rows: p.cols, cols: p.rows, stride }
    }
}

vectorized! {
    /// `to`'s rows, of `rows` numbers and padding, are the columns of `from`.
    fn transpose<T: Real>(from: &[T], rows: usize, cols: usize, stride: usize, to: &mut [T]) {
        let to_stride = pad4(rows);
        for row in (0..rows).step_by(SIDE) {
            for column in (0..cols).step_by(SIDE) {
                let (height, width) = (SIDE.min(rows - row), SIDE.min(cols - column));
                let mut square = [[T::ZERO; SIDE]; SIDE];
                for (r, line) in from[row * stride + column..].chunks(stride).take(height).enumerate() {
                    for (c, &x) in line[..width].iter().enumerate() {
                        square[c][r] = x;
                    }
                }
                for (line, to) in square.iter().zip(to[column * to_stride + row..].chunks_mut(to_stride)).take(width) {
                    to[..height].copy_from_slice(&line[..height]);
                }
            }
        }
    }
}
