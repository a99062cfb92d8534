//! What an agent says when it is asked how it is: one line of JSON to whoever connects to its socket.
//!
//! A socket costs the flash nothing, tells the truth of this moment, and an agent that is gone does not answer. It lies
//! in the data directory, which belongs to the agent's user alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tesaiot_tls::TlsVersion;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::Agent;
use super::renewal::RenewalStatus;
use crate::outbox::LossReason;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// The connection that an agent has.
#[derive(Clone, Debug)]
pub struct Link {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls_version: Option<TlsVersion>,
    pub(super) since: Instant,
    pub(super) last_acknowledged: Option<Instant>,
}

/// How an agent is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The device
    pub device_id: String,
    /// The run of the program
    pub boot: String,
    /// How long it has been running
    pub uptime_seconds: u64,
    /// The agent's clock, by which certificates are judged and samples stamped
    pub clock: Timestamp,
    /// Whether it has a connection
    pub connected: bool,
    /// Host and port it is connected to, or would be
    pub endpoint: String,
    /// The TLS version of the connection
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<String>,
    /// How long the connection has lasted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_seconds: Option<u64>,
    /// How long ago a sample was last acknowledged over it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_seconds_ago: Option<u64>,
    /// Connections since the start
    pub connections: u64,
    /// Samples taken since the start
    pub sampled: u64,
    /// Samples acknowledged since the start: the platform has stored them, or a broker in between has taken them
    pub acknowledged: u64,
    /// When a sample counts as delivered: `acknowledged` or `receipts`
    #[serde(default)]
    pub confirm: String,
    /// Samples of this run that the platform says, in receipts, that it has stored
    #[serde(default)]
    pub stored: u64,
    /// Samples that are acknowledged and wait for a receipt
    #[serde(default)]
    pub awaiting_receipt: u64,
    /// How long ago a receipt came
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_seconds_ago: Option<u64>,
    /// Samples refused since the start
    pub refused: u64,
    /// Samples that wait in the outbox
    pub waiting: u64,
    /// Of them, those in memory alone
    pub waiting_in_memory: u64,
    /// Bytes of the outbox on disk
    pub outbox_bytes: u64,
    /// The most it may take
    pub outbox_limit_bytes: u64,
    /// Samples delivered since the outbox was made
    pub delivered_in_all: u64,
    /// Samples lost since the outbox was made, by reason
    pub lost: BTreeMap<String, u64>,
    /// What the disk last refused to do
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_trouble: Option<String>,
    /// What last went wrong with the connection
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<Timestamp>,
    /// Days until the client certificate expires; below zero when it has
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<i64>,
    /// When the certificate is renewed, and what went wrong with that; none for an agent that logs in with a key
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalStatus>,
}

/// An agent that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No agent works with this directory.
    #[error("no agent is running with the data directory {}", path.display())]
    NotRunning {
        /// The data directory
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("the agent of {} cannot be asked", path.display())]
    Io {
        /// The data directory
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// What answers is not an agent of this version.
    #[error("the agent of {} gave an answer of another kind", path.display())]
    Answer {
        /// The data directory
        path: PathBuf,
        /// Why
        source: serde_json::Error,
    },
}

impl StatusError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "start it, or name its directory with --data-dir",
            Self::Io { .. } => "ask as the user the agent runs as",
            Self::Answer { .. } => "use the version of tesaiot that the agent is",
        }
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("status.sock")
}

/// Asks the agent that works with `directory`.
///
/// # Errors
/// [`StatusError`].
pub fn ask(directory: &Path) -> Result<AgentStatus, StatusError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            StatusError::NotRunning { path: directory.to_owned() }
        }
        _ => StatusError::Io { path: directory.to_owned(), source },
    };
    let stream = std::os::unix::net::UnixStream::connect(path(directory)).map_err(fail)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(fail)?;
    serde_json::from_slice(&answer).map_err(|source| StatusError::Answer { path: directory.to_owned(), source })
}

/// The socket of an agent; none for one without a data directory.
#[derive(Debug, Default)]
pub(super) struct Socket(Option<UnixListener>);

impl Socket {
    /// The outbox in the directory is locked: a socket that lies there is of a run that has ended.
    pub(super) fn bind(directory: &Path) -> io::Result<Self> {
        let path = path(directory);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(directory)?;
        UnixListener::bind(path).map(|listener| Self(Some(listener)))
    }

    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            let Some(listener) = &self.0 else { return std::future::pending().await };
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Out of file descriptors, most likely: whoever asks is not worth a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }
}

impl Agent {
    /// Answers whoever asked. The answer fits into the buffer of a fresh socket: nobody is waited for.
    pub(super) fn answer_status(&self, stream: &UnixStream) {
        if let Ok(mut answer) = serde_json::to_vec(&self.state()) {
            answer.push(b'\n');
            let _ = stream.try_write(&answer);
        }
    }

    pub(super) fn state(&self) -> AgentStatus {
        let outbox = self.kept.outbox.status();
        let connector = &self.settings.connector;
        let link = self.link.as_ref();
        let seconds = |since: Instant| since.elapsed().as_secs();
        let clock = self.clock.now();
        let lost = LossReason::ALL.into_iter().zip(outbox.lost).filter(|(_, count)| *count > 0);
        let days = |not_after: Timestamp| (not_after.as_second() - clock.as_second()).div_euclid(86_400);
        AgentStatus {
            device_id: self.settings.credentials.device_id().to_string(),
            boot: self.kept.outbox.boot().to_owned(),
            uptime_seconds: seconds(self.started),
            clock,
            connected: link.is_some(),
            endpoint: match link {
                Some(link) => format!("{}:{}", link.host, link.port),
                None => format!("{}:{}", connector.host(), connector.port()),
            },
            tls_version: link.and_then(|link| link.tls_version).map(|version| version.to_string()),
            connected_seconds: link.map(|link| seconds(link.since)),
            acknowledged_seconds_ago: link.and_then(|link| link.last_acknowledged).map(seconds),
            connections: self.report.connections,
            sampled: self.report.sampled,
            acknowledged: self.report.acknowledged,
            confirm: self.receipts.confirm.as_str().to_owned(),
            stored: self.receipts.stored(self.kept.outbox.boot()),
            awaiting_receipt: self.receipts.waiting() as u64,
            receipt_seconds_ago: self.receipts.heard.map(seconds),
            refused: self.report.refused,
            waiting: outbox.waiting,
            waiting_in_memory: outbox.in_memory,
            outbox_bytes: outbox.bytes,
            outbox_limit_bytes: self.settings.outbox.max_bytes,
            delivered_in_all: outbox.delivered,
            lost: lost.map(|(reason, count)| (reason.word().to_owned(), count)).collect(),
            disk_trouble: outbox.trouble.map(|trouble| format!("cannot {}: {}", trouble.operation, trouble.message)),
            last_error: self.last_error.as_ref().map(|(_, text)| text.clone()),
            last_error_at: self.last_error.as_ref().map(|(at, _)| *at),
            certificate_days: self.settings.credentials.not_after().map(days),
            renewal: self.renewal.status(),
        }
    }
}
