//! From credentials to an accepted MQTT connection, and the reason in one typed error when there is none.

mod error;
mod reason;

use std::time::Duration;

use tesaiot_mqtt::Message;
use tesaiot_mqtt::client::{self, Connected, Lost, Options, Pending};
use tesaiot_tls::{TlsVersion, diagnose_error};
use tokio::time::timeout;

use crate::connect::Connector;
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
    /// The outcome of the message that was sent with CONNECT, when there was one.
    pub first: Option<Pending>,
    /// The TLS version both ends agreed on.
    pub tls_version: Option<TlsVersion>,
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
    let (host, port, version) = (connector.host().to_owned(), connector.port(), options.version);
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
            Err(SessionError::Refused { host, port, version, reason, text })
        }
        Ok(Err(cause)) => match diagnose_error(&cause) {
            Some(diagnosis) => Err(SessionError::Tls { host, port, diagnosis: Box::new(diagnosis) }),
            None => Err(SessionError::Broken { host, port, cause }),
        },
        Err(_) => Err(SessionError::TimedOut { host, port, after: CONNECT_DEADLINE }),
    }
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
