//! Why a payload is not telemetry: the reason that stands in the dead-letter store.
//!
//! A message names the metric, the limit or the position, never a value: reasons are logged, payloads are not.

use jiff::{SignedDuration, Timestamp};

/// A payload that cannot be stored as samples.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PayloadError {
    /// More bytes than accepted.
    #[error("the payload has {actual} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Bytes received.
        actual: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// More bytes than are read: what came behind the first of them is gone.
    #[error("the message has {actual} bytes; at most {limit} are read, and {} kept", beginning(*kept))]
    TooLargeToKeep {
        /// Bytes that the sender announced, or sent.
        actual: u64,
        /// Bytes accepted.
        limit: u64,
        /// Bytes kept of it.
        kept: usize,
    },
    /// The body of a batch by HTTP is something else.
    #[error("the body is not {{\"telemetry\": [\u{2026}]}}")]
    NotABatch,
    /// No byte at all.
    #[error("the payload is empty")]
    Empty,
    /// Not UTF-8.
    #[error("the payload is not UTF-8 text (byte {position})")]
    NotUtf8 {
        /// The first byte that is wrong, from 0.
        position: usize,
    },
    /// Not JSON, or cut short.
    #[error("the payload is not JSON (line {line}, column {column})")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1, in bytes.
        column: usize,
    },
    /// One bare value, and no `{type}` in the topic to name it.
    #[error("a single value needs a topic telemetry/{{type}} to name it")]
    ScalarWithoutType,
    /// A batch with an element that is not an object.
    #[error("every sample of a batch is an object")]
    NotAnObject,
    /// An empty batch.
    #[error("the batch holds no sample")]
    NoSamples,
    /// Too many samples in a batch.
    #[error("a batch holds at most {limit} samples")]
    TooManySamples {
        /// Samples accepted.
        limit: usize,
    },
    /// Two different samples of one batch say that they are the same message: only one of them would be stored.
    #[error("two different samples have the same boot and seq {seq}; each needs a seq of its own, or none")]
    DuplicateSequence {
        /// The number.
        seq: u64,
    },
    /// A sample without a single reading.
    #[error("a sample holds no metric")]
    NoMetrics,
    /// Too many metrics in a sample, or in a batch.
    #[error("more than {limit} metrics")]
    TooManyMetrics {
        /// Metrics accepted.
        limit: usize,
    },
    /// `device_id` is not the identifier in the topic.
    #[error("device_id is not the device of the topic")]
    WrongDevice,
    /// `timestamp` is a number, an object …
    #[error("timestamp is not text; it is written as 2025-12-09T10:30:45+00:00")]
    TimestampNotText,
    /// `timestamp` is not RFC 3339.
    #[error("timestamp is not an RFC 3339 date and time, like 2025-12-09T10:30:45+00:00")]
    TimestampNotRfc3339,
    /// The device's clock was never set.
    #[error("timestamp is before {earliest}; is the device's clock set?")]
    TimestampTooEarly {
        /// The earliest time accepted.
        earliest: Timestamp,
    },
    /// The device's clock is ahead.
    #[error("timestamp is more than {limit:#} after the time of receipt; is the device's clock right?")]
    TimestampTooLate {
        /// How far ahead is accepted.
        limit: SignedDuration,
    },
    /// `seq` is negative, has a fraction or is no number.
    #[error("seq is not an integer from 0 to 18446744073709551615")]
    SeqNotUnsigned,
    /// `boot` is not text.
    #[error("boot is not text")]
    BootNotText,
    /// `boot` is too long or holds control characters.
    #[error("boot has at most {limit} bytes and no control characters")]
    BootNotAccepted {
        /// Bytes accepted.
        limit: usize,
    },
    /// `timestamp`, `data` … twice in one sample.
    #[error("{field} is given twice")]
    DuplicateField {
        /// The field.
        field: &'static str,
    },
    /// Two metrics of one sample have the same name after flattening, or one has two units.
    #[error("the metric {name:?} is given twice")]
    DuplicateMetric {
        /// Name, after flattening.
        name: Box<str>,
    },
    /// Infinite, not a number, or beyond the range of a 64-bit float.
    #[error("the metric {name:?} is not a finite number")]
    NonFinite {
        /// Name, after flattening.
        name: Box<str>,
    },
    /// Too many objects and arrays within each other.
    #[error("the metric {name:?} is nested more than {limit} deep")]
    TooDeep {
        /// Name, as far as it was flattened.
        name: Box<str>,
        /// Levels accepted.
        limit: usize,
    },
    /// A metric named "".
    #[error("a metric has no name")]
    EmptyName,
    /// A metric's name is too long after flattening.
    #[error("the name of the metric {start:?}… is longer than {limit} bytes")]
    NameTooLong {
        /// The first characters of the name.
        start: Box<str>,
        /// Bytes accepted.
        limit: usize,
    },
    /// A control character in a metric's name.
    #[error("the name of the metric {name:?} holds a control character")]
    ControlCharacterInName {
        /// Name, as far as it was flattened.
        name: Box<str>,
    },
    /// A text value is too long.
    #[error("the text of {name:?} is longer than {limit} bytes")]
    TextTooLong {
        /// Name, after flattening.
        name: Box<str>,
        /// Bytes accepted.
        limit: usize,
    },
    /// A NUL in a text value; not every database can hold one.
    #[error("the text of {name:?} holds a NUL character")]
    NulInText {
        /// Name, after flattening.
        name: Box<str>,
    },
    /// A unit is too long or holds control characters.
    #[error("the unit of {name:?} has at most {limit} bytes and no control characters")]
    UnitNotAccepted {
        /// Name of the metric, after flattening.
        name: Box<str>,
        /// Bytes accepted.
        limit: usize,
    },
}

/// What is kept of a message that was not read whole.
fn beginning(kept: usize) -> String {
    if kept == 0 { "nothing of it is".to_owned() } else { format!("its first {kept} are") }
}

impl PayloadError {
    /// A stable name of the reason, for programs: snake_case, never reused for another reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "payload_too_large",
            Self::TooLargeToKeep { .. } => "too_large_to_keep",
            Self::NotABatch => "not_a_batch",
            Self::Empty => "payload_empty",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::ScalarWithoutType => "scalar_without_type",
            Self::NotAnObject => "sample_not_an_object",
            Self::NoSamples => "no_samples",
            Self::TooManySamples { .. } => "too_many_samples",
            Self::DuplicateSequence { .. } => "duplicate_sequence",
            Self::NoMetrics => "no_metrics",
            Self::TooManyMetrics { .. } => "too_many_metrics",
            Self::WrongDevice => "wrong_device",
            Self::TimestampNotText => "timestamp_not_text",
            Self::TimestampNotRfc3339 => "timestamp_not_rfc3339",
            Self::TimestampTooEarly { .. } => "timestamp_too_early",
            Self::TimestampTooLate { .. } => "timestamp_too_late",
            Self::SeqNotUnsigned => "seq_not_unsigned",
            Self::BootNotText => "boot_not_text",
            Self::BootNotAccepted { .. } => "boot_not_accepted",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::DuplicateMetric { .. } => "duplicate_metric",
            Self::NonFinite { .. } => "non_finite",
            Self::TooDeep { .. } => "too_deep",
            Self::EmptyName => "empty_name",
            Self::NameTooLong { .. } => "name_too_long",
            Self::ControlCharacterInName { .. } => "control_character_in_name",
            Self::TextTooLong { .. } => "text_too_long",
            Self::NulInText { .. } => "nul_in_text",
            Self::UnitNotAccepted { .. } => "unit_not_accepted",
        }
    }

    /// Whether the payload was refused for its size alone: HTTP answers 413 to it, and 400 to every other reason.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooLargeToKeep { .. })
    }
}
