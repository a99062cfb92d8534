//! Messages in memory: all of them without a disk, and those that a failing disk does not take.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::Stored;

/// What a message takes beside its payload, about.
const OVERHEAD: usize = 128;

/// Messages in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    messages: VecDeque<Stored>,
    bytes: u64,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that are taken, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that a message with this payload takes, about.
    pub(super) fn size(payload: usize) -> u64 {
        (payload + OVERHEAD) as u64
    }

    pub(super) fn first_number(&self) -> Option<u64> {
        self.messages.front().map(|message| message.number)
    }

    pub(super) fn push(&mut self, message: Stored) {
        self.bytes += Self::size(message.payload.len());
        self.messages.push_back(message);
    }

    /// The first message whose number is not below `number`.
    pub(super) fn from(&self, number: u64) -> Option<&Stored> {
        self.messages.get(self.place(number))
    }

    pub(super) fn front(&self) -> Option<&Stored> {
        self.messages.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<Stored> {
        self.remove_at(0)
    }

    /// Whether the message of this number is here.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.messages.get(self.place(number)).is_some_and(|message| message.number == number)
    }

    /// Takes the message of this number out.
    pub(super) fn remove(&mut self, number: u64) -> Option<Stored> {
        let place = self.place(number);
        let is_there = self.messages.get(place).is_some_and(|message| message.number == number);
        is_there.then(|| self.remove_at(place)).flatten()
    }

    /// Takes out the oldest that `may_go`.
    pub(super) fn remove_oldest(&mut self, may_go: impl Fn(&Stored) -> bool) -> Option<Stored> {
        let place = self.messages.iter().position(may_go)?;
        self.remove_at(place)
    }

    /// Takes out, of the older half of those that `may_go`, all but every `keep_every`-th.
    pub(super) fn thin(&mut self, keep_every: u32, may_go: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        let half = self.messages.iter().filter(|message| may_go(message)).count() / 2;
        let (mut seen, mut gone) = (0, Vec::new());
        for message in std::mem::take(&mut self.messages) {
            let considered = seen < half && may_go(&message);
            let goes = considered && !seen.is_multiple_of(keep_every as usize);
            seen += usize::from(considered);
            match goes {
                true => gone.push(message),
                false => self.messages.push_back(message),
            }
        }
        self.bytes -= gone.iter().map(|message| Self::size(message.payload.len())).sum::<u64>();
        gone
    }

    fn place(&self, number: u64) -> usize {
        self.messages.partition_point(|message| message.number < number)
    }

    fn remove_at(&mut self, place: usize) -> Option<Stored> {
        let message = self.messages.remove(place)?;
        self.bytes -= Self::size(message.payload.len());
        if self.messages.is_empty() {
            self.messages.shrink_to(64);
        }
        Some(message)
    }
}

/// The run's name and the topic, shared with the message before where they are the same.
pub(super) fn shared(text: &str, last: Option<&Arc<str>>) -> Arc<str> {
    match last {
        Some(last) if **last == *text => Arc::clone(last),
        _ => text.into(),
    }
}
