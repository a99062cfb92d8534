//! The bounds of the telemetry store.

use std::time::Duration;

/// Bounds of memory, of work and of what is kept. The defaults suit one small machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Samples of one device that are sealed into a chunk together.
    pub chunk_samples: usize,
    /// A head older than this is sealed however few samples it has.
    pub head_age: Duration,
    /// Above this many bytes of open points, over all devices, the largest heads are sealed.
    pub head_bytes: usize,
    /// Above this many bytes in the tail, the devices that keep it from being trimmed are sealed.
    pub tail_bytes: u64,
    /// Chunks that one call of `maintain` writes when nothing is over its bound.
    pub seals_per_call: usize,
    /// The compression level of pco, 0 to 12.
    pub compression_level: usize,
    /// Where rollups answer too, so many chunks of a span are read instead: they are quicker than a page of rollups.
    pub few_chunks: usize,
    /// Connections for readers; more readers wait for one of these.
    pub readers: usize,
    /// Dead letters kept; beyond it the oldest are dropped, and counted.
    pub dead_letters: u64,
    /// Bytes of dead-letter payloads kept; beyond it the oldest are dropped, and counted.
    pub dead_letter_bytes: u64,
    /// Messages kept; beyond it the oldest are dropped, and counted.
    pub messages: u64,
    /// How long messages are kept; for ever when there is none.
    pub message_age: Option<Duration>,
    /// How long samples and rollups are kept, of devices that no rule is for.
    pub retention: Retention,
    /// The same for devices whose id begins as a rule says. The longest beginning counts.
    pub retention_rules: Vec<RetentionRule>,
    /// Bytes of the database above which the oldest samples of all devices are dropped, day by
    /// day, after their rollups are made. The last two days always stay.
    pub maximum_bytes: Option<u64>,
    /// Size of the write-ahead log, in bytes, from which `maintain` moves it into the database.
    pub write_ahead_log_bytes: u64,
}

/// How long data is kept, in whole UTC days, at least one; for ever when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Samples, by their own time.
    pub raw: Option<Duration>,
    /// What remains of them: counts, extremes, sums, first and last values by minute, hour and day.
    pub rollups: Option<Duration>,
}

/// The retention of one class of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// How the ids of the devices begin.
    pub prefix: Box<str>,
    /// How long their data is kept.
    pub retention: Retention,
}

impl Options {
    /// The retention of a device.
    pub fn retention_of(&self, device: &str) -> Retention {
        let rules = self.retention_rules.iter().filter(|rule| device.starts_with(&*rule.prefix));
        rules.max_by_key(|rule| rule.prefix.len()).map_or(self.retention, |rule| rule.retention)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_samples: 720,
            head_age: Duration::from_secs(3600),
            head_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            seals_per_call: 4,
            compression_level: 6,
            few_chunks: 12,
            readers: 4,
            dead_letters: 100_000,
            dead_letter_bytes: 256 << 20,
            messages: 10_000_000,
            message_age: None,
            retention: Retention::default(),
            retention_rules: Vec::new(),
            maximum_bytes: None,
            write_ahead_log_bytes: 8 << 20,
        }
    }
}
