//! The table rows that a batch touches, each with its bags: what a sparse embedding update walks.

use super::batch::BagIds;

/// The table rows that a batch touches, each once, in order of (table, row).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// The table of each segment.
    pub tables: Vec<u32>,
    /// The row of each segment in its table.
    pub rows: Vec<u32>,
    /// Segment s has `bags[starts[s]..starts[s + 1]]`; one entry more than segments.
    pub starts: Vec<u32>,
    /// The bag of each occurrence, ascending inside a segment; a bag that holds a row twice stands twice.
    pub bags: Vec<u32>,
}

impl Segments {
    /// `tables` is the number of tables, `table_of` gives each bag field's.
    pub(super) fn new(tables: usize, table_of: &[usize], bags: BagIds) -> Self {
        let mut segments = Self { starts: vec![0], ..Self::default() };
        let (mut keys, mut spare) = (Vec::new(), Vec::new());
        for table in 0..tables {
            keys.clear();
            for (field, _) in table_of.iter().enumerate().filter(|(_, own)| **own == table) {
                for bag in bags.of_field(field) {
                    keys.extend(bags.ids(bag).iter().map(|id| u64::from(*id) << 32 | bag as u64));
                }
            }
            sort_by_id(&mut keys, &mut spare);
            segments.append(table as u32, &keys);
        }
        segments
    }

    fn append(&mut self, table: u32, keys: &[u64]) {
        let id = |key: &u64| (key >> 32) as u32;
        for same in keys.chunk_by(|a, b| id(a) == id(b)) {
            self.tables.push(table);
            self.rows.push(id(&same[0]));
            self.bags.extend(same.iter().map(|key| *key as u32));
            self.starts.push(self.bags.len() as u32);
        }
    }
}

/// Sorts keys of (id, bag) by id, keeping the order of bags: radix, over the bits that the ids have.
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
            let mut keys: Vec<u64> =
                (0..997u64).map(|bag| ((bag * 7_368_787 + 13) % (highest + 1)) << 32 | bag).collect();
            let mut wanted = keys.clone();
            wanted.sort_unstable();
            sort_by_id(&mut keys, &mut Vec::new());
            assert_eq!(keys, wanted);
        }
    }
}
