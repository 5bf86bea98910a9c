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

/// The ids of a batch, one behind another.
struct Occurrences<'a> {
    /// To be replaced with the numbers of their segments.
    ids: &'a mut [u32],
    /// The bag that each is in; empty where bags are not listed.
    bag_of: &'a [u32],
    /// Empty where no field has weights.
    weights: &'a [f32],
}

/// Finds the segments of batches. Keeps its memory from one batch to the next.
pub(super) struct Numbering {
    /// The number of tables.
    tables: usize,
    /// The table of each bag field.
    table_of: Vec<usize>,
    /// Whether segments list their bags.
    list_bags: bool,
    keys: Vec<u64>,
    spare: Vec<u64>,
    /// The bag that each id is in, where bags are listed.
    bag_of: Vec<u32>,
    /// By row of a table: its segment, and in the lower half the place of its next bag.
    places: Vec<u64>,
}

/// A table's ids are counted instead of sorted where the largest is below so many times their number.
const COUNTED: usize = 4;

impl Segments {
    /// Those of a table.
    pub fn of(&self, table: usize) -> Range<usize> {
        let bound = |table: usize| self.tables.partition_point(|&t| (t as usize) < table);
        bound(table)..bound(table + 1)
    }

    /// Takes everything out, and makes room for the segments of so many ids, and for their bags and weights.
    fn clear(&mut self, ids: usize, bags: usize, weights: usize) {
        let Self { tables, rows, starts, bags: of_bags, weights: of_weights } = self;
        for (words, room) in [(tables, ids), (rows, ids), (starts, bags + 1), (of_bags, bags)] {
            words.clear();
            words.reserve(room);
        }
        of_weights.clear();
        of_weights.reserve(weights);
        self.starts.push(0);
    }

    /// Appends a table's segments from its keys, which are sorted by id.
    fn append(&mut self, table: u32, keys: &[u64], all: &mut Occurrences) {
        let Occurrences { ids, bag_of, weights } = all;
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

    /// As [`Segments::append`], from keys in the order of their occurrences. `places` has a zero for each row up to the
    /// largest id.
    fn append_counted(&mut self, table: u32, keys: &[u64], places: &mut [u64], all: &mut Occurrences) {
        let Occurrences { ids, bag_of, weights } = all;
        keys.iter().for_each(|key| places[id(key) as usize] += 1);
        let mut place = self.bags.len() as u32;
        let lists_bags = !bag_of.is_empty();
        for (row, count) in places.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let start = place;
            place += *count as u32;
            *count = (self.rows.len() as u64) << 32 | u64::from(start);
            self.tables.push(table);
            self.rows.push(row as u32);
            if lists_bags {
                self.starts.push(place);
            }
        }
        if lists_bags {
            self.bags.resize(place as usize, 0);
        }
        if lists_bags && !weights.is_empty() {
            self.weights.resize(place as usize, 0.0);
        }
        for key in keys {
            let (own, i) = (&mut places[id(key) as usize], *key as u32 as usize);
            ids[i] = (*own >> 32) as u32;
            if lists_bags {
                self.bags[*own as u32 as usize] = bag_of[i];
                if !weights.is_empty() {
                    self.weights[*own as u32 as usize] = weights[i];
                }
                *own += 1;
            }
        }
    }
}

/// Of a key, whose lower half is the occurrence.
fn id(key: &u64) -> u32 {
    (key >> 32) as u32
}

impl Numbering {
    /// Of a model with so many tables, `table_of` the table of each bag field; `list_bags` where updates walk the segments.
    pub fn new(tables: usize, table_of: Vec<usize>, list_bags: bool) -> Self {
        let (keys, spare, bag_of, places) = Default::default();
        Self { tables, table_of, list_bags, keys, spare, bag_of, places }
    }

    /// Replaces `segments` with those of `bags` and their `ids`; replaces each id with the number of its segment.
    pub fn number(&mut self, bags: Bags, ids: &mut [u32], segments: &mut Segments) {
        let Self { tables, table_of, list_bags, keys, spare, bag_of, places } = self;
        match *list_bags {
            true => segments.clear(ids.len(), ids.len(), bags.weights.len()),
            false => segments.clear(ids.len(), 0, 0),
        }
        bag_of.clear();
        if *list_bags {
            list_bag_of_each(bags.starts, bag_of);
        }
        let mut all = Occurrences { ids, bag_of, weights: bags.weights };
        for table in 0..*tables {
            keys.clear();
            for (field, _) in table_of.iter().enumerate().filter(|(_, own)| **own == table) {
                let occurrences = bags.starts[field * bags.rows]..bags.starts[(field + 1) * bags.rows];
                keys.extend(occurrences.map(|i| u64::from(all.ids[i as usize]) << 32 | u64::from(i)));
            }
            let end = keys.iter().map(id).max().map_or(0, |highest| highest as usize + 1);
            if end <= COUNTED * keys.len() {
                places.clear();
                places.resize(end, 0);
                segments.append_counted(table as u32, keys, places, &mut all);
            } else {
                sort_by_id(keys, spare);
                segments.append(table as u32, keys, &mut all);
            }
        }
    }
}

/// The bag that each id of a batch is in.
fn list_bag_of_each(bag_starts: &[u32], bag_of: &mut Vec<u32>) {
    bag_of.reserve(bag_starts.last().map_or(0, |&end| end as usize));
    for (bag, ends) in bag_starts.windows(2).enumerate() {
        bag_of.extend((ends[0]..ends[1]).map(|_| bag as u32));
    }
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
    fn counted_ids_give_the_segments_of_sorted_ones() {
        for most in [0u32, 5, 90, 479] {
            let given: Vec<u32> = (0..120).map(|i| i * 7919 % (most + 1)).collect();
            let keys: Vec<u64> = given.iter().zip(0..).map(|(&id, i)| u64::from(id) << 32 | i).collect();
            let mut sorted = keys.clone();
            sort_by_id(&mut sorted, &mut Vec::new());
            let bag_of: Vec<u32> = (0..120).map(|i| i * 2 / 3).collect();
            let weights: Vec<f32> = (0..120).map(|i| i as f32).collect();
            for (bag_of, weights) in [(&bag_of[..], &weights[..]), (&bag_of[..], &[]), (&[], &[])] {
                let [mut counted, mut expected] = [(); 2].map(|()| (Segments::default(), given.clone()));
                for (segments, _) in [&mut counted, &mut expected] {
                    segments.clear(0, 0, 0);
                }
                // Behind another table's.
                for table in 3..5 {
                    let mut places = vec![0; most as usize + 1];
                    let mut all = Occurrences { ids: &mut counted.1, bag_of, weights };
                    counted.0.append_counted(table, &keys, &mut places, &mut all);
                    let mut all = Occurrences { ids: &mut expected.1, bag_of, weights };
                    expected.0.append(table, &sorted, &mut all);
                }
                assert_eq!(counted, expected, "ids up to {most}");
            }
        }
    }

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
