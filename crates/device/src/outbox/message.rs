//! What goes in and what comes out.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::loss::LossReason;

/// A message to keep.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// Its number within this run, the `seq` of its payload
    pub seq: u64,
    /// When it was made
    pub time: Timestamp,
    /// Where it goes; at most 256 bytes
    pub topic: &'a str,
    /// What it says; at most 256 KiB
    pub payload: &'a [u8],
}

/// Names a message that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

#[cfg(test)]
impl Ticket {
    /// The ticket of a message with this number.
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }
}

/// A message given out to be sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// To confirm it with
    pub ticket: Ticket,
    /// The run that made it
    pub boot: Arc<str>,
    /// Its number within that run
    pub seq: u64,
    /// When it was made, to the millisecond
    pub time: Timestamp,
    /// Where it goes
    pub topic: Arc<str>,
    /// What it says: the same bytes each time
    pub payload: Bytes,
}

/// The run before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousRun {
    /// Its name
    pub boot: Box<str>,
    /// It ended in good order, with everything on disk. Otherwise messages of its last moments may be missing: as many
    /// as its [`Durability`] allowed.
    pub is_closed: bool,
}

/// The disk does not do what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried
    pub operation: &'static str,
    /// The operating system's kind of error
    pub kind: io::ErrorKind,
    /// Its words
    pub message: Box<str>,
    /// Whether it goes on: messages are kept in memory
    pub goes_on: bool,
}

/// How full an outbox is, and what became of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Messages not confirmed yet
    pub waiting: u64,
    /// Of them, those in memory alone
    pub in_memory: u64,
    /// Bytes of the segments
    pub bytes: u64,
    /// Messages delivered since the outbox was made
    pub delivered: u64,
    /// Messages lost since the outbox was made, by reason, in the order of [`LossReason::ALL`]
    pub lost: [u64; LossReason::ALL.len()],
    /// What the disk last refused to do
    pub trouble: Option<Trouble>,
}

impl Status {
    /// Messages lost since the outbox was made, for whatever reason.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().sum()
    }
}
