//! What became of a run.

use std::time::Duration;

use tesaiot_mqtt::client::{Lost, Published};
use tesaiot_mqtt::packet::PublishAckReason;

use super::SourceError;

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages handed to the connection
    pub sent: u64,
    /// Messages the broker took responsibility for; with QoS 0, messages that were written
    pub acknowledged: u64,
    /// Messages the broker refused (MQTT 5), or would have
    pub refused: u64,
    /// Messages without an answer: the broker may or may not have them
    pub lost: u64,
    /// Messages that were planned and not sent; of a source without an end only those it was known to have
    pub not_sent: u64,
    /// Bytes of the first message that is larger than the broker takes, and how many it takes (MQTT 5); such messages
    /// count as refused
    pub first_too_large: Option<(u32, u32)>,
    /// The reason of the first refusal
    pub first_refusal: Option<PublishAckReason>,
    /// Why the connection ended, when it ended by itself
    pub ended: Option<Lost>,
    /// Why the source had no more to give, when that is not its end
    pub source_failed: Option<SourceError>,
    /// The broker acknowledged nothing within the plan's patience
    pub stalled: bool,
    /// The plan's time was over before the run was
    pub timed_out: bool,
    /// The run was stopped from outside
    pub interrupted: bool,
    /// From the first message to its outcome
    pub first_answer: Option<Duration>,
    /// From the first message to the last outcome
    pub elapsed: Duration,
}

impl Report {
    /// Whether every planned message was acknowledged.
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.lost == 0 && self.not_sent == 0 && self.source_failed.is_none()
    }

    /// Messages whose outcome is known.
    pub fn answered(&self) -> u64 {
        self.acknowledged + self.refused + self.lost
    }

    pub(super) fn record(&mut self, outcome: Published) {
        match outcome {
            Published::Acknowledged => self.acknowledged += 1,
            Published::Refused(reason) => {
                self.refused += 1;
                self.first_refusal.get_or_insert(reason);
            }
            Published::TooLarge { size, limit } => {
                self.refused += 1;
                self.first_too_large.get_or_insert((size, limit));
            }
            Published::Lost(lost) => {
                self.lost += 1;
                self.ended.get_or_insert(lost);
            }
        }
    }
}
