//! The embedding tables in shards: runs of whole rows, each no larger than what a device binds at once.

use std::ops::Range;

use super::embedding::Shard;
use crate::data::Segments;
use crate::optim::Constants;
use crate::plan::{Layout, Plan};

/// How an embedding block is cut: runs of floats, one behind the other, whose borders lie between rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shards(Vec<Range<usize>>);

impl Shards {
    /// Shards of at most so many bytes, and of a row at least; none where there are no tables. A shard may hold the end
    /// of one table and the start of the next, unless `cuts` says of that one's number that a shard begins with it. Tables
    /// that are not on the device, by their numbers, lie in none.
    pub fn new(
        embedding: &Layout,
        most_bytes: u64,
        is_on_device: impl Fn(usize) -> bool,
        cuts: impl Fn(usize) -> bool,
    ) -> Self {
        let most = usize::try_from(most_bytes / 4).unwrap_or(usize::MAX);
        let mut shards = Vec::new();
        let mut shard = 0..0;
        for (number, table) in
            embedding.parameters.iter().enumerate().filter(|(number, table)| !table.is_empty() && is_on_device(*number))
        {
            if (cuts(number) || shard.end < table.offset) && !shard.is_empty() {
                shards.push(shard.clone());
            }
            if cuts(number) || shard.end < table.offset {
                shard = table.offset..table.offset;
            }
            let mut left = table.rows;
            while left > 0 {
                let room = most.saturating_sub(shard.len()) / table.stride;
                let rows = left.min(if shard.is_empty() { room.max(1) } else { room });
                shard.end += rows * table.stride;
                left -= rows;
                if left > 0 {
                    let next = shard.end..shard.end;
                    shards.push(std::mem::replace(&mut shard, next));
                }
            }
        }
        shards.extend((!shard.is_empty()).then_some(shard));
        Self(shards)
    }

    /// Floats of the embedding block, shard by shard.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.0.iter().cloned()
    }

    /// The segments of a batch that lie in each shard: segments go by table and row, so that they are a run.
    pub fn segments<'a>(&'a self, plan: &'a Plan, segments: &'a Segments) -> impl Iterator<Item = Range<usize>> + 'a {
        let start_of = move |segment: usize| {
            let table = &plan.embedding.parameters[segments.tables[segment] as usize];
            table.offset + segments.rows[segment] as usize * table.stride
        };
        self.0.iter().scan(0, move |from, shard| {
            // What lies before it lies in the shard before, or in a table that is not here.
            let behind = |from: usize, float: usize| {
                from + partition_point(segments.rows.len() - from, |i| start_of(from + i) < float)
            };
            let start = behind(*from, shard.start);
            *from = behind(start, shard.end);
            Some(start..*from)
        })
    }

    /// What the kernels of each shard are told of a batch, and what their step computes with, by the number of a table.
    pub fn of_batch<'a>(
        &'a self,
        plan: &'a Plan,
        segments: &'a Segments,
        constants: impl Fn(usize) -> Constants + 'a,
    ) -> impl Iterator<Item = Shard> + 'a {
        let constants = move |floats: &Range<usize>| constants(first_table(&plan.embedding, floats)).into();
        self.0.iter().zip(self.segments(plan, segments)).map(move |(floats, segments)| Shard {
            start: (floats.start / 4) as u32,
            length: (floats.len() / 4) as u32,
            segments: segments.start as u32,
            segment_end: segments.end as u32,
            optimizer: constants(floats),
        })
    }
}

/// The table that a shard begins in.
pub fn first_table(embedding: &Layout, floats: &Range<usize>) -> usize {
    embedding.parameters.partition_point(|table| table.offset <= floats.start).saturating_sub(1)
}

/// How many of `0..len` come before the first that is not `before`.
fn partition_point(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: usize) -> bool {
        false
    }

    fn all(_: usize) -> bool {
        true
    }

    /// Rows of 4, 8 and 12 floats: 28, 24 and 24 floats, 76 in all.
    fn layout() -> Layout {
        let mut layout = Layout::default();
        for (rows, dim) in [(7, 3), (3, 5), (2, 12)] {
            layout.push_matrix("table".into(), rows, dim);
        }
        layout
    }

    #[test]
    fn one_shard_holds_all_tables_that_fit() {
        let whole = Shards(vec![Range { start: 0, end: 76 }]);
        assert_eq!(Shards::new(&layout(), 4 * 76, all, never), whole);
        assert_eq!(Shards::new(&layout(), u64::MAX, all, never), whole);
        assert_eq!(Shards::new(&Layout::default(), 1 << 20, all, never), Shards::default());
    }

    #[test]
    fn shards_end_between_rows_and_leave_none_out() {
        // The second would have room for half a row of the second table, the fourth for a third of one of the last.
        assert_eq!(Shards::new(&layout(), 4 * 20, all, never).0, [0..20, 20..36, 36..52, 52..64, 64..76]);
        assert_eq!(Shards::new(&layout(), 4 * 75, all, never).0, [0..64, 64..76]);
    }

    #[test]
    fn a_table_that_is_cut_off_begins_a_shard() {
        assert_eq!(Shards::new(&layout(), u64::MAX, all, |table| table == 1).0, [0..28, 28..76]);
        assert_eq!(Shards::new(&layout(), 4 * 20, all, |table| table == 2).0, [0..20, 20..36, 36..52, 52..64, 64..76]);
        assert_eq!(Shards::new(&layout(), u64::MAX, all, |_| true).0, [0..28, 28..52, 52..76]);
        assert_eq!([0..28, 20..36, 28..52, 64..76].map(|floats| first_table(&layout(), &floats)), [0, 0, 1, 2]);
    }

    #[test]
    fn a_row_larger_than_a_shard_may_be_has_one_of_its_own() {
        assert_eq!(Shards::new(&layout(), 4 * 8, all, never).0.len(), 4 + 3 + 2);
        assert_eq!(Shards::new(&layout(), 0, all, never).0.len(), 7 + 3 + 2);
    }

    #[test]
    fn a_table_that_is_not_on_the_device_lies_in_no_shard() {
        let but = |left_out: usize| move |table: usize| table != left_out;
        let ends = |shard: &Range<usize>| (shard.start, shard.end);
        let cut =
            |left_out| Shards::new(&layout(), u64::MAX, but(left_out), never).0.iter().map(ends).collect::<Vec<_>>();
        assert_eq!([cut(0), cut(1), cut(2)], [vec![(28, 76)], vec![(0, 28), (52, 76)], vec![(0, 52)]]);
        assert_eq!(Shards::new(&layout(), 4 * 20, but(1), never).0, [0..20, 20..28, 52..64, 64..76]);
        assert!(Shards::new(&layout(), 4 * 20, |_| false, never).0.is_empty());
    }
}
