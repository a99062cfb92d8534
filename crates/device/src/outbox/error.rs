//! Why an outbox cannot be used.

use std::io;
use std::path::PathBuf;

/// An operation on an outbox that failed. Trouble with the disk while it works is no such error: messages are kept in
/// memory then, and [`Status::trouble`](super::Status) says so.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("cannot {operation} {}", path.display())]
    Disk {
        /// What was tried: `create`, `read`, `write` …
        operation: &'static str,
        /// The file or directory
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// Another process works with this outbox.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The outbox
        path: PathBuf,
    },
    /// A later version of the program wrote it in a format of its own.
    #[error("{} was written by a later version of this program (format {format})", path.display())]
    Later {
        /// The file
        path: PathBuf,
        /// The number of the format
        format: u64,
    },
    /// It belongs to an agent that waits for receipts, and what was to be done goes by acknowledgements.
    #[error("{} belongs to an agent with --confirm receipts, and an acknowledgement says too little there", path.display())]
    NeedsReceipts {
        /// The outbox
        path: PathBuf,
    },
    /// The message is larger than any platform takes.
    #[error("a message of {bytes} bytes is larger than the {limit} that a platform takes")]
    TooLarge {
        /// Its size
        bytes: usize,
        /// The limit
        limit: usize,
    },
    /// The topic, or the name of the run, is longer than the format allows.
    #[error("a topic or a name of {bytes} bytes is longer than {limit}")]
    NameTooLong {
        /// Its length
        bytes: usize,
        /// The limit
        limit: usize,
    },
}

impl OutboxError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "check the path, who may write there, and how much room the disk has",
            Self::InUse { .. } => "one agent works with one outbox: stop the other one, or use another --data-dir",
            Self::Later { .. } => "use the newer version of tesaiot, or another --data-dir",
            Self::NeedsReceipts { .. } => {
                "give --spool another directory, or start the agent once without --confirm receipts"
            }
            Self::TooLarge { .. } | Self::NameTooLong { .. } => "send less in one message",
        }
    }
}
