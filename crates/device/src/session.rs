//! From credentials to an accepted MQTT connection, and the reason in one typed error when there is none.

mod error;
mod reason;

use std::future::Future;
use std::time::Duration;

use tesaiot_mqtt::Message;
use tesaiot_mqtt::client::direct::Direct;
use tesaiot_mqtt::client::{self, Connected, Lost, Options};
use tesaiot_mqtt::packet::Version;
use tesaiot_tls::{TlsVersion, diagnose_error};
use tokio::time::{Instant, timeout};

use crate::connect::{Connector, Phases, TlsStream};
use error::with_source;
pub use error::{Fault, SessionError};
pub use reason::Reason;

/// How long the broker may take to answer CONNECT.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// An accepted connection.
#[derive(Debug)]
pub struct Session {
    /// The connection: handle, messages, what the broker said.
    pub connected: Connected,
    /// The TLS version both ends agreed on.
    pub tls_version: Option<TlsVersion>,
}

/// An accepted connection for one user.
pub struct DirectSession {
    /// The connection.
    pub direct: Direct<TlsStream>,
    /// The TLS version both ends agreed on.
    pub tls_version: Option<TlsVersion>,
    /// How long it took to come about.
    pub phases: Phases,
}

/// Opens a stream and connects over it.
///
/// # Errors
/// [`SessionError`], which says who refused what.
pub async fn open(connector: &Connector, options: Options) -> Result<Session, SessionError> {
    let (stream, _) = connector.connect().await?;
    let (tls_version, version) = (stream.version(), options.version);
    let connected = answered(connector, version, client::connect(stream, options)).await?;
    Ok(Session { connected, tls_version })
}

/// As [`open`], for one user that drives the connection itself. `first`, of QoS 1 or 2, leaves together with CONNECT as
/// message number 0.
///
/// # Errors
/// As [`open`]; the message was not taken then.
pub async fn open_direct(
    connector: &Connector,
    options: &Options,
    first: Option<Message>,
) -> Result<DirectSession, SessionError> {
    let (stream, mut phases) = connector.connect().await?;
    let tls_version = stream.version();
    let began = Instant::now();
    let direct = answered(connector, options.version, Direct::connect(stream, options, first)).await?;
    phases.connect = began.elapsed();
    Ok(DirectSession { direct, tls_version, phases })
}

/// What the broker answers to CONNECT, in time.
async fn answered<C>(
    connector: &Connector,
    version: Version,
    connecting: impl Future<Output = Result<C, client::ConnectError>>,
) -> Result<C, SessionError> {
    let allowed = connector.allowed(CONNECT_DEADLINE);
    let failed = match timeout(allowed, connecting).await {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let (host, port) = (connector.host().to_owned(), connector.port());
    Err(match failed {
        Some(client::ConnectError::Refused { reason, text }) => {
            SessionError::Refused { host, port, version, reason, text }
        }
        Some(cause) => match diagnose_error(&cause) {
            Some(diagnosis) => SessionError::Tls { host, port, diagnosis: Box::new(diagnosis) },
            None => SessionError::Broken { host, port, cause },
        },
        None => SessionError::TimedOut { host, port, after: allowed },
    })
}

/// Why an established connection ended, in one line.
pub fn describe_lost(lost: &Lost) -> String {
    match lost {
        Lost::Link(error) => match diagnose_error(&**error) {
            Some(diagnosis) => diagnosis.to_string(),
            None => with_source(&**error),
        },
        Lost::ByBroker(reason) => format!("the broker closed the connection: {}", Reason::from(*reason)),
        other => other.to_string(),
    }
}
