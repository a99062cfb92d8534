//! Whether the server looks at the device's certificate.

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::credentials::Method;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &Examination) -> Finding {
    let asked = examination.facts.handshakes.iter().any(|handshake| handshake.asked);
    match examination.facts.authenticated {
        None => Finding::needs("CONNECT"),
        Some(Method::MutualTls) if asked => {
            Finding::passed("the server asked for the certificate, and let the device in with it alone")
        }
        Some(Method::MutualTls) => Finding::failed(
            Blame::Refused,
            "the server let the device in and never asked for its certificate",
            "connect to the port for client certificates (8883), or let the broker require one",
        ),
        Some(Method::ServerTls) if asked => {
            Finding::skipped("the server asks for a certificate and takes the login too; the bundle has no certificate")
        }
        Some(Method::ServerTls) => Finding::skipped("the device logs in with a key: server TLS"),
    }
}
