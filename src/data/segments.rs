//! The table rows that a batch touches, each with its bags: what steps read of the tables, and what updates walk.

use std::ops::Range;

/// The table rows that a batch touches, each once, in order of (table, row). A batch's ids are numbers of segments, so
/// that a device may work on a block of just these rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segments {
    /// The table of each segment.
    pub tables: Vec<u32>,
    /// The row of each segment in its table.
    pub rows: Vec<u32>,
    /// Segment s has `bags[starts[s]..starts[s + 1]]`; one entry more than segments, or a lone 0 where bags are not listed.
    pub starts: Vec<u32>,
    /// The bag of each occurrence, ascending inside a segment; a bag that holds a row twice stands twice.
    pub bags: Vec<u32>,
    /// As the batch's `weights`, of each occurrence.
    pub weights: Vec<f32>,
}

/// The bags of a batch, `rows` for each field.
#[derive(Clone, Copy)]
pub(super) struct Bags<'a> {
    pub rows: usize,
    /// Where each bag's ids start; one more than bags.
    pub starts: &'a [u32],
    pub weights: &'a [f32],
}

impl Segments {
    /// Those of a table.
    pub fn of(&self, table: usize) -> Range<usize> {
        let bound = |table: usize| self.tables.partition_point(|&t| (t as usize) < table);
        bound(table)..bound(table + 1)
    }

    /// Of `bags` and their `ids`; puts the number of its segment in the place of each id. `tables` is the number of tables,
    /// `table_of` gives each field's.
    pub(super) fn number(tables: usize, table_of: &[usize], bags: Bags, ids: &mut [u32], list_bags: bool) -> Self {
        let mut segments = Self { starts: vec![0], ..Self::default() };
        segments.tables.reserve(ids.len());
        segments.rows.reserve(ids.len());
        if list_bags {
            segments.starts.reserve(ids.len());
            segments.bags.reserve(ids.len());
            segments.weights.reserve(bags.weights.len());
        }
        let bag_of = if list_bags { bag_of_each(bags.starts) } else { Vec::new() };
        let (mut keys, mut spare) = (Vec::new(), Vec::new());
        for table in 0..tables {
            keys.clear();
            for (field, _) in table_of.iter().enumerate().filter(|(_, own)| **own == table) {
                let occurrences = bags.starts[field * bags.rows]..bags.starts[(field + 1) * bags.rows];
                keys.extend(occurrences.map(|i| u64::from(ids[i as usize]) << 32 | u64::from(i)));
            }
            sort_by_id(&mut keys, &mut spare);
            segments.append(table as u32, &keys, ids, &bag_of, bags.weights);
        }
        segments
    }

    fn append(&mut self, table: u32, keys: &[u64], ids: &mut [u32], bag_of: &[u32], weights: &[f32]) {
        let id = |key: &u64| (key >> 32) as u32;
        for same in keys.chunk_by(|a, b| id(a) == id(b)) {
            let segment = self.rows.len() as u32;
            self.tables.push(table);
            self.rows.push(id(&same[0]));
            same.iter().for_each(|key| ids[*key as u32 as usize] = segment);
            if !bag_of.is_empty() {
                self.bags.extend(same.iter().map(|key| bag_of[*key as u32 as usize]));
                if !weights.is_empty() {
                    self.weights.extend(same.iter().map(|key| weights[*key as u32 as usize]));
                }
                self.starts.push(self.bags.len() as u32);
            }
        }
    }
}

/// The bag that each id of a batch is in.
fn bag_of_each(bag_starts: &[u32]) -> Vec<u32> {
    let mut bag_of = Vec::with_capacity(bag_starts.last().map_or(0, |&end| end as usize));
    for (bag, ends) in bag_starts.windows(2).enumerate() {
        bag_of.extend((ends[0]..ends[1]).map(|_| bag as u32));
    }
    bag_of
}

/// Sorts keys of (id, occurrence) by id, keeping the order of occurrences: radix, over the bits that the ids have.
fn sort_by_id(keys: &mut Vec<u64>, spare: &mut Vec<u64>) {
    const BITS: u32 = 11;
    let highest = keys.iter().max().map_or(0, |key| key >> 32);
    spare.resize(keys.len(), 0);
    let mut shift = 32;
    while highest >> (shift - 32) > 0 {
        let digit = |key: u64| (key >> shift) as usize & ((1 << BITS) - 1);
        let mut next = [0usize; 1 << BITS];
        keys.iter().for_each(|key| next[digit(*key)] += 1);
        let mut start = 0;
        for count in &mut next {
            (start, *count) = (start + *count, start);
        }
        for key in keys.iter() {
            let place = &mut next[digit(*key)];
            spare[*place] = *key;
            *place += 1;
        }
        std::mem::swap(keys, spare);
        shift += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_by_id_is_stable_at_any_size_of_id() {
        for highest in [1u64, 2047, 2048, 5_000_000, u64::from(u32::MAX)] {
            let mut keys: Vec<u64> = (0..997u64).map(|i| ((i * 7_368_787 + 13) % (highest + 1)) << 32 | i).collect();
            let mut wanted = keys.clone();
            wanted.sort_unstable();
            sort_by_id(&mut keys, &mut Vec::new());
            assert_eq!(keys, wanted);
        }
    }
}
