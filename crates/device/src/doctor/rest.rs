//! Whether the device reaches the platform's REST interface, and is known there.

use tesaiot_contract::endpoints::DEFAULT_HOST;
use tesaiot_tls::{Diagnosis, Versions};

use super::examination::Examination;
use super::http::{self, Answer, HttpError};
use super::{Blame, Examining, Finding};
use crate::connect::ConnectError;
use crate::credentials::Method;

/// What anybody may ask (the wire contract, section 10).
pub(super) const HEALTH: &str = "/api/v1/health";

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(run(examination))
}

/// Where the REST interface is; none when the bundle does not say. A bundle for a broker of one's own has none, and
/// must not ask the default's.
pub(super) fn base(examination: &Examination) -> Option<String> {
    let endpoints = &examination.settings.as_ref().ok()?.bundle.endpoints;
    let assumed = http::place(&endpoints.api_base_url)?.host == DEFAULT_HOST && endpoints.mqtt_host != DEFAULT_HOST;
    (!assumed && !endpoints.api_base_url.is_empty()).then(|| endpoints.api_base_url.clone())
}

async fn run(examination: &mut Examination) -> Finding {
    let Some(base) = base(examination) else { return Finding::skipped("the bundle names no REST address") };
    let Some(tls) = examination.tls(Versions::Both, false) else { return Finding::needs("bundle files") };
    let health = match http::get(&base, HEALTH, None, &tls, examination.deadline()).await {
        Ok(Answer { status, .. }) => status,
        Err(error) => return no_answer(&base, error),
    };
    let said = format!("{base}{HEALTH}: {health}");
    if health != 200 {
        return Finding::warned(said, "see the platform's log: it does not serve at the moment");
    }
    as_device(examination, &base, said).await
}

/// The device's own record, with its key. A certificate is for a listener of its own, which needs no key.
async fn as_device(examination: &Examination, base: &str, said: String) -> Finding {
    let (Ok(settings), Some(tls)) = (&examination.settings, examination.tls(Versions::Both, false)) else {
        return Finding::needs("bundle files");
    };
    let bundle = &settings.bundle;
    let Some(key) = bundle.api_key.as_ref().filter(|_| examination.method(settings) == Method::ServerTls) else {
        return Finding::passed(said);
    };
    let path = format!("/api/v1/devices/{}", bundle.device_id);
    let asked = http::get(base, &path, Some(("X-API-KEY", key.expose())), &tls, examination.deadline()).await;
    match asked {
        Ok(Answer { status: 200, .. }) => Finding::passed(format!("{said}; {path}: 200")),
        Ok(Answer { status: status @ (401 | 403), .. }) => Finding::failed(
            Blame::Client,
            format!("{said}; {path}: {status}"),
            "check the API key and the device id: the device may be unknown or disabled",
        ),
        Ok(Answer { status, .. }) => {
            Finding::warned(format!("{said}; {path}: {status}"), "see the platform's log for why")
        }
        Err(error) => no_answer(base, error),
    }
}

/// MQTT does without it: a warning, unless somebody there is not to be trusted.
fn no_answer(base: &str, error: HttpError) -> Finding {
    match error {
        HttpError::Address => Finding::warned(
            format!("{base:?} is no HTTPS address"),
            "write api_base_url in endpoints.json as https://HOST:PORT",
        ),
        HttpError::NoAnswer => {
            Finding::warned(format!("{base} did not answer as HTTP does"), "check host and port of api_base_url")
        }
        HttpError::Connect(error) if distrusted(&error) => {
            Finding::failed(Blame::ServerCertificate, error.to_string(), error.hint())
        }
        HttpError::Connect(error) => Finding::warned(
            error.to_string(),
            "check api_base_url in endpoints.json, and that the platform runs; a broker alone has no REST interface",
        ),
    }
}

fn distrusted(error: &ConnectError) -> bool {
    matches!(error.diagnosis(), Some(Diagnosis::ServerCertificate(..)))
}
