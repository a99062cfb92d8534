//! Why no session came about, whose fault it is, and what to do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tesaiot_mqtt::client;
use tesaiot_mqtt::link::LinkError;
use tesaiot_mqtt::packet::{ConnectAckReason, Version};
use tesaiot_tls::Diagnosis;

use super::reason::Reason;
use crate::connect::{ConnectError, is_client_refusal, os_words, tls_hint, tls_message};

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No encrypted stream could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// TLS came about and ended before the broker answered CONNECT; a refusal of the client certificate arrives here
    /// with TLS 1.3.
    #[error("{}", tls_message(.diagnosis, .host, *.port))]
    Tls {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// Who refused what
        diagnosis: Box<Diagnosis>,
    },
    /// The broker answered CONNECT with a refusal.
    #[error(
        "{}: {host}:{port}: the broker answered CONNECT with {}{}",
        prefix(*.reason), Reason::of_connect(*.reason, *.version), Quoted(.text.as_deref())
    )]
    Refused {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// The version that was spoken
        version: Version,
        /// The MQTT 5 reason, or what a 3.1.1 return code means
        reason: ConnectAckReason,
        /// The broker's own words, when it sent any
        text: Option<String>,
    },
    /// The connection ended, or something that is not MQTT answered.
    #[error("{}", broken(.host, *.port, .cause))]
    Broken {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// What happened; the message says it all
        cause: client::ConnectError,
    },
    /// The broker took the TLS connection and did not answer CONNECT.
    #[error("Connection timed out: {host}:{port}: the broker did not answer CONNECT within {after:?} (step: CONNECT)")]
    TimedOut {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// How long it had
        after: Duration,
    },
}

/// Whose fault a failed connection is: what an exit code can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The network, the address, or a broker that is not ready: the same attempt may succeed later.
    Network,
    /// The server's certificate is not to be trusted.
    ServerCertificate,
    /// The broker does not accept this client: certificate, key or login.
    Client,
    /// The broker knows who we are, or does not care, and refuses all the same.
    Refused,
}

impl SessionError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        let diagnosis = match self {
            Self::Connect(error) => error.diagnosis(),
            Self::Tls { diagnosis, .. } => Some(&**diagnosis),
            Self::Refused { reason, .. } => return Kind::of(*reason).fault(),
            Self::Broken { .. } | Self::TimedOut { .. } => None,
        };
        match diagnosis {
            Some(Diagnosis::ServerCertificate(..)) => Fault::ServerCertificate,
            Some(diagnosis) if is_client_refusal(diagnosis) => Fault::Client,
            _ => Fault::Network,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.hint(),
            Self::Tls { diagnosis, .. } => tls_hint(diagnosis),
            Self::Refused { reason, .. } => Kind::of(*reason).hint(),
            Self::Broken { cause: client::ConnectError::Link(LinkError::Closed | LinkError::Io(_)), .. } => {
                "check client cert and key and the device: a broker that refuses one may close without a reason; see its log"
            }
            Self::Broken { .. } => "check host and port: does an MQTT broker answer there?",
            Self::TimedOut { .. } => "check host and port: something answers TLS there and does not speak MQTT",
        }
    }
}

/// The reasons of a CONNACK by what a person can do about them.
#[derive(Clone, Copy)]
enum Kind {
    Login,
    AuthenticationMethod,
    ClientId,
    Banned,
    ProtocolVersion,
    NotReady,
    Elsewhere,
    Other,
}

impl Kind {
    fn of(reason: ConnectAckReason) -> Self {
        match reason {
            ConnectAckReason::BadUserNameOrPassword | ConnectAckReason::NotAuthorized => Self::Login,
            ConnectAckReason::BadAuthenticationMethod => Self::AuthenticationMethod,
            ConnectAckReason::ClientIdentifierNotValid => Self::ClientId,
            ConnectAckReason::Banned => Self::Banned,
            ConnectAckReason::UnsupportedProtocolVersion => Self::ProtocolVersion,
            ConnectAckReason::ServerUnavailable
            | ConnectAckReason::ServerBusy
            | ConnectAckReason::QuotaExceeded
            | ConnectAckReason::ConnectionRateExceeded => Self::NotReady,
            ConnectAckReason::UseAnotherServer | ConnectAckReason::ServerMoved => Self::Elsewhere,
            _ => Self::Other,
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Login | Self::AuthenticationMethod | Self::ClientId | Self::Banned => Fault::Client,
            Self::NotReady | Self::Elsewhere => Fault::Network,
            Self::ProtocolVersion | Self::Other => Fault::Refused,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Login => {
                "check client cert and key, or the API key, and the device id: the device may be unknown or disabled"
            }
            Self::AuthenticationMethod => {
                "let the broker accept a client certificate, or user name and password: no other method is spoken here"
            }
            Self::ClientId => "check the device id: the broker does not take it as a client id",
            Self::Banned => "ask the operator of the broker why this device was banned",
            Self::ProtocolVersion => "speak the other version of MQTT: --mqtt-version 3.1.1 or 5",
            Self::NotReady => "try again later: the broker is not ready",
            Self::Elsewhere => "check host and port: the broker says that another server is in charge now",
            Self::Other => "see the broker's log for what it does not take",
        }
    }
}

fn prefix(reason: ConnectAckReason) -> &'static str {
    match Kind::of(reason) {
        Kind::Login => "Bad username or password",
        Kind::NotReady | Kind::Elsewhere => "Broker not available",
        _ => "Connection refused by the broker",
    }
}

fn broken(host: &str, port: u16, error: &client::ConnectError) -> String {
    use client::ConnectError::{Link, Refused, Unexpected};
    match error {
        Link(LinkError::Closed) => {
            format!("Connection closed: {host}:{port}: the broker closed it before it answered CONNECT (step: CONNECT)")
        }
        Link(LinkError::Io(error)) => {
            format!("{}: {host}:{port}: before the broker answered CONNECT (step: CONNECT)", os_words(error))
        }
        Link(LinkError::Protocol(error)) => {
            format!("Not an MQTT broker: {host}:{port}: the answer to CONNECT is none: {error} (step: CONNECT)")
        }
        Unexpected(packet) => {
            format!("Not an MQTT broker: {host}:{port}: it answered CONNECT with {packet} (step: CONNECT)")
        }
        Refused { reason, .. } => format!("{}: {host}:{port}", prefix(*reason)),
    }
}

/// The error and what it stands for: "connection failed" alone helps nobody.
pub(super) fn with_source(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The broker's words: quoted, on one line, and not too many of them.
struct Quoted<'a>(Option<&'a str>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.0 else { return Ok(()) };
        let short: String = text.chars().filter(|character| !character.is_control()).take(200).collect();
        write!(f, " and said {short:?}")
    }
}
