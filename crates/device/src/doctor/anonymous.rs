//! Whether the broker keeps out who shows no credentials.

use tesaiot_mqtt::client::Options;
use tesaiot_tls::Versions;

use super::examination::Examination;
use super::{Examining, Finding};
use crate::session::{self, Fault, SessionError};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

async fn run(examination: &mut Examination) -> Finding {
    if examination.facts.handshakes.is_empty() {
        return Finding::needs("TLS");
    }
    let connector = examination.tls(Versions::Both, false).and_then(|tls| examination.connector(tls));
    let Some(connector) = connector else { return Finding::needs("bundle files") };
    // Not as the device: where anybody is let in, that would put out the device itself.
    let options = Options::new("tesaiot-doctor");
    match session::open(&connector, options).await {
        Ok(session) => {
            let evidence = "the broker lets in whoever comes".to_owned();
            examination.facts.anonymous = Some(Err(evidence.clone()));
            let _ = tokio::time::timeout(examination.order.step, session.connected.client.disconnect()).await;
            Finding::warned(evidence, "let the broker require a client certificate, or user name and password")
        }
        Err(error) if keeps_out(&error) => {
            let evidence = format!("kept out: {}", brief(&error));
            examination.facts.anonymous = Some(Ok(evidence.clone()));
            Finding::passed(evidence)
        }
        Err(error) => Finding::skipped(format!("cannot be told: {error}")),
    }
}

/// A refusal, or a connection closed instead of an answer.
fn keeps_out(error: &SessionError) -> bool {
    matches!(error, SessionError::Broken { .. }) || matches!(error.fault(), Fault::Client | Fault::Refused)
}

fn brief(error: &SessionError) -> String {
    match error {
        SessionError::Broken { .. } => "the broker closed the connection".to_owned(),
        other => other.to_string(),
    }
}
