//! Whether the broker lets the device in.

use tesaiot_mqtt::packet::{ConnectAckReason, Version};
use tesaiot_tls::Versions;

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::session::{self, Fault, Session, SessionError};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    if examination.facts.handshakes.is_empty() {
        return Finding::needs("TLS");
    }
    if examination.credentials.is_none() {
        return Finding::needs("bundle files, key matches certificate, validity");
    }
    // MQTT 5 first: with it a broker says why it refuses a message.
    let mut opened = open(examination, Version::V5).await;
    if matches!(&opened, Some(Err(error)) if speaks_no_5(error)) {
        opened = open(examination, Version::V3).await;
    }
    match opened {
        None => Finding::needs("bundle files"),
        Some(Ok((session, version))) => {
            let method = examination.credentials.as_ref().map(|credentials| credentials.method());
            examination.facts.authenticated = method;
            let how = method.map_or_else(String::new, |method| format!(" with {method}"));
            let tls = session.tls_version.map_or_else(String::new, |version| format!(" over {version}"));
            examination.session = Some((session, version));
            Finding::passed(format!("accepted{how}{tls}, {version}"))
        }
        Some(Err(error)) => Finding::failed(blame(error.fault()), error.to_string(), error.hint()),
    }
}

async fn open(examination: &Examination, version: Version) -> Option<Result<(Session, Version), SessionError>> {
    let connector = examination.connector(examination.tls(Versions::Both, true)?)?;
    let options = examination.credentials.as_ref()?.mqtt_options(version);
    Some(session::open(&connector, options).await.map(|session| (session, version)))
}

/// An old broker answers a version that it does not know with that, or by closing.
fn speaks_no_5(error: &SessionError) -> bool {
    match error {
        SessionError::Refused { reason, .. } => *reason == ConnectAckReason::UnsupportedProtocolVersion,
        SessionError::Broken { .. } => true,
        _ => false,
    }
}

pub(super) fn blame(fault: Fault) -> Blame {
    match fault {
        Fault::Network => Blame::Network,
        Fault::ServerCertificate => Blame::ServerCertificate,
        Fault::Client => Blame::Client,
        Fault::Refused => Blame::Refused,
    }
}
