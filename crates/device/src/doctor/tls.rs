//! One version of TLS at a time: whether the server speaks it.

use tesaiot_tls::{Diagnosis, TlsVersion};

use super::examination::{Examination, Handshake};
use super::wire::Place;
use super::{Blame, Examining, Finding};
use crate::connect::{ConnectError, is_client_refusal};

pub(super) fn check_12(examination: &mut Examination) -> Examining<'_> {
    Box::pin(check(examination, TlsVersion::Tls12))
}

pub(super) fn check_13(examination: &mut Examination) -> Examining<'_> {
    Box::pin(check(examination, TlsVersion::Tls13))
}

async fn check(examination: &mut Examination, version: TlsVersion) -> Finding {
    let (Some(place), Some(address)) = (examination.place().map(Place::new), examination.address) else {
        return Finding::needs("TCP");
    };
    let Some(tls) = examination.tls(version.into(), true) else { return Finding::needs("bundle files") };
    let deadline = examination.deadline();
    let connecting = async { place.handshake(&tls, place.dial(address, deadline).await?, deadline).await };
    match connecting.await {
        Ok((stream, asked)) => {
            let connection = stream.get_ref().1;
            let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
            let suite = suite.unwrap_or("an unnamed suite").to_owned();
            let server = tesaiot_tls::peer_summary(connection.peer_certificates());
            examination.facts.server = server.ok().flatten().or(examination.facts.server.take());
            let finding = Finding::passed(format!("{version} with {suite}"));
            examination.facts.handshakes.push(Handshake { version, suite, asked });
            finding
        }
        Err(error) => judge(examination, version, &error),
    }
}

fn judge(examination: &mut Examination, version: TlsVersion, error: &ConnectError) -> Finding {
    match error.diagnosis() {
        // The version is spoken: another check tells about the certificate.
        Some(diagnosis @ Diagnosis::ServerCertificate(..)) => {
            examination.distrust = Some((Box::new(diagnosis.clone()), error.to_string()));
            Finding::skipped(format!("{version} is spoken; it ended at the server's certificate"))
        }
        Some(diagnosis) if is_client_refusal(diagnosis) => {
            Finding::failed(Blame::Client, error.to_string(), error.hint())
        }
        // One version that is accepted here is enough to be safe. The older one need not be there at all.
        Some(_) if version == TlsVersion::Tls12 => Finding::warned(
            error.to_string(),
            "publish with --tls-version tlsv1.3, if that is what the next check finds",
        ),
        Some(_) if !examination.facts.handshakes.is_empty() => {
            Finding::warned(error.to_string(), "let the server speak TLS 1.3 too: it is the better version")
        }
        _ => Finding::failed(Blame::Network, error.to_string(), error.hint()),
    }
}
