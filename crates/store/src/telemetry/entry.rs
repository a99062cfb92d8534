//! What is appended, and what became of it.

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};

/// One received message, or one sample of it.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A telemetry sample (the wire contract, section 4).
    ///
    /// A sample with an id whose boot is not empty is stored once, however often it is
    /// appended. So every sample of one message needs an id of its own, or none.
    Sample {
        /// The device that sent it.
        device: DeviceId,
        /// The telemetry type: what follows `telemetry/` in the topic.
        kind: Option<Box<str>>,
        /// When the platform received it.
        received_at: Timestamp,
        /// Its metrics. A missing time means the receive time.
        sample: Sample,
    },
    /// A message that is kept as it came: an event, a status, a response to a command.
    Message {
        /// The device that sent it.
        device: DeviceId,
        /// The full topic.
        topic: Box<str>,
        /// When the platform received it.
        received_at: Timestamp,
        /// The payload, byte for byte.
        payload: Bytes,
    },
    /// A message that could not be understood, kept with the reason.
    DeadLetter {
        /// The device that sent it, when it is known.
        device: Option<DeviceId>,
        /// The full topic.
        topic: Box<str>,
        /// When the platform received it.
        received_at: Timestamp,
        /// The payload, byte for byte.
        payload: Bytes,
        /// A stable word for the reason, such as `not_json`.
        code: Box<str>,
        /// The reason for a person. It does not quote the payload.
        reason: Box<str>,
    },
}

/// What became of one entry of an append. Both mean: it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Stored by this append.
    Stored,
    /// A sample with the same device, boot and sequence number is stored already; nothing was added.
    Duplicate,
}

impl Entry {
    /// About how many bytes of a commit it takes: for whoever puts commits together, and bounds them.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Sample { sample, .. } => bytes_of(sample),
            Self::Message { payload, topic, .. } | Self::DeadLetter { payload, topic, .. } => {
                payload.len() + topic.len()
            }
        }
    }

    /// The metric values it added, given what became of it.
    pub(super) fn values_if(&self, outcome: Outcome) -> u64 {
        match (self, outcome) {
            (Self::Sample { sample, .. }, Outcome::Stored) => sample.metrics.len() as u64,
            _ => 0,
        }
    }
}

/// About how many bytes a sample takes in the tail, its texts counted each time.
pub(super) fn bytes_of(sample: &Sample) -> usize {
    let metric = |metric: &Metric| {
        let text = if let Value::Text(text) = &metric.value { text.len() } else { 0 };
        METRIC_BYTES + metric.name.len() + metric.unit.as_ref().map_or(0, |unit| unit.len()) + text
    };
    SAMPLE_BYTES + sample.metrics.iter().map(metric).sum::<usize>()
}

/// What a sample and what a metric take besides their texts.
const SAMPLE_BYTES: usize = 32;
const METRIC_BYTES: usize = 16;

/// The result of one durable append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// One for each entry, in their order.
    pub outcomes: Vec<Outcome>,
    /// Metric values stored by this append.
    pub values: u64,
}
