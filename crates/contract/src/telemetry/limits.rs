//! How much of everything one payload may hold.

use jiff::{SignedDuration, Timestamp};

/// Bounds of a payload. Whatever a peer sends, memory and time stay within a small multiple of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole payload.
    pub max_payload_bytes: usize,
    /// Samples of a batch.
    pub max_samples: usize,
    /// Metrics of one sample; a null, an object and an array count as one each.
    pub max_metrics: usize,
    /// Metrics of all samples of a batch together.
    pub max_batch_metrics: usize,
    /// Bytes of a metric's name, after flattening.
    pub max_name_bytes: usize,
    /// Bytes of a text value.
    pub max_text_bytes: usize,
    /// Bytes of a unit.
    pub max_unit_bytes: usize,
    /// Bytes of `boot`.
    pub max_boot_bytes: usize,
    /// Objects and arrays within each other; a plain metric stands at depth 0, `data` and a batch are not counted.
    pub max_depth: usize,
    /// A device's time before this is absurd: a clock that was never set.
    pub earliest: Timestamp,
    /// A device's time further than this after the receive time is absurd.
    pub max_future: SignedDuration,
}

impl Default for Limits {
    /// 256 KiB (the wire contract, section 4), 1,000 samples (section 10); times from the year 2000 to a day ahead.
    fn default() -> Self {
        Self {
            max_payload_bytes: 256 * 1024,
            max_samples: 1_000,
            max_metrics: 512,
            max_batch_metrics: 32_768,
            max_name_bytes: 128,
            max_text_bytes: 8 * 1024,
            max_unit_bytes: 32,
            max_boot_bytes: 64,
            max_depth: 8,
            earliest: Timestamp::constant(946_684_800, 0),
            max_future: SignedDuration::from_hours(24),
        }
    }
}
