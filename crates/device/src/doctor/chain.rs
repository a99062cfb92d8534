//! Whether the device's certificate is one that its own platform believes.

use jiff::Timestamp;
use tesaiot_tls::TrustAnchors;

use super::examination::Examination;
use super::{Blame, Examining, Finding};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let Some(identity) = &examination.identity else {
        return match settings.bundle.certificate {
            Some(_) => Finding::needs("key matches certificate"),
            None => Finding::skipped("no client certificate in the bundle"),
        };
    };
    let trust = settings.bundle.require_trust_anchor().ok().map(TrustAnchors::from_pem);
    let Some(Ok(trust)) = trust else { return Finding::needs("bundle files") };
    match trust.judge_client(identity, Timestamp::now()) {
        Ok(()) => Finding::passed(format!(
            "client_cert.pem leads to ca-chain.pem, certificates sent: {}",
            identity.chain().len()
        )),
        Err(fault) if fault.is_about_time() => {
            Finding::failed(Blame::Files, fault.to_string(), "renew the certificate; check this machine's clock")
        }
        // A broker may have another authority for its devices than for itself: it decides, not this file.
        Err(fault) => Finding::warned(
            format!("client_cert.pem by ca-chain.pem: {fault}"),
            "verify that client_cert.pem holds its intermediate too, and that the broker knows its authority",
        ),
    }
}
