//! What devices send, durably and compactly, in `telemetry.db`.
//!
//! # Why this format
//!
//! A row for each reading costs 24 to 90 bytes and touches a B-tree leaf of every device at every
//! commit. Here a commit appends one blob, whatever number of devices it is for, and readings are
//! regrouped later, by device and by metric, into compressed chunks of some hundred samples.
//!
//! # The file
//!
//! One SQLite file with a write-ahead log; `user_version` is the format, one for each step of `schema`. Times are signed
//! nanoseconds since 1970-01-01 UTC. Every blob begins with a version byte and the CRC32C of the
//! rest; the layouts stand at the top of the modules `tail`, `chunk` and `numbers`; a snapshot is
//! written by `cursor` and `latest`. The rows of `device`, `chunk`, `message` and `dead_letter` have a
//! checksum of their own over what stands beside the blob (`checksum`).
//!
//! | Table | A row is |
//! |---|---|
//! | `tail` | a batch, the samples of one commit in one blob, under a position that rises and is never used again; a commit of many megabytes is several |
//! | `device` | a device with sealed samples: the tail position it is sealed through, and a snapshot of its cursor (which sequence numbers were received) and newest values as of that position |
//! | `chunk` | sealed samples of one device that span at most seven days; numbers rise in the order of sealing, which is the order of arrival; merging chunks (`compact`) and dropping old ones (`retention`) keep this order |
//! | `rollup` | a page of what each metric of a device did in each minute, hour or day (`rollup`) |
//! | `rollup_due` | a day of a device whose rollups must be computed, and whether they can be now |
//! | `compact_due` | a moment of a device that too many chunks reach over |
//! | `message` | an event, status or response, byte for byte |
//! | `dead_letter` | a message that could not be understood, with the reason |
//! | `quarantine` | a batch of the tail that was found corrupt |
//! | `total` | one row: running totals, and how far the tail was trimmed |
//!
//! Chunks are found by the time they begin at. One may reach seven days further, so the chunks of more than an hour
//! have an index of their own (`chunk_long`): the others over a moment begin within the hour before it (`stored`).
//!
//! In memory each device has a *head*: its samples that are in the tail and in no chunk, its
//! cursor and its newest values.
//!
//! # What always holds
//!
//! 1. `append` returns after one transaction with `synchronous=FULL`: its rows in `tail`, mostly one, and one for
//!    each message or dead letter, nothing else.
//! 2. A sample is in the chunks of its device if its tail position is at most `sealed_through`, and
//!    only then, unless retention has dropped it. Sealing takes the whole head: it writes the chunks, `sealed_through`, the snapshot
//!    and the totals in one transaction.
//! 3. A batch is trimmed when every device in it is sealed through its position, in the same
//!    transaction or a later one.
//! 4. Cursor and newest values in memory = snapshot + the head's samples in the order of the tail.
//! 5. A chunk and the marks of its days are one transaction, and so are the rollups of a day and
//!    the end of its mark: a rollup without a mark says what the chunks said (`rollup`).
//! 6. Memory changes after the commit that it mirrors: a failed commit changes nothing.
//!
//! # What a crash leaves
//!
//! SQLite's write-ahead log drops a commit that was cut short and keeps all before it. Then:
//!
//! - *after an append, before sealing*: the batch is in the tail; opening replays it into the heads.
//! - *after sealing, before trimming*: the batch is still in the tail; replay skips, device by
//!   device, what `sealed_through` says is in chunks.
//! - *sealing is not waited for* (`synchronous=NORMAL`): a power cut may undo it, together with the
//!   trimming, never one without the other. The tail has the samples.
//! - *a commit that failed while it was written* may come back when the machine dies at once: its
//!   samples were not acknowledged, and when the device sends them again the cursor knows them.
//!
//! # What damage leaves
//!
//! A corrupt chunk is passed over by every reader, logged and counted. A corrupt batch is moved to
//! `quarantine` when the store is opened; a corrupt snapshot makes the device's cursor start anew, so
//! that a redelivered sample may be stored twice but none is refused. `check` finds all three.
//!
//! # Order
//!
//! Late samples make chunks that overlap in time. Readers merge: by time, and equal times by the
//! order of arrival, which is (chunk number, row), then the head.

mod aggregate;
mod append;
mod bucket;
mod check;
mod checksum;
mod chunk;
mod codec;
mod compact;
mod cursor;
mod downsample;
mod entry;
mod export;
mod fleet;
mod head;
mod inspect;
mod latest;
mod letters;
mod maintain;
mod messages;
mod numbers;
mod open;
mod options;
mod points;
mod query;
mod range;
mod replay;
mod retention;
mod rollup;
mod schema;
mod shared;
mod span;
mod stored;
mod sweep;
mod tail;
#[cfg(test)]
mod testing;
mod vacuum;
mod view;

use std::path::Path;
use std::sync::Arc;

use tesaiot_contract::DeviceId;

pub use append::Appender;
pub use bucket::{Bucket, BucketQuery, Fill};
pub use check::Progress;
pub use downsample::{Algorithm, PlotPoint};
pub use entry::{Appended, Entry, Outcome};
pub use export::Export;
pub use inspect::{Inspection, Statistics};
pub use open::upgrade;
pub use options::{Options, Retention, RetentionRule};
pub use points::Points;
pub use query::{
    BootGaps, Corruption, Counts, DeadLetter, DeadLetterQuery, DeadLetterSummary, Latest, Maintained, MessageQuery,
    Point, RangeQuery, Report, Series, StoredMessage,
};
pub use replay::Replay;

use crate::error::StoreError;

/// Reads the store. A clone is another handle to the same open store. Readers never wait for an
/// append, and an append never waits for readers beyond the time to copy points in memory.
#[derive(Debug, Clone)]
pub struct Telemetry {
    shared: Arc<shared::Shared>,
}

impl Telemetry {
    /// Opens the store, creating it when it is not there, and replays its tail.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it open, [`StoreError::Damaged`] for a file
    /// that is not a database, [`StoreError::Version`] for one of a newer program.
    pub fn open(path: &Path, options: Options) -> Result<(Self, Appender), StoreError> {
        open::open(path, options)
    }

    /// The newest value of every metric of a device, in the order of metric names: by the time
    /// of the sample, and of equal times the last to arrive. At most 1024 metrics of what is
    /// sealed are remembered, those heard of last.
    pub fn latest(&self, device: &DeviceId) -> Vec<Latest> {
        self.shared.device(device).map(|device| device.read().latest.answer(None)).unwrap_or_default()
    }

    /// What is missing of the sequence numbers of a device, for each of its last runs, the run
    /// heard of last at the end.
    pub fn gaps(&self, device: &DeviceId) -> Vec<BootGaps> {
        self.shared.device(device).map(|device| device.read().cursor.gaps()).unwrap_or_default()
    }

    /// The devices that ever stored a sample, in the order of their ids.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.shared.all_devices().iter().map(|device| device.id.clone()).collect()
    }

    /// Totals of the store.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}
