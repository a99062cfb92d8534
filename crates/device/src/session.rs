//! From credentials to an accepted MQTT connection, and the reason in one typed error when there is none.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tesaiot_mqtt::Message;
use tesaiot_mqtt::client::{self, Connected, Lost, Options, Pending};
use tesaiot_mqtt::link::LinkError;
use tesaiot_mqtt::packet::ConnectAckReason;
use tesaiot_tls::{Diagnosis, TlsVersion, diagnose_error};
use tokio::time::timeout;

use crate::connect::{ConnectError, Connector, is_client_refusal, tls_hint, tls_message};

/// How long the broker may take to answer CONNECT.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// An accepted connection.
#[derive(Debug)]
pub struct Session {
    /// The connection: handle, messages, what the broker said.
    pub connected: Connected,
    /// The outcome of the message that was sent with CONNECT, when there was one.
    pub first: Option<Pending>,
    /// The TLS version both ends agreed on.
    pub tls_version: Option<TlsVersion>,
}

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
    #[error("{}: {host}:{port}: the broker answered CONNECT with {reason:?}{}", refusal(*.reason), Quoted(.text.as_deref()))]
    Refused {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// The MQTT 5 reason, or what a 3.1.1 return code means
        reason: ConnectAckReason,
        /// The broker's own words, when it sent any
        text: Option<String>,
    },
    /// The connection ended, or something that is not MQTT answered.
    #[error("MQTT connection failed: {host}:{port}: {}", broken(.source))]
    Broken {
        /// The broker's host
        host: String,
        /// The broker's port
        port: u16,
        /// What happened
        source: client::ConnectError,
    },
    /// The broker took the TLS connection and did not answer CONNECT.
    #[error("Connection timed out: {host}:{port}: the broker did not answer CONNECT within {after:?}")]
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
}

/// Opens a stream and connects over it.
///
/// # Errors
/// [`SessionError`], which says who refused what.
pub async fn open(connector: &Connector, options: Options) -> Result<Session, SessionError> {
    open_with(connector, options, None).await
}

/// As [`open`], with a first message sent together with CONNECT.
///
/// # Errors
/// As [`open`]; the message was not taken then.
pub async fn open_with(
    connector: &Connector,
    options: Options,
    first: Option<Message>,
) -> Result<Session, SessionError> {
    let stream = connector.connect().await?;
    let tls_version = stream.version();
    let (host, port) = (connector.host().to_owned(), connector.port());
    let connecting = async {
        match first {
            Some(first) => {
                let (connected, first) = client::connect_and_publish(stream, options, first).await?;
                Ok((connected, Some(first)))
            }
            None => Ok((client::connect(stream, options).await?, None)),
        }
    };
    match timeout(CONNECT_DEADLINE, connecting).await {
        Ok(Ok((connected, first))) => Ok(Session { connected, first, tls_version }),
        Ok(Err(client::ConnectError::Refused { reason, text })) => {
            Err(SessionError::Refused { host, port, reason, text })
        }
        Ok(Err(source)) => match diagnose_error(&source) {
            Some(diagnosis) => Err(SessionError::Tls { host, port, diagnosis: Box::new(diagnosis) }),
            None => Err(SessionError::Broken { host, port, source }),
        },
        Err(_) => Err(SessionError::TimedOut { host, port, after: CONNECT_DEADLINE }),
    }
}

impl SessionError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        let diagnosis = match self {
            Self::Connect(error) => error.diagnosis(),
            Self::Tls { diagnosis, .. } => Some(&**diagnosis),
            Self::Refused { reason, .. } if is_temporary(*reason) => None,
            Self::Refused { .. } => return Fault::Client,
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
            Self::Refused { reason, .. } if is_temporary(*reason) => "try again later: the broker is not ready",
            Self::Refused { .. } => {
                "check client cert and key, or the API key, and the device id: the device may be unknown or disabled"
            }
            Self::Broken { source: client::ConnectError::Link(LinkError::Closed), .. } => {
                "check the client certificate and the device: the broker closed the connection without a reason"
            }
            Self::Broken { .. } => "check host and port: does an MQTT broker answer there?",
            Self::TimedOut { .. } => "check host and port: something answers TLS there and does not speak MQTT",
        }
    }
}

/// Why an established connection ended, in one line.
pub fn describe_lost(lost: &Lost) -> String {
    match lost {
        Lost::Link(error) => match diagnose_error(&**error) {
            Some(diagnosis) => diagnosis.to_string(),
            None => with_source(&**error),
        },
        other => other.to_string(),
    }
}

fn broken(error: &client::ConnectError) -> String {
    match error {
        client::ConnectError::Link(error) => with_source(error),
        other => other.to_string(),
    }
}

/// The error and what it stands for: "connection failed" alone helps nobody.
fn with_source(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn refusal(reason: ConnectAckReason) -> &'static str {
    match reason {
        ConnectAckReason::BadUserNameOrPassword | ConnectAckReason::NotAuthorized => "Bad username or password",
        reason if is_temporary(reason) => "Broker not available",
        _ => "Connection refused by the broker",
    }
}

fn is_temporary(reason: ConnectAckReason) -> bool {
    matches!(
        reason,
        ConnectAckReason::ServerUnavailable
            | ConnectAckReason::ServerBusy
            | ConnectAckReason::QuotaExceeded
            | ConnectAckReason::ConnectionRateExceeded
            | ConnectAckReason::UseAnotherServer
            | ConnectAckReason::ServerMoved
    )
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
