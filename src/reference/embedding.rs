//! Gathering fields into the input slot, and the gradients of the table rows that a batch touches.

use std::ops::Range;

use super::arena::Arena;
use super::largest::{Largest, normal};
use super::real::Real;
use super::vector::{add, add_scaled, prefetch};
use crate::data::{Batch, Segments};
use crate::plan::{Field, Layout, Plan, Pooling};

/// How many bags before its turn a bag's rows are asked for.
const AHEAD: usize = 8;

/// Where the fields of an input lie in a row of the input slot.
pub struct Columns {
    /// Runs of dense fields: first column, first dense field, number of fields.
    dense: Vec<(usize, usize, usize)>,
    /// Each bag field: first column, table, pooling.
    pub bags: Vec<(usize, usize, Pooling)>,
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
        let bag = |i: usize| Bag { batch, bag: bag * batch.rows + i };
        let ask = |i: usize| bag(i).rows().for_each(|row| prefetch(vector(layout, embedding, table, row)));
        rows.clone().take(AHEAD).for_each(ask);
        for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
            if i + AHEAD < rows.end {
                ask(i + AHEAD);
            }
            pool(layout, embedding, table, pooling, bag(i), &mut row[column..column + dim]);
        }
    }
}

#[derive(Clone, Copy)]
struct Bag<'a> {
    batch: &'a Batch,
    bag: usize,
}

impl<'a> Bag<'a> {
    /// Its table rows.
    fn rows(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        segments_of(self.batch, self.bag).iter().map(move |&segment| self.batch.segments.rows[segment as usize])
    }

    fn weights(self) -> &'a [f32] {
        &self.batch.weights[self.batch.bag_starts[self.bag] as usize..]
    }
}

/// A row of a table.
fn vector<'a, T>(layout: &Layout, embedding: &'a [T], table: usize, row: u32) -> &'a [T] {
    let p = &layout.parameters[table];
    &embedding[p.offset + row as usize * p.stride..][..p.cols]
}

fn pool<T: Real>(layout: &Layout, embedding: &[T], table: usize, pooling: Pooling, bag: Bag, out: &mut [T]) {
    let vector = |row| vector(layout, embedding, table, row);
    let rows = bag.rows();
    let count = rows.len();
    match pooling {
        Pooling::Weighted => {
            out.fill(T::ZERO);
            rows.zip(bag.weights()).for_each(|(row, &weight)| add_scaled(out, T::of(f64::from(weight)), vector(row)));
        }
        Pooling::Max => {
            out.fill(T::ZERO);
            for (i, row) in rows.enumerate() {
                for (out, &x) in out.iter_mut().zip(vector(row)) {
                    if i == 0 || normal(x) > *out {
                        *out = normal(x);
                    }
                }
            }
        }
        _ if count == 1 => rows.for_each(|row| out.copy_from_slice(vector(row))),
        Pooling::Mean | Pooling::Sum => {
            out.fill(T::ZERO);
            rows.for_each(|row| add(out, vector(row)));
            if pooling == Pooling::Mean && count > 1 {
                let n = T::of(count as f64);
                out.iter_mut().for_each(|o| *o = *o / n);
            }
        }
    }
}

/// The table rows of a bag, as numbers of segments.
pub fn segments_of(batch: &Batch, bag: usize) -> &[u32] {
    &batch.ids[batch.bag_starts[bag] as usize..batch.bag_starts[bag + 1] as usize]
}

/// Adds up the gradient of a segment's table row, from its column `first` on, over the bags that hold it, in their order.
/// `input_grad` gives the gradient by a row of the input slot.
#[inline(always)]
pub fn row_gradient<'a, T: Real>(
    columns: &Columns,
    batch: &Batch,
    segment: usize,
    largest: &Largest,
    input_grad: impl Fn(usize) -> &'a [T],
    first: usize,
    out: &mut [T],
) {
    out.fill(T::ZERO);
    let Segments { starts, bags, weights, .. } = &batch.segments;
    let occurrences = starts[segment] as usize..starts[segment + 1] as usize;
    for i in occurrences.clone() {
        let bag = bags[i] as usize;
        let (field, row) = (bag / batch.rows, bag % batch.rows);
        let (column, _, pooling) = columns.bags[field];
        let grad = &input_grad(row)[column + first..];
        let scale = match pooling {
            Pooling::Sum => T::ONE,
            Pooling::Mean => T::ONE / T::of(segments_of(batch, bag).len() as f64),
            Pooling::Weighted => T::of(f64::from(weights[i])),
            Pooling::Max => {
                // A bag that holds the row twice stands here twice, and has one largest vector.
                if i == occurrences.start || bags[i - 1] != bags[i] {
                    add_where(out, grad, &largest.of_bag(field, row)[first..], segment as u32);
                }
                continue;
            }
        };
        add_scaled(out, scale, grad);
    }
}

/// Adds the gradient of the components whose largest is of a segment.
fn add_where<T: Real>(out: &mut [T], grad: &[T], largest: &[u32], segment: u32) {
    let of_segment = out.iter_mut().zip(grad).zip(largest).filter(|(_, largest)| **largest == segment);
    of_segment.for_each(|((out, &grad), _)| *out += grad);
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
