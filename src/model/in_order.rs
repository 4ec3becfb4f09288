//! Work in several threads, delivered in order.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// More threads than this wait for memory.
const MAX_THREADS: usize = 8;
/// Bytes of input from which on threads are started: some milliseconds of work.
const THREADS_FROM: u64 = 8 << 20;
/// Results that wait for the consumer, per thread.
const WAITING: usize = 2;
/// Results that exist at a time, per thread: those that wait, the one being made and the one being consumed.
pub(crate) const IN_FLIGHT: usize = WAITING + 2;

/// Threads that this machine can keep busy.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).clamp(1, MAX_THREADS)
}

/// Threads that are worth their start for so many bytes.
pub(crate) fn threads_for(bytes: u64) -> usize {
    if bytes < THREADS_FROM { 1 } else { threads() }
}

/// Runs `work` on every item, in `threads` threads, and gives the results to `consume` in the order of items.
///
/// Each thread has a scratch of its own. Threads end when `consume` returns, and run ahead of it by a few items
/// at most. With one thread nothing runs ahead: the caller's thread works on an item when it is asked for.
pub(crate) fn in_order<I: Sync, S: Default, T: Send, R>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I, &mut S) -> T + Sync,
    consume: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R,
) -> R {
    let mut next = 0;
    if items.len() < 2 || threads < 2 {
        let mut scratch = S::default();
        return consume(&mut || {
            next += 1;
            items.get(next - 1).map(|item| work(item, &mut scratch))
        });
    }
    thread::scope(|scope| {
        let start = |thread: usize| {
            let (sender, receiver) = sync_channel(WAITING);
            let work = &work;
            scope.spawn(move || {
                let mut scratch = S::default();
                for item in items.iter().skip(thread).step_by(threads) {
                    if sender.send(work(item, &mut scratch)).is_err() {
                        break;
                    }
                }
            });
            receiver
        };
        let receivers: Vec<Receiver<_>> = (0..threads).map(start).collect();
        consume(&mut || {
            let receiver = receivers.get(next % threads).filter(|_| next < items.len())?;
            next += 1;
            // A thread that is gone has panicked; the scope passes that on.
            receiver.recv().ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_the_order_of_items_whatever_the_number_of_threads() {
        let items: Vec<u32> = (0..100).collect();
        for threads in 1..5 {
            let double = |item: &u32, (): &mut ()| item * 2;
            let all: Vec<u32> = in_order(&items, threads, double, |next| std::iter::from_fn(next).collect());
            assert_eq!(items.iter().map(|item| item * 2).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn a_consumer_may_stop_early() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(Some(0), in_order(&items, 2, |item, (): &mut ()| *item, |next| next()));
    }
}
