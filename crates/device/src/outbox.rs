//! The outbox: messages on disk from before they are sent until they are confirmed.
//!
//! It knows nothing of MQTT or HTTP: messages go in with [`Outbox::append`], come out with [`Outbox::next`] as often as
//! it takes, and are gone after [`Outbox::confirm`]. It is synchronous and has one owner; two processes cannot open the
//! same one.
//!
//! # What is in the directory
//!
//! | File | Holds |
//! |---|---|
//! | `lock` | nothing; the process that works with the outbox holds a lock on it |
//! | `state` | two slots of 32 KiB: what is done with, what was lost |
//! | `<first>.tail` | the segment that is appended to; at most one |
//! | `<first>-<count>-<level>.segment` | a closed segment |
//! | `<first>.replacement` | a segment being made of others |
//!
//! Every message has a *number*: its place in the outbox, from 0, never used twice. It is not the sequence number that
//! the platform sees, which starts again with each run of the program. `<first>` is the number of a segment's first
//! message in 20 digits; the numbers of its messages follow each other, and the next segment's are higher.
//! `<level>` says how often the segment was thinned.
//!
//! ## A segment
//!
//! ```text
//! segment = "TESSEGM" 0x01, then records
//! record  = length u32 | checksum u32 | body            length: of the body. Little-endian.
//!           checksum: CRC32C over first (u64), length, body
//! body    = 0x02  name of a run                          ("boot": of the messages that follow)
//!         | 0x01  message
//!         | 0x03  generation  message                    (a message that reports losses: it settles that ledger)
//! message = number - first | seq | time | topic | payload
//! ```
//!
//! Numbers are LEB128; the time is zigzag milliseconds from 1970; a text has its length before it; the payload is the
//! rest of the body, byte for byte what is sent. With 200 bytes of payload a message takes about 235 bytes.
//!
//! ## A slot of the state
//!
//! ```text
//! slot = "TESOUTB" 0x00 | generation u64 | length u32 | checksum u32 | body
//!        checksum: CRC32C over all before it, then the body
//! body = format 1 | boot | closed? | floor | next number | delivered
//!      | removal: 0, or 1 first end, or 2 first end count level
//!      | ledger: generation, a total for each reason, losses (boot reason first last count from to)
//!      | done: ranges above the floor (distance from the last, length)
//!      | receipts? (1: only a receipt confirms; missing is 0)
//! ```
//!
//! The slot with the higher generation counts. A slot is written over and over until it is on the disk, and only then
//! the other one: whatever is cut short, one of them is whole.
//!
//! # Invariants
//!
//! 1. A message is written before [`Outbox::next`] gives it out (with [`Durability::Memory`] it is in memory instead).
//! 2. A segment is deleted only when all its messages are done with: confirmed, or counted as lost in a state that was
//!    on the disk before.
//! 3. A closed segment is on the disk before the next one is begun: only the tail can be torn.
//! 4. Numbers are not used again: the first of a new run is above every number that a segment or the state names.
//!
//! # What a crash leaves, and how it is repaired
//!
//! - *The process is killed*: every append that returned is there. Up to 256 confirmations are forgotten: those
//!   messages are sent again, as the same bytes, and the platform knows their `boot` and `seq`.
//! - *The power is cut*: what was appended since the last sync may be missing or torn ([`Durability`]); confirmations
//!   of the last minute, or the last 10,000, may be forgotten. [`Outbox::previous_run`] tells that a run did not end in
//!   good order.
//! - *The tail is torn*: opening reads it, cuts it after its last whole record and closes it.
//! - *Bits are flipped, sectors are lost, anywhere*: reading passes over bytes that are no record until one stands
//!   there. The numbers that are missing are counted as lost, reason *damaged*.
//! - *Between writing a replacement and putting it in its place*: the state names it, and opening does it again.
//! - *Neither slot is whole*: everything that is still there is sent again.
//!
//! # Exactly once
//!
//! A message is sent again after a crash or a lost connection, and the platform drops it because it remembers what it
//! stored: of each device at least the eight runs heard of last, and of each run 64 ranges of numbers. So the outbox
//! never gives out messages of more than six runs, or of more than 48 ranges, before it has made durable which of them
//! are confirmed.
//!
//! # The disk
//!
//! While the disk takes nothing (full, failing), messages are kept in memory, bounded, and go to the disk when it takes
//! them again. Each message is written once; a segment that is thinned is written again, half as long.

mod append;
mod error;
mod inspect;
mod loss;
mod memory;
mod message;
mod numbers;
mod options;
mod ranges;
mod record;
mod recover;
mod room;
mod segment;
mod send;
mod state;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::OutboxError;
pub use inspect::{Inspection, inspect};
use loss::Ledger;
pub use loss::{Loss, LossReason};
use memory::Memory;
pub use message::{Entry, NewMessage, PreviousRun, Status, Ticket, Trouble};
pub use options::{Durability, Options, WhenFull};
use ranges::Ranges;
use segment::Segment;
use send::Sending;
use state::{Removal, Run, State, StateFile};

/// Confirmations after which the state is written, safe from a kill.
const CONFIRMATIONS_TO_WRITE: u64 = 256;
/// Confirmations after which the state is synced, safe from a power cut.
const CONFIRMATIONS_TO_SYNC: u64 = 10_000;
/// Time after which the state is synced when anything changed.
const STATE_SYNC: Duration = Duration::from_secs(60);
/// The shortest and the longest time between attempts to write to a disk that failed.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The directory of an outbox, and the files that are open in it.
#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    state: StateFile,
    tail: Option<Tail>,
    /// Held as long as the outbox is open
    _lock: File,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Whether it holds records that are not on the disk yet
    unsynced: bool,
}

/// Messages until they are confirmed. See the [module](self).
#[derive(Debug)]
pub struct Outbox {
    options: Options,
    boot: Arc<str>,
    previous: Option<PreviousRun>,
    /// None with [`Durability::Memory`]
    disk: Option<Disk>,
    /// Oldest first; the last one may be the tail
    segments: VecDeque<Segment>,
    /// Bytes of all segments
    bytes: u64,
    /// Messages that are in no segment; their numbers are above those that are
    memory: Memory,
    next_number: u64,
    /// Messages done with: confirmed or lost
    done: Ranges,
    sending: Sending,
    ledger: Ledger,
    delivered: u64,
    needs_receipts: bool,
    removal: Option<Removal>,
    trouble: Option<Trouble>,
    /// When the disk is tried again, and after how long the time after that
    retry: Option<(Instant, Duration)>,
    /// Messages were written that the disk would not make durable. A later success does not tell that they are: a
    /// system forgets what it could not write.
    sync_failed: bool,
    last_sync: Instant,
    last_state_sync: Instant,
    /// Changes of the state that were not written, and that were not synced
    unwritten: u64,
    unsynced: u64,
    scratch: Vec<u8>,
}

impl Outbox {
    /// An outbox that never touches a disk, whatever `options` say of durability. `boot` names this run of the program.
    ///
    /// # Errors
    /// `boot` is too long.
    pub fn in_memory(options: Options, boot: &str, now: Instant) -> Result<Self, OutboxError> {
        if boot.len() > record::MAX_BOOT {
            return Err(OutboxError::NameTooLong { bytes: boot.len(), limit: record::MAX_BOOT });
        }
        Ok(Self {
            options,
            boot: boot.into(),
            previous: None,
            disk: None,
            segments: VecDeque::new(),
            bytes: 0,
            memory: Memory::default(),
            next_number: 0,
            done: Ranges::default(),
            sending: Sending::default(),
            ledger: Ledger::default(),
            delivered: 0,
            needs_receipts: false,
            removal: None,
            trouble: None,
            retry: None,
            sync_failed: false,
            last_sync: now,
            last_state_sync: now,
            unwritten: 0,
            unsynced: 0,
            scratch: Vec::new(),
        })
    }

    /// Works by another durability from now on. One without a disk stays so, and one with a disk keeps it.
    pub fn set_durability(&mut self, durability: Durability, now: Instant) {
        let may = self.is_on_disk() && durability != Durability::Memory;
        if may && durability != self.options.durability {
            self.sync_data(now);
            self.options.durability = durability;
        }
    }

    /// The name of this run of the program.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The run before this one; none when the outbox is new.
    pub fn previous_run(&self) -> Option<&PreviousRun> {
        self.previous.as_ref()
    }

    /// How full it is.
    pub fn status(&self) -> Status {
        Status {
            waiting: self.waiting(),
            in_memory: self.memory.len() as u64,
            bytes: self.bytes,
            delivered: self.delivered,
            lost: self.ledger.totals,
            trouble: self.trouble.clone(),
        }
    }

    /// Messages not confirmed yet.
    pub fn waiting(&self) -> u64 {
        self.segments.iter().map(|segment| segment.left).sum::<u64>() + self.memory.len() as u64
    }

    /// Messages lost since the outbox was made, for whatever reason.
    pub fn lost_in_all(&self) -> u64 {
        self.ledger.totals.iter().sum()
    }

    /// What the disk last refused to do.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether messages go to a disk.
    pub fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// What was lost and is not reported yet; see [`Outbox::append_report`].
    pub fn losses(&self) -> &[Loss] {
        &self.ledger.losses
    }

    /// Syncs what is due, tries a disk again that failed, writes down what was confirmed. To be called whenever
    /// [`Outbox::due`] has passed; calling it more often does nothing.
    pub fn maintain(&mut self, now: Instant) {
        if self.retry.is_some_and(|(at, _)| now >= at) {
            self.leave_memory(now);
        }
        if let Durability::Interval(interval) = self.options.durability
            && now.duration_since(self.last_sync) >= interval
        {
            self.sync_data(now);
        }
        if self.unsynced >= CONFIRMATIONS_TO_SYNC
            || (self.unsynced > 0 && now.duration_since(self.last_state_sync) >= STATE_SYNC)
        {
            self.save(now);
        } else if self.unwritten >= CONFIRMATIONS_TO_WRITE {
            self.write_state();
        }
    }

    /// When [`Outbox::maintain`] has something to do; none when it has not.
    pub fn due(&self) -> Option<Instant> {
        let retry = self.retry.map(|(at, _)| at);
        let tail = self.disk.as_ref().and_then(|disk| disk.tail.as_ref());
        let data = match self.options.durability {
            Durability::Interval(interval) if tail.is_some_and(|tail| tail.unsynced) => Some(self.last_sync + interval),
            _ => None,
        };
        let state = (self.disk.is_some() && self.unsynced > 0).then(|| self.last_state_sync + STATE_SYNC);
        [retry, data, state].into_iter().flatten().min()
    }

    /// Ends in good order: everything on disk, and the next run knows it. True when all that waits is there.
    pub fn close(mut self, now: Instant) -> bool {
        self.leave_memory(now);
        self.sync_data(now);
        let is_durable = self.memory.is_empty() && (!self.sync_failed || self.waiting() == 0);
        let is_closed = is_durable && self.trouble.as_ref().is_none_or(|trouble| !trouble.goes_on);
        let run = Run { boot: self.boot.as_ref().into(), is_closed };
        let state = State { run, ..self.snapshot() };
        if let Some(disk) = &mut self.disk
            && disk.state.write(&state).is_ok()
        {
            // A state that is not synced is an earlier one after a power cut: what it forgot is sent again.
            let _ = disk.state.sync();
        }
        is_durable
    }

    /// A change of the state: counted, so that it is written in time.
    fn touch(&mut self) {
        self.unwritten += 1;
        self.unsynced += 1;
    }

    fn snapshot(&self) -> State {
        State {
            run: Run { boot: self.boot.as_ref().into(), is_closed: false },
            floor: self.floor(),
            next_number: self.next_number,
            done: self.done.clone(),
            removal: self.removal,
            ledger: self.ledger.clone(),
            delivered: self.delivered,
            needs_receipts: self.needs_receipts,
        }
    }

    /// Every message below this number is done with.
    fn floor(&self) -> u64 {
        let first = self.segments.front().map(|segment| segment.first);
        let memory = self.memory.first_number();
        first.or(memory).unwrap_or(self.next_number)
    }

    /// Writes the state, safe from a kill.
    fn write_state(&mut self) {
        self.unwritten = 0;
        if self.disk.is_none() {
            return;
        }
        let state = self.snapshot();
        let Some(disk) = &mut self.disk else { return };
        if let Err(error) = disk.state.write(&state) {
            self.note("write the state", &error, false);
        }
    }

    /// Writes the state and waits until it is on the disk, after the messages that it may speak of.
    fn save(&mut self, now: Instant) {
        self.sync_data(now);
        self.write_state();
        self.last_state_sync = now;
        let synced = self.disk.as_mut().map_or(Ok(()), |disk| disk.state.sync());
        // One that failed is tried again in its time, and not with every confirmation.
        self.unsynced = synced.is_err().into();
        if let Err(error) = synced {
            self.note("sync the state", &error, false);
        }
    }

    /// Waits until all messages that were written are on the disk.
    fn sync_data(&mut self, now: Instant) {
        let Some(tail) = self.disk.as_mut().and_then(|disk| disk.tail.as_mut()) else { return };
        if !tail.unsynced {
            return;
        }
        self.last_sync = now;
        match tail.file.sync_data() {
            Ok(()) => tail.unsynced = false,
            Err(error) => {
                self.sync_failed = true;
                self.note("sync messages", &error, false);
            }
        }
    }

    fn note(&mut self, operation: &'static str, error: &io::Error, goes_on: bool) {
        let message = error.to_string().into();
        self.trouble = Some(Trouble { operation, kind: error.kind(), message, goes_on });
    }
}

#[cfg(test)]
mod tests;
