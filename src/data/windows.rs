//! The order of a streamed epoch: shards in an order that is drawn, some of them at a time, whose rows are shuffled
//! together. It depends on seed and epoch alone, and any place in it is found without reading what comes before.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batches::Order;
use crate::seed;

/// Shards that are in memory together.
#[derive(Debug, PartialEq)]
pub struct Window {
    /// Its number in the epoch.
    pub number: usize,
    /// Numbers of shards.
    pub shards: Vec<usize>,
    /// Where its rows stand in the epoch.
    pub rows: Range<usize>,
}

/// The windows of an epoch over shards of so many rows each.
pub fn windows(order: Order, shard_rows: &[usize], per_window: usize) -> Vec<Window> {
    let mut shards: Vec<usize> = (0..shard_rows.len()).collect();
    shuffle(&mut shards, order, "shards");
    let mut end = 0;
    let windows = shards.chunks(per_window.max(1)).enumerate().map(|(number, shards)| {
        let start = end;
        end += shards.iter().map(|shard| shard_rows[*shard]).sum::<usize>();
        Window { number, shards: shards.to_vec(), rows: start..end }
    });
    windows.collect()
}

/// The order of a window's rows.
pub fn rows(order: Order, window: &Window) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..window.rows.len() as u32).collect();
    shuffle(&mut rows, order, &format!("window {}", window.number));
    rows
}

fn shuffle<T>(items: &mut [T], order: Order, stream: &str) {
    if let Order::Shuffled { seed, epoch } = order {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(seed, stream));
        rng.set_stream(epoch);
        items.shuffle(&mut rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: [usize; 6] = [7, 7, 7, 7, 7, 3];

    fn shards(seed: u64, epoch: u64) -> Vec<usize> {
        windows(Order::Shuffled { seed, epoch }, &SHARDS, 4).into_iter().flat_map(|window| window.shards).collect()
    }

    #[test]
    fn every_shard_is_in_one_window_in_an_order_of_the_epoch() {
        let mut first = shards(5, 1);
        assert_eq!(first, shards(5, 1));
        assert_ne!(first, shards(5, 2));
        assert_ne!(first, shards(6, 1));
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn windows_follow_each_other_and_hold_their_shards_rows() {
        for order in [Order::File, Order::Shuffled { seed: 5, epoch: 3 }] {
            let windows = windows(order, &SHARDS, 4);
            assert_eq!(windows.iter().map(|window| window.shards.len()).collect::<Vec<_>>(), [4, 2]);
            assert_eq!((windows[0].rows.start, windows[1].rows.end), (0, 38));
            assert_eq!(windows[0].rows.end, windows[1].rows.start);
            for window in windows {
                assert_eq!(window.rows.len(), window.shards.iter().map(|shard| SHARDS[*shard]).sum::<usize>());
            }
        }
    }

    #[test]
    fn the_rows_of_each_window_have_an_order_of_their_own() {
        let order = Order::Shuffled { seed: 5, epoch: 1 };
        let [first, second] = [0, 1].map(|number| rows(order, &Window { number, shards: vec![0], rows: 14..51 }));
        assert_ne!(first, second);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, rows(Order::File, &Window { number: 0, shards: vec![0], rows: 14..51 }));
    }
}
