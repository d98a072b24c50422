//! Datagrams that wait for a stream.
//!
//! TCP delivers late what UDP would lose: behind one lost segment everything waits. A long queue in front of it
//! would make that worse, for what comes out of it is too old to be of use. So the queue is short and keeps the
//! newest: a full one drops its oldest, as a router's would, and whoever sends notices the loss.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Datagrams for one connection, newest kept.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Queue {
    /// Bytes that may wait.
    ///
    /// 128 KiB are 10 ms at 100 Mbit/s, and two trains of 64 KB, so that a burst of the data plane
    /// fits. Less than that would cost throughput on a fast line, more would be delay on a slow one.
    pub const BYTES_MAX: usize = 128 << 10;

    /// Datagrams that may wait: a queue of small ones is bounded too.
    pub const COUNT_MAX: usize = 512;

    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// Adds a datagram; the oldest go where there is no room.
    pub fn push(&mut self, datagram: Vec<u8>) {
        self.bytes += datagram.len();
        self.waiting.push_back(datagram);
        while self.bytes > Self::BYTES_MAX || self.waiting.len() > Self::COUNT_MAX {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let datagram = self.waiting.pop_front()?;
        self.bytes -= datagram.len();
        Some(datagram)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many datagrams had to go, since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn datagrams_leave_in_order() {
        let mut queue = Queue::new();
        queue.push(vec![1]);
        queue.push(vec![2, 2]);
        assert_eq!((queue.bytes(), queue.is_empty()), (3, false));
        assert_eq!(queue.pop(), Some(vec![1]));
        assert_eq!(queue.pop(), Some(vec![2, 2]));
        assert_eq!((queue.pop(), queue.bytes(), queue.dropped()), (None, 0, 0));
    }

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_rest() {
        let mut queue = Queue::new();
        for value in 0..200_u8 {
            queue.push(vec![value; 1_400]);
        }
        let kept = Queue::BYTES_MAX / 1_400;
        assert!(queue.bytes() <= Queue::BYTES_MAX);
        assert_eq!(queue.dropped(), 200 - kept as u64);
        assert_eq!(queue.pop().unwrap()[0], 200 - u8::try_from(kept).unwrap());
    }

    #[test]
    fn many_small_ones_are_bounded_by_their_number() {
        let mut queue = Queue::new();
        for _ in 0..Queue::COUNT_MAX + 5 {
            queue.push(Vec::new());
        }
        assert_eq!(queue.dropped(), 5);
    }

    #[test]
    fn one_that_is_larger_than_the_queue_is_dropped_itself() {
        let mut queue = Queue::new();
        queue.push(vec![0; Queue::BYTES_MAX + 1]);
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.dropped()), (0, 1));
    }
}
