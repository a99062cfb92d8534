//! The operator's side of the platform's REST interface (the wire contract, section 10).

pub(crate) mod broker;
pub(crate) mod bundle;
pub(crate) mod commands;
pub(crate) mod connection;
pub(crate) mod enrolment;
pub(crate) mod error;
pub(crate) mod letters;
pub(crate) mod tokens;
pub(crate) mod wire;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::json;
use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_tls::{Diagnosis, diagnose_error, diagnose_io};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use connection::Target;
use error::ClientError;
use wire::{Device, DevicePage, NewKey, Points, Problem};

/// For the TCP and TLS handshakes together.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// For a whole request: a year of one metric is read in less.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;
/// Largest problem description that is read, in bytes, and shown, in characters.
const LARGEST_PROBLEM: u64 = 64 * 1024;
const LONGEST_REASON: usize = 500;

/// A connection to one platform. It is opened by the first request and kept for the next.
pub(crate) struct Client {
    agent: Agent,
    target: Target,
}

impl Client {
    /// A client that believes the target's trust anchors and no others. Nothing is sent yet.
    pub(crate) fn new(target: Target) -> Self {
        let anchors = parse_pem(target.ca_pem.as_bytes()).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(anchors.collect::<Vec<Certificate<'static>>>())))
            .unversioned_rustls_crypto_provider(tesaiot_tls::provider())
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            // A platform is a machine of one's own network, not a place on the web: no detour, no redirection.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(REQUEST_TIME))
            .user_agent(concat!("tesaiot/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), target }
    }

    /// Registers a device. `name` defaults to its id at the platform.
    pub(crate) fn create_device(
        &self,
        id: &DeviceId,
        name: Option<&str>,
        auth_mode: &str,
    ) -> Result<Device, ClientError> {
        let mut body = json!({"device_id": id, "auth_mode": auth_mode});
        if let Some(name) = name {
            body["name"] = name.into();
        }
        let request = self.agent.post(self.path("/devices")).header("Authorization", self.bearer());
        self.read(self.answer(request.send_json(body))?)
    }

    /// One device.
    pub(crate) fn device(&self, id: &DeviceId) -> Result<Device, ClientError> {
        self.get(&format!("/devices/{id}"), &[])
    }

    /// The devices behind `after`, at most `limit` of them.
    pub(crate) fn devices(&self, after: Option<&str>, limit: usize) -> Result<DevicePage, ClientError> {
        let limit = limit.to_string();
        let after = after.map(|after| ("after", after));
        self.get("/devices", &after.into_iter().chain([("limit", limit.as_str())]).collect::<Vec<_>>())
    }

    /// Removes a device and its credentials.
    pub(crate) fn remove_device(&self, id: &DeviceId) -> Result<(), ClientError> {
        let request = self.agent.delete(self.path(&format!("/devices/{id}")));
        self.answer(request.header("Authorization", self.bearer()).call()).map(drop)
    }

    /// Does what `action` names, such as `enable` or `certificate/revoke`, to a device.
    pub(crate) fn act(&self, id: &DeviceId, action: &str) -> Result<(), ClientError> {
        self.post(&format!("/devices/{id}/{action}")).map(drop)
    }

    /// Replaces the API key of a device, and returns the new one.
    pub(crate) fn rotate_key(&self, id: &DeviceId) -> Result<Secret, ClientError> {
        let answer = self.post(&format!("/devices/{id}/api-keys"))?;
        self.read::<NewKey>(answer).map(|key| key.api_key)
    }

    /// Issues fresh credentials and returns the bundle that holds them.
    pub(crate) fn issue_bundle(&self, id: &DeviceId) -> Result<Bundle, ClientError> {
        let mut answer = self.post(&format!("/devices/{id}/bundle.zip"))?;
        let body = answer.body_mut().with_config().limit(bundle::LARGEST_ZIP);
        let zip = body.read_to_vec().map_err(|error| self.failed(error))?;
        bundle::from_zip(&zip, id).map_err(|what| self.not_a_platform(what))
    }

    /// Readings of one device; `query` as in the wire contract.
    pub(crate) fn telemetry(&self, id: &DeviceId, query: &[(&str, &str)]) -> Result<Points, ClientError> {
        self.telemetry_as(id, query)
    }

    /// Readings of one device in another form, as the query asks for it.
    pub(crate) fn telemetry_as<T: DeserializeOwned>(
        &self,
        id: &DeviceId,
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        self.get(&format!("/devices/{id}/telemetry"), query)
    }

    /// Readings of one device, however many, in a form that is written as it comes: each piece is
    /// given to `write`, whose error ends it.
    pub(crate) fn stream_telemetry(
        &self,
        id: &DeviceId,
        query: &[(&str, &str)],
        mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let request = self.agent.get(self.path(&format!("/devices/{id}/telemetry")));
        let request = request.header("Authorization", self.bearer()).query_pairs(query.iter().copied());
        // An export takes as long as it takes; the answer's head does not.
        let request = request.config().timeout_global(None).timeout_recv_response(Some(REQUEST_TIME)).build();
        let mut body = self.answer(request.call())?.into_body().into_reader();
        let mut piece = vec![0; 64 * 1024];
        loop {
            match body.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => write(&piece[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(ureq::Error::Io(error)).into()),
            }
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.target.url)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.target.token.expose())
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let request = self.agent.get(self.path(path)).header("Authorization", self.bearer());
        self.read(self.answer(request.query_pairs(query.iter().copied()).call())?)
    }

    fn post(&self, path: &str) -> Result<Response<Body>, ClientError> {
        self.answer(self.agent.post(self.path(path)).header("Authorization", self.bearer()).send_empty())
    }

    /// Tells an answer from a refusal and from none.
    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let mut answer = result.map_err(|error| self.failed(error))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Ok(answer);
        }
        let problem = answer.body_mut().with_config().limit(LARGEST_PROBLEM).read_json::<Problem>();
        let reason = problem.ok().and_then(Problem::reason).unwrap_or_else(|| answer.status().to_string());
        Err(refused(&self.target.url, status, &reason))
    }

    fn read<T: DeserializeOwned>(&self, mut answer: Response<Body>) -> Result<T, ClientError> {
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER);
        body.read_json().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ureq::Error) -> ClientError {
        let url = || self.target.url.clone();
        let tls = |diagnosis| ClientError::Tls { url: url(), diagnosis: Box::new(diagnosis) };
        match error {
            ureq::Error::Io(source) => match diagnose_io(&source) {
                Some(diagnosis) => tls(diagnosis),
                None => unreachable_or_silent(url(), source),
            },
            ureq::Error::Rustls(error) => tls(diagnose_error(&error).unwrap_or(Diagnosis::Internal)),
            ureq::Error::Tls(_) => tls(Diagnosis::InvalidHost),
            ureq::Error::Timeout(_) => ClientError::TimedOut { url: url() },
            ureq::Error::HostNotFound => ClientError::HostNotFound { host: self.target.host.clone() },
            error => self.not_a_platform(error.to_string()),
        }
    }

    fn not_a_platform(&self, what: impl Into<String>) -> ClientError {
        ClientError::NotAPlatform { url: self.target.url.clone(), what: what.into() }
    }
}

/// What an HTTP status other than success means here.
pub(crate) fn refused(url: &str, status: u16, reason: &str) -> ClientError {
    let reason = crate::output::plain(&reason.chars().take(LONGEST_REASON).collect::<String>());
    match status {
        401 => ClientError::Unauthorised { url: url.to_owned() },
        403 => ClientError::Forbidden { reason },
        400..500 => ClientError::Refused { status, reason },
        500..600 => ClientError::Failed { status, reason },
        _ => ClientError::NotAPlatform { url: url.to_owned(), what: format!("HTTP status {status}") },
    }
}

pub(crate) fn unreachable_or_silent(url: String, source: io::Error) -> ClientError {
    match source.kind() {
        io::ErrorKind::TimedOut => ClientError::TimedOut { url },
        _ => ClientError::Unreachable { url, source },
    }
}
