//! Max pooling: which vector of a bag each component of the largest is from.

use rayon::prelude::*;

use super::embedding::{Columns, segments_of};
use super::real::Real;
use crate::data::Batch;
use crate::plan::{Plan, Pooling};

/// For each bag of the fields with max pooling, and each component, the first segment of the bag that has the largest.
#[derive(Default)]
pub struct Largest {
    /// Of each bag field: where its bags start in `segments`, and its components; 0 and 0 for another pooling.
    fields: Vec<(usize, usize)>,
    segments: Vec<u32>,
}

impl Largest {
    /// Finds those of a batch, by the tables before its update.
    pub fn find<T: Real>(&mut self, plan: &Plan, columns: &Columns, batch: &Batch, embedding: &[T]) {
        self.fields.clear();
        let mut end = 0;
        for &(_, table, pooling) in &columns.bags {
            let dim = if pooling == Pooling::Max { plan.input.tables[table].dim } else { 0 };
            self.fields.push((end, dim));
            end += dim * batch.rows;
        }
        self.segments.resize(end, 0);
        for (field, &(start, dim)) in self.fields.iter().enumerate().filter(|(_, (_, dim))| *dim > 0) {
            let table = &plan.embedding.parameters[columns.bags[field].1];
            let vector = |segment: u32| {
                let row = batch.segments.rows[segment as usize] as usize;
                &embedding[table.offset + row * table.stride..][..dim]
            };
            let bags = self.segments[start..start + dim * batch.rows].par_chunks_mut(dim).enumerate();
            bags.for_each(|(row, found)| {
                let Some((&first, others)) = segments_of(batch, field * batch.rows + row).split_first() else { return };
                found.fill(first);
                for &segment in others {
                    for (c, (found, &x)) in found.iter_mut().zip(vector(segment)).enumerate() {
                        if normal(x) > normal(vector(*found)[c]) {
                            *found = segment;
                        }
                    }
                }
            });
        }
    }

    /// Of a bag of a field with max pooling, by component.
    pub fn of_bag(&self, field: usize, row: usize) -> &[u32] {
        let (start, dim) = self.fields[field];
        &self.segments[start + row * dim..][..dim]
    }
}

/// Words that [`Largest`] takes for batches of so many rows.
pub fn words(plan: &Plan, rows: usize) -> usize {
    let of_max = plan.input.bag_fields().into_iter().filter(|(_, _, pooling)| *pooling == Pooling::Max);
    of_max.map(|(_, table, _)| plan.input.tables[table].dim * rows).sum()
}

/// A number as max pooling compares it: one that f32 holds as a denormal is zero, since a device may take it for that.
#[inline(always)]
pub fn normal<T: Real>(x: T) -> T {
    if x.to_f64().abs() < f64::from(f32::MIN_POSITIVE) { T::ZERO } else { x }
}
