//! Work cut in two until it is small, the halves in parallel, each with its own part of the data. Nothing is allocated.

use std::ops::Range;

/// Data that can be cut in two.
pub trait Split: Sized + Send {
    /// The first `at` floats, and those behind.
    fn split(self, at: usize) -> (Self, Self);
}

impl<T: Send> Split for &mut [T] {
    fn split(self, at: usize) -> (Self, Self) {
        self.split_at_mut(at)
    }
}

impl<A: Split, B: Split> Split for (A, B) {
    fn split(self, at: usize) -> (Self, Self) {
        let ((a, a_rest), (b, b_rest)) = (self.0.split(at), self.1.split(at));
        ((a, b), (a_rest, b_rest))
    }
}

/// Calls `f` with runs of at most `most` items, where its data starts, and the data. `data` starts at `from`; an item's
/// own starts at `start(item)`, which grows from item to item. What lies before the first item goes with the first,
/// and what lies between two goes with the one before.
pub fn for_each_run<D: Split>(
    items: Range<usize>,
    most: usize,
    from: usize,
    data: D,
    start: &(impl Fn(usize) -> usize + Sync),
    f: &(impl Fn(Range<usize>, usize, D) + Sync),
) {
    if items.len() <= most {
        return f(items, from, data);
    }
    let middle = items.start + items.len() / 2;
    let (left_data, right_data) = data.split(start(middle) - from);
    rayon::join(
        || for_each_run(items.start..middle, most, from, left_data, start, f),
        || for_each_run(middle..items.end, most, start(middle), right_data, start, f),
    );
}
