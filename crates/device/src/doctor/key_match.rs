//! Whether certificate, key and device id belong together; for a login, whether the key is this device's own.

use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle::Bundle;
use tesaiot_tls::ClientIdentity;

use super::examination::Examination;
use super::{Blame, Examining, Finding};
use crate::credentials::Method;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

fn look(examination: &mut Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let finding = match examination.method(settings) {
        Method::ServerTls => return login(examination),
        Method::MutualTls => {
            let Ok((chain, key)) = settings.bundle.require_certificate() else {
                return Finding::needs("bundle files");
            };
            match ClientIdentity::from_pem(chain, key.expose()) {
                Ok(identity) => {
                    let finding = named(&identity, &settings.bundle.device_id);
                    examination.identity = Some(identity);
                    finding
                }
                Err(error) => Finding::failed(Blame::Files, error.to_string(), error.hint()),
            }
        }
    };
    if let (super::Outcome::Passed, Ok(settings)) = (finding.outcome, &examination.settings) {
        examination.facts.unique = Some(Ok(finding.evidence.clone()));
        examination.credentials = settings.credentials(examination.order.choice, examination.now).ok();
    }
    finding
}

fn named(identity: &ClientIdentity, device_id: &DeviceId) -> Finding {
    let summary = identity.summary();
    if summary.subject_common_name.as_deref() == Some(device_id.as_str()) {
        let serial: String = summary.serial.iter().map(|byte| format!("{byte:02x}")).collect();
        return Finding::passed(format!("the certificate names {device_id}, serial {serial}"));
    }
    let evidence = format!("client_cert.pem was issued to {}, not to the device {device_id}", summary.subject);
    Finding::failed(
        Blame::Files,
        evidence,
        "check client cert and key and device_id.txt: they are of different bundles",
    )
}

fn login(examination: &mut Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    if settings.bundle.require_login().is_err() {
        return Finding::needs("bundle files");
    }
    let unique = own_key(&settings.bundle);
    examination.facts.unique = Some(unique.clone());
    examination.credentials = settings.credentials(examination.order.choice, examination.now).ok();
    match unique {
        Ok(evidence) => Finding::passed(evidence),
        Err(evidence) => Finding::skipped(evidence),
    }
}

/// A device key of the platform carries the first of its device's id (the wire contract, section 2).
fn own_key(bundle: &Bundle) -> Result<String, String> {
    let start: String = bundle.device_id.as_str().chars().filter(|c| *c != '-').take(8).collect();
    let prefix = format!("tesa_dak_{}_", start.to_lowercase());
    match &bundle.api_key {
        Some(key) if key.expose().starts_with(&prefix) => Ok(format!("the API key is one of {}", bundle.device_id)),
        Some(_) => Err("whose the API key is cannot be seen from it".to_owned()),
        None => Err("whose the password is cannot be seen from it".to_owned()),
    }
}
