//! Why a sensor could not be read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A reading that did not come about. None of them holds what the sensor said: it may be a payload.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// A file of the kernel, or a device node, cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// The file was read and does not hold what its driver promises.
    #[error("{} holds no {expected}", path.display())]
    Content {
        /// The file
        path: PathBuf,
        /// What should stand there
        expected: &'static str,
    },
    /// No such device is there now.
    #[error("{what} is not there")]
    Missing {
        /// What was looked for, and where
        what: String,
    },
    /// Several fit, and none was chosen.
    #[error("{what}: there are several ({choices})")]
    Ambiguous {
        /// What was looked for, and where
        what: String,
        /// The first of them
        choices: String,
    },
    /// The device is there and none of its channels is known.
    #[error("{} has no channel that can be read", path.display())]
    NoChannel {
        /// The device's folder
        path: PathBuf,
    },
    /// The data arrived damaged: the checksum of the bus says so.
    #[error("{what}: the checksum does not fit the data")]
    Checksum {
        /// The device
        what: String,
    },
    /// A line or an output that is not one JSON object, or holds no metric.
    #[error("{what} is no sample: {reason}")]
    NotASample {
        /// Whose words they were
        what: String,
        /// The reason, without the words
        reason: String,
    },
    /// More than is accepted came at once.
    #[error("{what} gave more than {limit} bytes")]
    TooMuch {
        /// Whose words they were
        what: String,
        /// Bytes accepted
        limit: usize,
    },
    /// A program could not be started.
    #[error("{program} cannot be started")]
    Start {
        /// The program
        program: String,
        /// Why
        source: io::Error,
    },
    /// A program ended and said that it failed.
    #[error("{program} ended with {status}")]
    Failed {
        /// The program
        program: String,
        /// Its exit status, in words
        status: String,
    },
    /// Nothing came in time.
    #[error("{what} did not answer within {after:?}")]
    TimedOut {
        /// What was asked
        what: String,
        /// How long it had
        after: Duration,
    },
    /// The other end is gone: nothing more will come until it is opened again.
    #[error("{what} has ended")]
    Ended {
        /// What was listened to
        what: String,
    },
    /// Its thread is gone.
    #[error("the sensor's thread ended")]
    ThreadEnded,
}

impl SensorError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let the agent's user read it: the groups gpio, i2c, dialout and video own such files on a Raspberry Pi"
            }
            Self::Read { .. } => "check the wiring and the sensor's power; dmesg shows what its driver says",
            Self::Content { .. } | Self::NoChannel { .. } => "check which kernel driver the device is bound to",
            Self::Missing { .. } => "check the wiring, and that its overlay is enabled in /boot/firmware/config.txt",
            Self::Ambiguous { .. } => "say which: device = \"…\" in its part of the configuration",
            Self::Checksum { .. } => "check the wiring: a long line needs a stronger pull-up resistor",
            Self::NotASample { .. } => {
                "one JSON object in each line, as {\"temperature\":21.5,\"temperature_unit\":\"°C\"}"
            }
            Self::TooMuch { .. } => "let it say less at a time",
            Self::Start { .. } => "check the path, and that the agent's user may execute it",
            Self::Failed { .. } => "run the program by hand as the agent's user and read what it says",
            Self::TimedOut { .. } => "check the device, or give it more time: timeout_seconds in the configuration",
            Self::Ended { .. } => "check the cable, or the program at the other end",
            Self::ThreadEnded => "restart the agent",
        }
    }

    /// Whether the source is fine and only what it said is not.
    pub(crate) fn is_about_words(&self) -> bool {
        matches!(self, Self::NotASample { .. } | Self::TooMuch { .. })
    }

    /// The error and what it stands for, in one line.
    pub fn describe(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
