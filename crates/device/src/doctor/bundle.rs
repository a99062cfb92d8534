//! The files of the bundle: there, readable, and what they must be.

use tesaiot_tls::TrustAnchors;

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::credentials::Method;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &Examination) -> Finding {
    let settings = match &examination.settings {
        Ok(settings) => settings,
        Err(error) => return Finding::failed(Blame::Files, error.to_string(), error.hint()),
    };
    let bundle = &settings.bundle;
    let method = examination.method(settings);
    let secret = match method {
        Method::MutualTls => bundle.require_certificate().map(|_| "client_cert.pem, client_key.pem"),
        Method::ServerTls => bundle.require_login().map(|_| "an API key"),
    };
    let (secret, anchors) = match secret.and_then(|secret| Ok((secret, bundle.require_trust_anchor()?))) {
        Ok(found) => found,
        Err(error) => return Finding::failed(Blame::Files, error.to_string(), error.hint()),
    };
    match TrustAnchors::from_pem(anchors) {
        Ok(trust) => Finding::passed(format!(
            "device {}, {secret}, ca-chain.pem with {} trust anchor{}",
            bundle.device_id,
            trust.anchor_count(),
            if trust.anchor_count() == 1 { "" } else { "s" },
        )),
        Err(error) => Finding::failed(Blame::Files, format!("ca-chain.pem: {error}"), error.hint()),
    }
}
