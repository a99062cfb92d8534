//! What the device commands fail with, and the hint and the exit code of each.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use tesaiot_device::outbox::OutboxError;
use tesaiot_device::preflight::Warning;
use tesaiot_device::publisher::{Report, SourceError};
use tesaiot_device::session::{Fault, Reason, describe_lost};
use tesaiot_device::{CredentialsError, Lost, PublishAckReason, SamplerError, SessionError, SettingsError};

use super::hint;
use super::payload::PayloadError;
use crate::exit;
pub(crate) use crate::exit::NOT_ACKNOWLEDGED;
use crate::output::failure::Advice;

/// How a publish command fails by itself. What its connection and its bundle fail with have types of their own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// `--period` with `--interval 0`.
    #[error("--period needs an --interval above 0")]
    PeriodWithoutInterval,
    /// `--wait-stored` with `--mqtt-version 3.1.1`.
    #[error("--wait-stored needs MQTT 5: with 3.1.1 a broker cannot say what its acknowledgement means")]
    StoredNeedsMqtt5,
    /// `--spool` with `--qos 0`.
    #[error("--spool needs --qos 1 or 2: with 0 nobody says what arrived")]
    SpoolNeedsAnswers,
    /// `--spool` without a directory where there is no agent.
    #[error("--spool needs a directory here")]
    SpoolNeedsDirectory,
    /// Not delivered, and kept.
    #[error("{waiting} {} not delivered and {} in {}", were(*.waiting), wait(*.waiting), directory.display())]
    Spooled {
        /// Messages in the spool
        waiting: u64,
        /// Its data directory
        directory: PathBuf,
        /// What to end with
        code: u8,
        /// Why they were not delivered
        source: Box<dyn Error + Send + Sync>,
    },
    /// The spool's disk does not take them.
    #[error("{waiting} messages were not delivered, and the disk does not take them: they are lost")]
    NotSpooled {
        /// Messages in memory alone
        waiting: u64,
        /// Why they were not delivered
        source: Box<dyn Error + Send + Sync>,
    },
    /// The spool was full.
    #[error("{lost} of {taken} messages are lost: the spool in {} is full", directory.display())]
    SpoolFull {
        /// Messages of this run that there was no room for
        lost: u64,
        /// Messages of this run
        taken: u64,
        /// Its data directory
        directory: PathBuf,
        /// What else went wrong
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The file of the API key cannot be read, or holds none.
    #[error("File not readable: {}", path.display())]
    KeyFile {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// A warning, with `--strict`.
    #[error("{0}")]
    Warned(Warning),
    /// The whole time was over.
    #[error("{unacknowledged} of {count} messages were not acknowledged within the time of --timeout")]
    TimedOut {
        /// Messages sent or planned, without an answer
        unacknowledged: u64,
        /// Messages planned
        count: u64,
    },
    /// The input ended before its end.
    #[error("{acknowledged} messages were acknowledged; then {source}")]
    Input {
        /// Messages acknowledged
        acknowledged: u64,
        /// Why
        #[source]
        source: SourceError,
    },
    /// Acknowledged, by a broker that may not have stored anything.
    #[error("{acknowledged} messages were acknowledged, and this broker does not say that they are stored")]
    NotKnownToBeStored {
        /// Messages acknowledged
        acknowledged: u64,
    },
    /// The broker refused messages.
    #[error("the broker refused {refused} of {sent} messages: {}", Reason::from(*.reason))]
    Refused {
        /// Messages refused
        refused: u64,
        /// Messages sent
        sent: u64,
        /// The first reason
        reason: PublishAckReason,
    },
    /// Messages are larger than the broker takes.
    #[error("{refused} of {sent} messages were not sent: packet too large: {size} bytes, this broker takes {limit}")]
    TooLarge {
        /// Messages refused
        refused: u64,
        /// Messages handed to the connection
        sent: u64,
        /// Bytes of the first of them
        size: u32,
        /// Bytes that the broker takes
        limit: u32,
    },
    /// The connection ended.
    #[error("{unacknowledged} of {count} messages were not acknowledged: {}", describe_lost(.lost))]
    Lost {
        /// Messages sent or planned, without an answer
        unacknowledged: u64,
        /// Messages planned
        count: u64,
        /// Why the connection ended
        lost: Lost,
    },
    /// The broker fell silent.
    #[error("{unacknowledged} of {count} messages were not acknowledged: the broker stopped acknowledging")]
    Stalled {
        /// Messages sent or planned, without an answer
        unacknowledged: u64,
        /// Messages planned
        count: u64,
    },
    /// Stopped in good order.
    #[error("interrupted: {acknowledged} messages were acknowledged, {not_sent} were not sent")]
    Interrupted {
        /// Messages acknowledged
        acknowledged: u64,
        /// Messages not sent
        not_sent: u64,
    },
    /// Stopped before the connection stood.
    #[error("interrupted before the broker answered: nothing was acknowledged")]
    InterruptedBefore,
    /// Stopped twice.
    #[error("interrupted: the broker had not acknowledged everything that was sent")]
    InterruptedTwice,
}

impl PublishError {
    /// Why a run was not complete; none when every message was acknowledged.
    pub(super) fn of(report: Report) -> Option<Self> {
        let count = report.sent + report.not_sent;
        let unacknowledged = report.lost + report.not_sent;
        if report.timed_out {
            return Some(Self::TimedOut { unacknowledged, count });
        }
        let complete = report.is_complete();
        if let Some(lost) = report.ended
            && unacknowledged > 0
        {
            return Some(Self::Lost { unacknowledged, count, lost });
        }
        if report.stalled {
            return Some(Self::Stalled { unacknowledged, count });
        }
        if let Some((size, limit)) = report.first_too_large {
            return Some(Self::TooLarge { refused: report.refused, sent: report.sent, size, limit });
        }
        if let Some(reason) = report.first_refusal {
            return Some(Self::Refused { refused: report.refused, sent: report.sent, reason });
        }
        if let Some(source) = report.source_failed {
            return Some(Self::Input { acknowledged: report.acknowledged, source });
        }
        (!complete || report.interrupted)
            .then_some(Self::Interrupted { acknowledged: report.acknowledged, not_sent: report.not_sent })
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PeriodWithoutInterval => Some("give --interval SECONDS, or --count N instead of --period"),
            Self::StoredNeedsMqtt5 => Some("leave --mqtt-version out, or give --mqtt-version 5"),
            Self::SpoolNeedsAnswers => Some("leave --qos out, or leave --spool out"),
            Self::SpoolNeedsDirectory => Some("give --spool a directory"),
            Self::Spooled { waiting: 1, .. } => {
                Some("the next `tesaiot publish --spool` sends it, or `tesaiot agent` with this --data-dir")
            }
            Self::Spooled { .. } => {
                Some("the next `tesaiot publish --spool` sends them, or `tesaiot agent` with this --data-dir")
            }
            Self::NotSpooled { .. } => Some("see to the disk of the spool, and publish again"),
            Self::SpoolFull { .. } => {
                Some("what was in it stays: a run that reaches the platform sends it, then publish these again")
            }
            Self::KeyFile { .. } => Some("check the path and who may read the file; it holds the key and nothing else"),
            Self::Warned(warning) => Some(warning.hint()),
            Self::TimedOut { .. } => Some("give it more time; what was not acknowledged may or may not have arrived"),
            Self::Input { .. } => Some("what stood before it was sent: go on behind it"),
            Self::NotKnownToBeStored { .. } => {
                Some("publish to the platform itself, or leave --wait-stored out: acknowledged is all this broker says")
            }
            Self::Refused { reason, .. } => Some(hint::refused(*reason)),
            Self::TooLarge { .. } => Some("send smaller messages, or let the broker take larger packets"),
            Self::Lost { lost, .. } => Some(hint::lost(lost)),
            Self::Stalled { .. } => {
                Some("the broker takes messages and does not confirm them: see its log and its disk")
            }
            Self::Interrupted { .. } | Self::InterruptedBefore | Self::InterruptedTwice => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::PeriodWithoutInterval
            | Self::StoredNeedsMqtt5
            | Self::SpoolNeedsAnswers
            | Self::SpoolNeedsDirectory => exit::USAGE,
            Self::Spooled { code, .. } => *code,
            Self::NotSpooled { .. } | Self::SpoolFull { .. } => NOT_ACKNOWLEDGED,
            Self::KeyFile { .. } | Self::Warned(_) | Self::Input { .. } => exit::FILE,
            Self::TimedOut { .. } | Self::NotKnownToBeStored { .. } => NOT_ACKNOWLEDGED,
            Self::Refused { .. } | Self::TooLarge { .. } => exit::REFUSED,
            Self::Lost { .. } | Self::Stalled { .. } => NOT_ACKNOWLEDGED,
            Self::Interrupted { .. } | Self::InterruptedBefore | Self::InterruptedTwice => exit::INTERRUPTED,
        }
    }
}

fn were(count: u64) -> &'static str {
    if count == 1 { "message was" } else { "messages were" }
}

fn wait(count: u64) -> &'static str {
    if count == 1 { "waits" } else { "wait" }
}

/// What to do about an error of the device side.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    let with = |hint: &str, code| Some(Advice { hint: Some(hint.to_owned()), code });
    if let Some(error) = error.downcast_ref::<SettingsError>() {
        return with(error.hint(), exit::FILE);
    }
    if let Some(error) = error.downcast_ref::<PayloadError>() {
        return with(error.hint(), exit::FILE);
    }
    if let Some(error) = error.downcast_ref::<CredentialsError>() {
        return with(error.hint(), exit::FILE);
    }
    if let Some(error) = error.downcast_ref::<SessionError>() {
        let code = match error.fault() {
            Fault::Network => exit::NETWORK,
            Fault::ServerCertificate => exit::SERVER_CERTIFICATE,
            Fault::Client => exit::NOT_AUTHORISED,
            Fault::Refused => exit::REFUSED,
        };
        return with(error.hint(), code);
    }
    if let Some(error) = error.downcast_ref::<PublishError>() {
        return Some(Advice { hint: error.hint().map(str::to_owned), code: error.exit_code() });
    }
    if let Some(error) = error.downcast_ref::<OutboxError>() {
        return with(error.hint(), exit::FILE);
    }
    if let Some(error) = error.downcast_ref::<SamplerError>() {
        let code = if matches!(error, SamplerError::Thread { .. }) { exit::FAILURE } else { exit::USAGE };
        return Some(Advice { hint: None, code });
    }
    if let Some(error) = error.downcast_ref::<crate::cli::doctor::DoctorFailure>() {
        return Some(error.advice());
    }
    of_agent(error)
}

/// What to do about an error of the agent.
#[cfg(unix)]
fn of_agent(error: &(dyn Error + 'static)) -> Option<Advice> {
    if let Some(error) = error.downcast_ref::<tesaiot_device::ConfigError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::USAGE });
    }
    if error.is::<tesaiot_device::config::Mistakes>() {
        return Some(Advice { hint: None, code: exit::USAGE });
    }
    crate::cli::agent::failure::advice(error)
}

/// There is no agent on other systems.
#[cfg(not(unix))]
fn of_agent(_: &(dyn Error + 'static)) -> Option<Advice> {
    None
}
