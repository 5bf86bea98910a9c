//! Gathering fields into the input slot, and the gradients of the table rows that a batch touches.

use std::ops::Range;

use super::arena::Arena;
use super::largest::{Largest, normal};
use super::real::Real;
use super::vector::{add, add_scaled, prefetch};
use super::{BLOCK_ROWS, Block};
use crate::data::{Batch, Segments};
use crate::plan::{Field, Layout, Plan, Pooling};

/// How many bags before its turn a bag's rows are asked for, at least.
const AHEAD: usize = 16;

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

vectorized! {
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
        // Row by row, as the slot lies in memory.
        let bag = |field: usize, i: usize| Bag { batch, bag: field * batch.rows + i };
        let ask = |i: usize| {
            for (field, &(_, table, _)) in columns.bags.iter().enumerate() {
                bag(field, i).rows().for_each(|row| prefetch(vector(&plan.embedding, embedding, table, row)));
            }
        };
        let ahead = AHEAD.div_ceil(columns.bags.len().max(1));
        rows.clone().take(ahead).for_each(ask);
        for (row, i) in slot.chunks_mut(stride).zip(rows.clone()) {
            if i + ahead < rows.end {
                ask(i + ahead);
            }
            for (field, &(column, table, pooling)) in columns.bags.iter().enumerate() {
                let out = &mut row[column..column + plan.input.tables[table].dim];
                pool(&plan.embedding, embedding, table, pooling, bag(field, i), out);
            }
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
    #[inline(always)]
    fn rows(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        segments_of(self.batch, self.bag).iter().map(move |&segment| self.batch.segments.rows[segment as usize])
    }

    fn weights(self) -> &'a [f32] {
        &self.batch.weights[self.batch.bag_starts[self.bag] as usize..]
    }
}

/// A row of a table.
#[inline(always)]
fn vector<'a, T>(layout: &Layout, embedding: &'a [T], table: usize, row: u32) -> &'a [T] {
    let p = &layout.parameters[table];
    &embedding[p.offset + row as usize * p.stride..][..p.cols]
}

#[inline(always)]
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
#[inline(always)]
pub fn segments_of(batch: &Batch, bag: usize) -> &[u32] {
    &batch.ids[batch.bag_starts[bag] as usize..batch.bag_starts[bag + 1] as usize]
}

/// The gradients by the input slot, as the blocks of a batch's rows hold them.
#[derive(Clone, Copy)]
pub struct SlotGrads<'a, T> {
    pub(super) plan: &'a Plan,
    pub(super) blocks: &'a [Block<T>],
}

impl<'a, T: Real> SlotGrads<'a, T> {
    #[inline(always)]
    fn row(self, row: usize) -> &'a [T] {
        let (slot, stride) = (self.plan.input_slot, self.plan.tensor(self.plan.input_slot).stride);
        let rows = self.blocks[row / BLOCK_ROWS].grads.get(self.plan, slot, BLOCK_ROWS);
        &rows[row % BLOCK_ROWS * stride..][..stride]
    }
}

/// The field and the row of a bag.
#[inline(always)]
fn place(batch: &Batch, bag: u32) -> (usize, usize) {
    let rows = batch.rows as u32;
    ((bag / rows) as usize, (bag % rows) as usize)
}

/// Adds up the gradient of a segment's table row, from its column `first` on, over the bags that hold it, in their order.
#[inline(always)]
pub fn row_gradient<T: Real>(
    columns: &Columns,
    batch: &Batch,
    segment: usize,
    largest: &Largest,
    grads: SlotGrads<T>,
    first: usize,
    out: &mut [T],
) {
    out.fill(T::ZERO);
    let Segments { starts, bags, weights, .. } = &batch.segments;
    let occurrences = starts[segment] as usize..starts[segment + 1] as usize;
    for i in occurrences.clone() {
        let (field, row) = place(batch, bags[i]);
        let (column, _, pooling) = columns.bags[field];
        let grad = &grads.row(row)[column + first..];
        let scale = match pooling {
            Pooling::Sum => T::ONE,
            Pooling::Mean => T::ONE / T::of(segments_of(batch, bags[i] as usize).len() as f64),
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
pub fn prefetch_gradient<T: Real>(columns: &Columns, batch: &Batch, bags: &[u32], grads: SlotGrads<T>, width: usize) {
    for &bag in bags {
        let (field, row) = place(batch, bag);
        let (column, ..) = columns.bags[field];
        prefetch(&grads.row(row)[column..column + width]);
    }
}
