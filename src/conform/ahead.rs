//! Work done on all cores ahead of where it is needed.

use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;

/// Results that are made or wait at a time, for each thread: a case may take a hundred megabytes.
const AHEAD: usize = 2;

/// Calls `take` with what `make` makes of each item, in the items' order, while the next ones are made on other threads.
///
/// # Errors
/// The first that `take` gives.
pub fn in_order<I: Send, T: Send, E>(
    items: impl IntoIterator<Item = I>,
    make: impl Fn(I) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let (make, ahead) = (&make, AHEAD * rayon::current_num_threads());
    rayon::in_place_scope_fifo(|scope| {
        let mut items = items.into_iter();
        let mut waiting = VecDeque::new();
        loop {
            for item in items.by_ref().take(ahead - waiting.len()) {
                let (send, receive) = sync_channel(1);
                // Where taking has failed nobody receives any more.
                scope.spawn_fifo(move |_| drop(send.send(make(item))));
                waiting.push_back(receive);
            }
            // A sender that is gone has panicked, and the scope hands that on.
            let Some(Ok(made)) = waiting.pop_front().map(|first| first.recv()) else { return Ok(()) };
            take(made)?;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_their_items_and_few_of_them_wait() {
        let (made, mut taken) = (AtomicUsize::new(0), Vec::new());
        let make = |i: u64| {
            std::thread::sleep(Duration::from_millis((i * 7) % 5));
            made.fetch_add(1, Ordering::Relaxed);
            i
        };
        let done = in_order(0..200, make, |i| {
            taken.push(i);
            assert!(made.load(Ordering::Relaxed) - taken.len() <= AHEAD * rayon::current_num_threads());
            Ok::<(), ()>(())
        });
        assert_eq!((done, taken), (Ok(()), (0..200).collect()));
    }

    #[test]
    fn an_error_ends_the_work() {
        let made = AtomicUsize::new(0);
        let make = |i: u32| {
            made.fetch_add(1, Ordering::Relaxed);
            i
        };
        assert_eq!(in_order(0..10_000, make, |i| if i < 3 { Ok(()) } else { Err(i) }), Err(3));
        assert!(made.load(Ordering::Relaxed) < 10_000);
    }
}
