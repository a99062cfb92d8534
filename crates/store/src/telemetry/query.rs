//! Questions to the telemetry store and their answers.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Value;

/// The points of one device in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// One metric by its exact name, or every metric.
    pub metric: Option<Box<str>>,
    /// The first time of the span, inclusive.
    pub from: Timestamp,
    /// The end of the span, exclusive.
    pub to: Timestamp,
    /// The most points to answer with.
    pub limit: usize,
    /// Newest points first. The limit then keeps the newest.
    pub newest_first: bool,
}

impl Default for RangeQuery {
    fn default() -> Self {
        Self { metric: None, from: Timestamp::MIN, to: Timestamp::MAX, limit: usize::MAX, newest_first: false }
    }
}

/// One metric value at one time, in the answer that holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<'a> {
    /// What it is a point of; shared with its neighbours.
    pub series: &'a Series,
    /// The device's time of the sample, or the receive time when the device gave none.
    pub time: Timestamp,
    /// Whether the device gave the time.
    pub device_time: bool,
    /// When the platform received the sample.
    pub received_at: Timestamp,
    /// The value, exactly as it was appended.
    pub value: &'a Value,
}

/// What a point is a point of. One metric can have several: a unit that changes begins another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The unit of the values.
    pub unit: Option<Arc<str>>,
    /// The telemetry type of the samples.
    pub kind: Option<Arc<str>>,
}

/// The newest value of one metric of a device. Of values with equal times, the last received.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// What it is a value of.
    pub series: Arc<Series>,
    /// The value, exactly as it was appended.
    pub value: Value,
    /// The device's time of the sample, or the receive time when the device gave none.
    pub time: Timestamp,
    /// Whether the device gave the time.
    pub device_time: bool,
    /// When the platform received the sample.
    pub received_at: Timestamp,
}

/// Which messages (events, status, command responses) to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageQuery {
    /// One device, or all.
    pub device: Option<DeviceId>,
    /// Only topics that start with this.
    pub topic_prefix: Option<Box<str>>,
    /// Only messages older than the one with this number: the number of the last one of the page before.
    pub before: Option<u64>,
    /// The most messages to answer with. A page also ends with the message that fills
    /// [`MAXIMUM_PAGE_BYTES`](Self::MAXIMUM_PAGE_BYTES).
    pub limit: usize,
}

impl MessageQuery {
    /// Payload bytes from which on a page ends, however many messages were asked for.
    pub const MAXIMUM_PAGE_BYTES: usize = 8 << 20;
}

impl Default for MessageQuery {
    fn default() -> Self {
        Self { device: None, topic_prefix: None, before: None, limit: 100 }
    }
}

/// A message that was kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Rises with every message stored.
    pub number: u64,
    /// The device that sent it.
    pub device: DeviceId,
    /// The full topic.
    pub topic: Box<str>,
    /// When the platform received it.
    pub received_at: Timestamp,
    /// The payload, byte for byte.
    pub payload: Bytes,
}

/// A message that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Rises with every dead letter stored, and is never used again.
    pub number: u64,
    /// The device that sent it, when it is known.
    pub device: Option<DeviceId>,
    /// The full topic; empty when it was not read.
    pub topic: Box<str>,
    /// When the platform received it.
    pub received_at: Timestamp,
    /// The payload, byte for byte.
    pub payload: Bytes,
    /// A stable word for the reason.
    pub code: Box<str>,
    /// The reason for a person.
    pub reason: Box<str>,
}

/// Which dead letters to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// One device, or all.
    pub device: Option<DeviceId>,
    /// Only those with this word for the reason.
    pub code: Option<Box<str>>,
    /// Only those older than the one with this number: the number of the last one of the page before.
    pub before: Option<u64>,
    /// The most to answer with.
    pub limit: usize,
}

impl Default for DeadLetterQuery {
    fn default() -> Self {
        Self { device: None, code: None, before: None, limit: 100 }
    }
}

/// A dead letter without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSummary {
    /// Rises with every dead letter stored, and is never used again.
    pub number: u64,
    /// The device that sent it, when it is known.
    pub device: Option<DeviceId>,
    /// The full topic.
    pub topic: Box<str>,
    /// When the platform received it.
    pub received_at: Timestamp,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// A stable word for the reason.
    pub code: Box<str>,
    /// The reason for a person.
    pub reason: Box<str>,
}

/// What was received of one run of a device, by its sequence numbers (the wire contract, section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootGaps {
    /// The name the device gave to this run.
    pub boot: Box<str>,
    /// The lowest sequence number known to be received.
    pub first: u64,
    /// The highest sequence number received.
    pub last: u64,
    /// The missing numbers between them, as inclusive ranges in rising order.
    pub missing: Vec<(u64, u64)>,
}

/// Totals of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Devices that ever stored a sample.
    pub devices: u64,
    /// Samples stored.
    pub samples: u64,
    /// Metric values stored.
    pub values: u64,
    /// Messages stored.
    pub messages: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Dead letters dropped to stay within the bounds.
    pub dead_letters_dropped: u64,
    /// Samples answered as duplicates since the store was opened.
    pub duplicates: u64,
    /// Chunks that are there.
    pub chunks: u64,
    /// Bytes of all chunks.
    pub chunk_bytes: u64,
    /// Batches in the tail.
    pub tail_batches: u64,
    /// Bytes of these batches.
    pub tail_bytes: u64,
    /// Samples in memory that are not sealed yet (they are durable in the tail).
    pub open_samples: u64,
    /// Estimated bytes of memory of these samples.
    pub open_bytes: u64,
    /// Reads of a chunk or a page of rollups that were skipped because it is corrupt, since the store was opened.
    pub corrupt_chunk_reads: u64,
    /// Batches of the tail that were found corrupt at some open, and set aside.
    pub corrupt_batches: u64,
    /// Reads of a message or dead letter that were skipped because it is corrupt, since the store was opened.
    pub corrupt_message_reads: u64,
    /// Chunks dropped because they were old or the store too large.
    pub chunks_dropped: u64,
    /// Samples in them.
    pub samples_dropped: u64,
    /// Pages of rollups dropped because they were old.
    pub rollups_dropped: u64,
    /// Messages dropped because they were old or too many.
    pub messages_dropped: u64,
}

/// One damaged blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// Which blob, by table and key.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The result of reading everything once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Chunks read.
    pub chunks: u64,
    /// Batches of the tail read.
    pub batches: u64,
    /// Samples in the chunks that are sound.
    pub sealed_samples: u64,
    /// Pages of rollups read.
    pub rollup_pages: u64,
    /// Messages read.
    pub messages: u64,
    /// Dead letters read.
    pub dead_letters: u64,
    /// What is damaged; at most the first thousand findings.
    pub corruptions: Vec<Corruption>,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.corruptions.is_empty()
    }
}

/// What one call of `maintain` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Chunks written.
    pub chunks: usize,
    /// Samples in them.
    pub samples: usize,
    /// Batches trimmed from the tail.
    pub batches: usize,
    /// Whether more work is due now.
    pub more: bool,
}
