//! Samples until they are acknowledged: in memory, bounded, oldest dropped first and counted.
//!
//! What is here is gone when the process ends. The outbox on disk, which survives that, takes this place later.

use std::collections::VecDeque;

use bytes::Bytes;

/// A sample as it is sent. A second sending is the same bytes, so the platform recognises it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) topic: Box<str>,
    pub(crate) payload: Bytes,
}

/// Entries in the order of their sequence numbers.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    capacity: usize,
    /// Entries below this number were handed to the present connection.
    next_to_send: u64,
}

impl Outbox {
    /// `capacity` is at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity: capacity.max(1), next_to_send: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps an entry; its number is above all others. The sequence number that had to go for it is returned.
    pub(crate) fn push(&mut self, entry: Entry) -> Option<u64> {
        let dropped = (self.entries.len() >= self.capacity).then(|| self.entries.pop_front()).flatten();
        self.entries.push_back(entry);
        dropped.map(|entry| entry.seq)
    }

    /// The next entry to hand to the connection.
    pub(crate) fn next(&mut self) -> Option<Entry> {
        let index = self.entries.partition_point(|entry| entry.seq < self.next_to_send);
        let entry = self.entries.get(index)?.clone();
        self.next_to_send = entry.seq + 1;
        Some(entry)
    }

    /// The entry is done with. False when it was dropped before.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        match self.entries.binary_search_by_key(&seq, |entry| entry.seq) {
            Ok(index) => self.entries.remove(index).is_some(),
            Err(_) => false,
        }
    }

    /// A new connection: everything that is still here is sent, oldest first.
    pub(crate) fn rewind(&mut self) {
        self.next_to_send = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(capacity: usize, count: u64) -> (Outbox, Vec<Option<u64>>) {
        let mut outbox = Outbox::new(capacity);
        let dropped =
            (1..=count).map(|seq| outbox.push(Entry { seq, topic: "".into(), payload: Bytes::new() })).collect();
        (outbox, dropped)
    }

    fn sent(outbox: &mut Outbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next().map(|entry| entry.seq)).collect()
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_order() {
        let (mut outbox, _) = outbox(10, 4);
        assert_eq!(sent(&mut outbox), [1, 2, 3, 4]);
        assert_eq!(sent(&mut outbox), [] as [u64; 0]);
        assert!(outbox.remove(2));
        assert!(!outbox.remove(2));
        outbox.rewind();
        assert_eq!(sent(&mut outbox), [1, 3, 4]);
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let (mut outbox, dropped) = outbox(2, 4);
        assert_eq!(dropped, [None, None, Some(1), Some(2)]);
        assert_eq!(sent(&mut outbox), [3, 4]);
        outbox.push(Entry { seq: 5, topic: "".into(), payload: Bytes::new() });
        assert_eq!(sent(&mut outbox), [5], "3 was dropped in flight, 4 is not sent twice");
        assert_eq!(outbox.len(), 2);
    }
}
