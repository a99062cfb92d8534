//! Whom the server says it is, and whether ca-chain.pem believes it.

use super::examination::Examination;
use super::{Blame, Examining, Finding};

/// Days before its end from which a certificate of a server that renews itself should long have been replaced.
const SOON_HOURS: i64 = 14 * 24;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &Examination) -> Finding {
    if let Some((diagnosis, message)) = &examination.distrust {
        return Finding::failed(Blame::ServerCertificate, message.clone(), diagnosis.hint());
    }
    let Some(server) = &examination.facts.server else { return Finding::needs("TLS") };
    let evidence = format!("verified by ca-chain.pem and by name: {server}");
    if server.not_after.duration_since(examination.now).as_hours() < SOON_HOURS {
        return Finding::warned(evidence, "renew the server's certificate");
    }
    Finding::passed(evidence)
}
