//! Gathering fields into the input slot, and the gradients of the table rows that a batch touches.

use std::ops::Range;

use super::arena::Arena;
use super::real::Real;
use crate::data::Batch;
use crate::plan::{Field, Input, Layout, Plan, Pooling};

/// Fills the input slot of a block of rows, `[rows, input width]`.
pub fn embedding_forward<T: Real>(
    plan: &Plan,
    embedding: &[T],
    batch: &Batch,
    rows: Range<usize>,
    values: &mut Arena<T>,
) {
    let stride = plan.tensor(plan.input_slot).stride;
    let dense_fields = plan.input.dense_fields();
    let slot = values.get_mut(plan, plan.input_slot, rows.len());
    let (mut dense, mut bag) = (0, 0);
    for (column, field) in plan.input.columns() {
        match field {
            Field::Dense { .. } => {
                for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
                    row[column] = T::of(f64::from(batch.dense[i * dense_fields + dense]));
                }
                dense += 1;
            }
            Field::Bag { table, pooling, .. } => {
                let dim = plan.input.tables[*table].dim;
                for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
                    let ids = ids_of(batch, bag * batch.rows + i);
                    pool(&plan.embedding, embedding, *table, *pooling, ids, &mut row[column..column + dim]);
                }
                bag += 1;
            }
        }
    }
}

fn pool<T: Real>(layout: &Layout, embedding: &[T], table: usize, pooling: Pooling, ids: &[u32], out: &mut [T]) {
    let p = &layout.parameters[table];
    out.fill(T::ZERO);
    for &id in ids {
        let start = p.offset + id as usize * p.stride;
        out.iter_mut().zip(&embedding[start..]).for_each(|(o, &x)| *o += x);
    }
    if pooling == Pooling::Mean && ids.len() > 1 {
        let n = T::of(ids.len() as f64);
        out.iter_mut().for_each(|o| *o = *o / n);
    }
}

fn ids_of(batch: &Batch, bag: usize) -> &[u32] {
    &batch.ids[batch.bag_starts[bag] as usize..batch.bag_starts[bag + 1] as usize]
}

/// The bag fields of an input, ready for [`row_gradient`].
pub struct BagFields(Vec<(usize, usize, Pooling)>);

impl BagFields {
    pub fn new(input: &Input) -> Self {
        Self(input.bag_fields())
    }
}

/// Adds up the gradient of one table row over the bags that hold it, in their order. `input_grad` gives the gradient
/// by a row of the input slot.
pub fn row_gradient<'a, T: Real>(
    fields: &BagFields,
    batch: &Batch,
    bags: &[u32],
    input_grad: impl Fn(usize) -> &'a [T],
    out: &mut [T],
) {
    out.fill(T::ZERO);
    for &bag in bags {
        let (field, row) = (bag as usize / batch.rows, bag as usize % batch.rows);
        let (column, _, pooling) = fields.0[field];
        let n = ids_of(batch, bag as usize).len();
        let scale = if pooling == Pooling::Mean { T::ONE / T::of(n as f64) } else { T::ONE };
        out.iter_mut().zip(&input_grad(row)[column..]).for_each(|(o, &d)| *o += scale * d);
    }
}
