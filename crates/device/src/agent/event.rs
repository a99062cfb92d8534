//! What an agent tells whoever runs it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tesaiot_mqtt::client::Lost;
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_tls::TlsVersion;

use crate::https::PostError;
use crate::outbox::Trouble;
use crate::sensor::{Fault, SensorError};
use crate::session::SessionError;

/// Something that happened. None of them holds a payload or a secret.
#[derive(Debug)]
pub enum Event {
    /// The broker accepted the connection.
    Connected {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// The TLS version both ends agreed on
        tls_version: Option<TlsVersion>,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// Who refused what
        error: Box<SessionError>,
        /// The next attempt comes after this
        retry_in: Duration,
    },
    /// Samples could not be posted over HTTPS; they stay in the outbox.
    PostFailed {
        /// Who refused what
        error: Box<PostError>,
        /// The next attempt comes after this
        retry_in: Duration,
    },
    /// The platform refused a sample over HTTPS; it is not sent again.
    PostRefused {
        /// Its sequence number
        seq: u64,
        /// Why
        error: Box<PostError>,
    },
    /// An established connection ended by itself.
    Disconnected {
        /// Why
        lost: Lost,
        /// The next attempt comes after this
        retry_in: Duration,
    },
    /// A sensor could not be read.
    SensorFailed {
        /// Its name
        sensor: Arc<str>,
        /// Why
        error: SensorError,
        /// It is asked again after this
        retry_in: Duration,
    },
    /// A sensor that failed was read again.
    SensorRecovered {
        /// Its name
        sensor: Arc<str>,
    },
    /// A sensor gave a value that cannot be; the sample says so too.
    Faulty {
        /// Its name
        sensor: Arc<str>,
        /// The metric
        metric: Box<str>,
        /// What is wrong with it
        fault: Fault,
    },
    /// A sample was taken.
    Sampled {
        /// Its sequence number
        seq: u64,
        /// Samples that are not acknowledged yet, this one included
        waiting: u64,
    },
    /// The broker took responsibility for a sample.
    Acknowledged {
        /// Its sequence number
        seq: u64,
        /// From handing it to the connection
        after: Duration,
    },
    /// The broker refused a sample (MQTT 5); it is not sent again.
    Refused {
        /// Its sequence number
        seq: u64,
        /// Why
        reason: PublishAckReason,
    },
    /// Samples were given up for want of room, or were damaged on disk, or refused. Told at once, then now and then.
    Lost {
        /// How many since this was last told
        count: u64,
        /// How many since the outbox was made
        in_all: u64,
    },
    /// The disk does not do what it is asked to, or does again.
    DiskTrouble(Trouble),
    /// The run before this one was killed, or lost its power.
    PreviousRunCutShort {
        /// Samples that it left in the outbox
        waiting: u64,
    },
    /// Something on the topic of receipts is none; it changes nothing.
    ReceiptUnreadable,
    /// The broker took samples, and in all this time no receipt named them: they are sent again.
    ReceiptsOverdue {
        /// How many
        samples: u64,
        /// How long they waited
        waited: Duration,
    },
    /// The receipts of its run left a sample out again and again: it is not sent another time, and counted as lost.
    NeverStored {
        /// Its sequence number
        seq: u64,
        /// How often it was sent
        times: u32,
    },
    /// The broker did not grant a subscription: commands, configuration or receipts will not
    /// arrive.
    SubscriptionRefused {
        /// The topic filter
        filter: String,
    },
    /// A command came and was answered.
    Command {
        /// Its name
        name: String,
        /// Whether this agent knows it
        known: bool,
    },
    /// The certificate or key in the bundle was replaced, and is used from now on.
    CredentialsChanged,
    /// The certificate was renewed, and the platform has let the agent in with the new one.
    Renewed {
        /// Good until then
        not_after: Timestamp,
    },
    /// The certificate could not be renewed; the old one stays in use.
    RenewalFailed {
        /// Why
        what: String,
        /// What a person can do about it
        hint: &'static str,
        /// It is tried again after this
        retry_in: Duration,
    },
    /// The configuration in force changed, or could not be changed.
    Configured {
        /// What happened
        what: String,
    },
}

/// What an agent did, from start to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Samples taken, those that tell of the agent itself included
    pub sampled: u64,
    /// Times a sensor could not be read
    pub sensor_failures: u64,
    /// Samples the broker took responsibility for
    pub acknowledged: u64,
    /// Samples the broker refused
    pub refused: u64,
    /// Samples lost otherwise: given up for want of room, or damaged on disk
    pub dropped: u64,
    /// Samples still waiting when the agent stopped
    pub waiting: u64,
    /// They are all on disk: the next run delivers them
    pub waiting_is_safe: bool,
    /// Connections the broker accepted
    pub connections: u64,
    /// Commands answered
    pub commands: u64,
    /// The agent ended because it is to start anew
    pub restart: bool,
    /// Events that nobody fetched in time
    pub events_missed: u64,
}
