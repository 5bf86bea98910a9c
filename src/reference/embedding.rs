//! Gathering fields into the input slot, and the gradients of the table rows that a batch touches.

use std::ops::Range;

use super::arena::Arena;
use super::real::Real;
use super::vector::{add, add_scaled, prefetch};
use crate::data::Batch;
use crate::plan::{Field, Layout, Plan, Pooling};

/// How many bags before its turn a bag's rows are asked for.
const AHEAD: usize = 8;

/// Where the fields of an input lie in a row of the input slot.
pub struct Columns {
    /// Runs of dense fields: first column, first dense field, number of fields.
    dense: Vec<(usize, usize, usize)>,
    /// Each bag field: first column, table, pooling.
    bags: Vec<(usize, usize, Pooling)>,
}

impl Columns {
    pub fn new(plan: &Plan) -> Self {
        let mut dense: Vec<(usize, usize, usize)> = Vec::new();
        let mut fields = 0;
        for (column, field) in plan.input.columns() {
            if let Field::Dense { .. } = field {
                match dense.last_mut() {
                    Some((first, _, count)) if *first + *count == column => *count += 1,
                    _ => dense.push((column, fields, 1)),
                }
                fields += 1;
            }
        }
        Self { dense, bags: plan.input.bag_fields() }
    }
}

/// Fills the input slot of a block of rows, `[rows, input width]`.
pub fn embedding_forward<T: Real>(
    plan: &Plan,
    columns: &Columns,
    embedding: &[T],
    batch: &Batch,
    rows: Range<usize>,
    values: &mut Arena<T>,
) {
    let stride = plan.tensor(plan.input_slot).stride;
    let dense_fields = plan.input.dense_fields();
    let slot = values.get_mut(plan, plan.input_slot, rows.len());
    for &(column, field, count) in &columns.dense {
        for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
            let fields = &batch.dense[i * dense_fields + field..][..count];
            row[column..].iter_mut().zip(fields).for_each(|(x, &field)| *x = T::of(f64::from(field)));
        }
    }
    for (bag, &(column, table, pooling)) in columns.bags.iter().enumerate() {
        let dim = plan.input.tables[table].dim;
        let layout = &plan.embedding;
        let ids =
            |i: usize| ids_of(batch, bag * batch.rows + i).iter().map(|&segment| batch.segments.rows[segment as usize]);
        for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
            if i + AHEAD < rows.end {
                ids(i + AHEAD).for_each(|row| prefetch(vector(layout, embedding, table, row)));
            }
            pool(layout, embedding, table, pooling, ids(i), &mut row[column..column + dim]);
        }
    }
}

/// A row of a table.
fn vector<'a, T>(layout: &Layout, embedding: &'a [T], table: usize, row: u32) -> &'a [T] {
    let p = &layout.parameters[table];
    &embedding[p.offset + row as usize * p.stride..][..p.cols]
}

fn pool<T: Real>(
    layout: &Layout,
    embedding: &[T],
    table: usize,
    pooling: Pooling,
    rows: impl ExactSizeIterator<Item = u32>,
    out: &mut [T],
) {
    let vector = |row| vector(layout, embedding, table, row);
    let count = rows.len();
    if count == 1 {
        return rows.for_each(|row| out.copy_from_slice(vector(row)));
    }
    out.fill(T::ZERO);
    rows.for_each(|row| add(out, vector(row)));
    if pooling == Pooling::Mean && count > 1 {
        let n = T::of(count as f64);
        out.iter_mut().for_each(|o| *o = *o / n);
    }
}

fn ids_of(batch: &Batch, bag: usize) -> &[u32] {
    &batch.ids[batch.bag_starts[bag] as usize..batch.bag_starts[bag + 1] as usize]
}

/// Adds up the gradient of one table row, from its column `first` on, over the bags that hold it, in their order.
/// `input_grad` gives the gradient by a row of the input slot.
#[inline(always)]
pub fn row_gradient<'a, T: Real>(
    columns: &Columns,
    batch: &Batch,
    bags: &[u32],
    input_grad: impl Fn(usize) -> &'a [T],
    first: usize,
    out: &mut [T],
) {
    out.fill(T::ZERO);
    for &bag in bags {
        let (field, row) = (bag as usize / batch.rows, bag as usize % batch.rows);
        let (column, _, pooling) = columns.bags[field];
        let n = ids_of(batch, bag as usize).len();
        let scale = if pooling == Pooling::Mean { T::ONE / T::of(n as f64) } else { T::ONE };
        add_scaled(out, scale, &input_grad(row)[column + first..]);
    }
}

/// Asks for what [`row_gradient`] will read.
#[inline(always)]
pub fn prefetch_gradient<'a, T: Real>(
    columns: &Columns,
    batch: &Batch,
    bags: &[u32],
    input_grad: impl Fn(usize) -> &'a [T],
    width: usize,
) {
    for &bag in bags {
        let (column, ..) = columns.bags[bag as usize / batch.rows];
        prefetch(&input_grad(bag as usize % batch.rows)[column..column + width]);
    }
}
