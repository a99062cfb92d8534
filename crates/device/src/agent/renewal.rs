//! The agent's certificate, renewed while it works.
//!
//! ```text
//! due ── connected by MQTT ──▶ commands/csr ──▶ commands/certificate ──▶ connect with it ──▶ promoted
//!   │                                                                          └─ refused: back to the old one
//!   └── HTTPS, or no connection, or expired ──▶ identity::renew (asks, proves and promotes) ──▶ taken over
//! ```
//!
//! A new certificate is on disk beside the old one before it is used, and takes its place once the platform has let the
//! device in with it: whenever the program is killed, the bundle holds a pair that works. A certificate that somebody
//! else renewed (`tesaiot agent renew`) is noticed and taken over.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tesaiot_contract::DeviceTopic;
use tesaiot_contract::bundle::Bundle;
use tesaiot_mqtt::client::Published;
use tesaiot_mqtt::{Message, QoS};
use tesaiot_tls::Versions;
use tokio::time::Instant;

use super::{Agent, Event, Transport};
use crate::connect::Connector;
use crate::credentials::{Choice, Credentials, Method};
use crate::identity::{self, IdentityError, IdentityFiles, Pending, Renewed, schedule};
use crate::session::{Fault, SessionError};

/// How long the platform may take to answer on `commands/certificate`.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a connection is looked for again.
const SOON: Duration = Duration::from_millis(500);
/// The longest time between two looks at the clock and at the disk.
const LOOK: Duration = Duration::from_secs(3600);

type Renewing = Pin<Box<dyn Future<Output = Result<Renewed, IdentityError>> + Send>>;

/// What is known of the renewal.
#[derive(Default)]
pub(super) struct Renewal {
    /// The bundle whose certificate is renewed; none for an agent that logs in with a key
    bundle: Option<Bundle>,
    stage: Stage,
    /// When there is something to do
    pub(super) at: Option<Instant>,
    due: Option<Timestamp>,
    failures: u32,
    trouble: Option<String>,
    /// How long a connection was waited for
    waited: Duration,
    /// A request on its way to the broker
    pub(super) outgoing: Option<Message>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// The platform was asked over MQTT.
    Asked { files: IdentityFiles, pending: Box<Pending> },
    /// The connection is made with the new certificate.
    Proving { files: IdentityFiles, old: Box<Worn> },
    /// It is done over HTTPS.
    Renewing(Renewing),
}

/// What an agent wears to be known.
struct Worn {
    bundle: Bundle,
    credentials: Credentials,
}

/// The renewal as `agent status` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewalStatus {
    /// When the next renewal is due
    pub due_at: Timestamp,
    /// Attempts in a row that failed
    pub failures: u32,
    /// What the last one failed with
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Renewal {
    pub(super) fn status(&self) -> Option<RenewalStatus> {
        let due_at = self.due?;
        Some(RenewalStatus { due_at, failures: self.failures, trouble: self.trouble.clone() })
    }

    /// The end of what is done over HTTPS. Never, when nothing is.
    pub(super) async fn ended(&mut self) -> Result<Renewed, IdentityError> {
        match &mut self.stage {
            Stage::Renewing(renewing) => renewing.await,
            _ => std::future::pending().await,
        }
    }
}

impl Agent {
    /// Renews the certificate of this bundle, with which the agent logs in. Without effect for one that logs in with a
    /// key.
    #[must_use]
    pub fn with_renewal(mut self, bundle: Bundle) -> Self {
        if self.settings.credentials.method() == Method::MutualTls {
            self.renewal.bundle = Some(bundle);
            self.plan_renewal();
        }
        self
    }

    /// Looks when the certificate at hand is due.
    fn plan_renewal(&mut self) {
        let Some(identity) = self.settings.credentials.identity() else { return };
        let (from, to) = (identity.summary().not_before, identity.summary().not_after);
        self.renewal.due = Some(schedule::due(from, to, self.random.bits()));
        self.renewal.at = Some(Instant::now());
    }

    /// There may be something to do.
    pub(super) fn renewal_due(&mut self) {
        self.renewal.at = None;
        match &self.renewal.stage {
            Stage::Idle => {}
            Stage::Asked { .. } => return self.renewal_failed("the platform sent no certificate", NO_ANSWER),
            // The attempt to connect decides, or the end of what runs.
            Stage::Proving { .. } | Stage::Renewing(_) => return,
        }
        if self.wear_newer() {
            return;
        }
        let Some(due) = self.renewal.due else { return };
        let wait = u64::try_from(due.as_second() - self.clock.now().as_second()).unwrap_or(0);
        if wait > 0 {
            self.renewal.at = Some(Instant::now() + Duration::from_secs(wait).min(LOOK));
        } else {
            self.begin_renewal();
        }
    }

    fn begin_renewal(&mut self) {
        let Some(bundle) = self.renewal.bundle.clone() else { return };
        let is_expired = self.settings.credentials.not_after().is_some_and(|end| self.clock.now() > end);
        let by_mqtt = !matches!(self.settings.transport, Transport::Https(_)) && !is_expired;
        if by_mqtt && !self.is_connected_by_mqtt && self.renewal.waited < PATIENCE {
            self.renewal.waited += SOON;
            self.renewal.at = Some(Instant::now() + SOON);
            return;
        }
        self.renewal.waited = Duration::ZERO;
        if by_mqtt && self.is_connected_by_mqtt {
            if let Err(error) = self.ask_by_mqtt(&bundle) {
                self.renewal_failed(&with_causes(&error), error.hint());
            }
            return;
        }
        let (now, connector) = (self.clock.now(), self.settings.connector.clone());
        let time = self.clock.tls();
        let renewing = async move { identity::renew(&bundle, now, time, &connector).await };
        self.renewal.stage = Stage::Renewing(Box::pin(renewing));
    }

    fn ask_by_mqtt(&mut self, bundle: &Bundle) -> Result<(), IdentityError> {
        let device = self.settings.credentials.device_id().clone();
        let files = IdentityFiles::open(&bundle.directory)?;
        let mut pending = files.pending()?;
        if let Some(chain) = pending.chain_pem.take() {
            let anchor = bundle.require_trust_anchor()?;
            if identity::check(&device, &chain, pending.key.pem(), anchor, self.clock.now()).is_ok() {
                // An attempt before this one was interrupted when it had this already.
                return self.prove_by_mqtt(files, &pending, &chain);
            }
            pending = files.begin(identity::DeviceKey::generate()?)?;
        }
        let csr = identity::signing_request(&device, &pending.key)?;
        let body = json!({"device_id": device, "csr": csr}).to_string();
        let topic = DeviceTopic::command_signing_request(&device).to_string();
        self.renewal.outgoing = Some(Message::new(topic, body, QoS::AtLeastOnce));
        self.renewal.stage = Stage::Asked { files, pending: Box::new(pending) };
        self.renewal.at = Some(Instant::now() + PATIENCE);
        Ok(())
    }

    /// A message came on `commands/certificate`. One that nobody asked for is not looked at.
    pub(super) fn certificate_came(&mut self, payload: &[u8]) {
        let stage = std::mem::take(&mut self.renewal.stage);
        let Stage::Asked { files, pending } = stage else {
            self.renewal.stage = stage;
            return;
        };
        self.renewal.at = None;
        let proving = std::str::from_utf8(payload).map_err(|_| IdentityError::Answer);
        let proving = proving.and_then(|chain| self.prove_by_mqtt(files, &pending, chain));
        if let Err(error) = proving {
            self.renewal_failed(&with_causes(&error), error.hint());
        }
    }

    /// Keeps a certificate beside the old one, and connects anew with it.
    fn prove_by_mqtt(&mut self, files: IdentityFiles, pending: &Pending, chain: &str) -> Result<(), IdentityError> {
        let Some(mut bundle) = self.renewal.bundle.clone() else { return Err(IdentityError::Answer) };
        let (device, anchor) = (self.settings.credentials.device_id(), bundle.require_trust_anchor()?);
        identity::check(device, chain, pending.key.pem(), anchor, self.clock.now())?;
        files.keep_certificate(chain)?;
        if let Some(certificate) = &mut bundle.certificate {
            certificate.chain_pem = chain.to_owned();
            certificate.key_pem = Some(pending.key.pem().clone());
        }
        let choice = Choice::Only(Method::MutualTls);
        let credentials = Credentials::from_bundle(&bundle, choice, self.clock.now());
        let new = Worn { bundle, credentials: credentials.map_err(IdentityError::Unusable)? };
        let old = self.wear(new)?;
        self.renewal.stage = Stage::Proving { files, old: Box::new(old) };
        Ok(())
    }

    /// The broker let the device in.
    pub(super) fn renewal_connected(&mut self) {
        let stage = std::mem::take(&mut self.renewal.stage);
        let Stage::Proving { files, .. } = stage else {
            self.renewal.stage = stage;
            return;
        };
        match files.promote() {
            Ok(()) => self.renewed(),
            // What is worn is good; on disk the old one stays, which is good too.
            Err(error) => self.renewal_failed(&with_causes(&error), error.hint()),
        }
    }

    /// No connection came about. True when it was tried with a new certificate: the old one is worn again.
    pub(super) fn renewal_refused(&mut self, error: &SessionError) -> bool {
        let stage = std::mem::take(&mut self.renewal.stage);
        let Stage::Proving { files, old } = stage else {
            self.renewal.stage = stage;
            return false;
        };
        if error.fault() == Fault::Client {
            // It will not be good later either. A rest that cannot be removed is replaced by the next attempt.
            let _ = files.discard_pending();
        }
        drop(files);
        if self.wear(*old).is_err() {
            return false;
        }
        self.renewal_failed(&format!("the new certificate did not prove good: {error}"), error.hint());
        true
    }

    /// What was done over HTTPS has ended.
    pub(super) fn renewal_ended(&mut self, ended: Result<Renewed, IdentityError>) {
        self.renewal.stage = Stage::Idle;
        match ended {
            Ok(_) if self.wear_newer() => {}
            Ok(_) => self.renewal_failed("the new certificate is not on the disk", NO_ANSWER),
            Err(error) => self.renewal_failed(&with_causes(&error), error.hint()),
        }
    }

    /// Takes a certificate over that lies in the bundle and is another than the one that is worn.
    fn wear_newer(&mut self) -> bool {
        let is_newer = self.read_access_again();
        if is_newer {
            self.commands.reconnect = true;
            self.renewed();
        }
        is_newer
    }

    /// Whether the connection is made with a certificate that has yet to prove good.
    pub(super) fn is_proving(&self) -> bool {
        matches!(self.renewal.stage, Stage::Proving { .. })
    }

    /// There is another certificate in the bundle, and it is worn.
    pub(super) fn access_changed(&mut self) {
        let Some(bundle) = &mut self.renewal.bundle else { return };
        if let Ok(fresh) = Bundle::read_for(&bundle.directory, bundle.device_id.clone()) {
            bundle.certificate = fresh.certificate;
        }
        self.plan_renewal();
    }

    /// Logs in with these credentials from the next connection on, which is made now. Returns those before.
    fn wear(&mut self, new: Worn) -> Result<Worn, IdentityError> {
        let tls = new.credentials.tls_config(Versions::Both).map_err(IdentityError::Unusable)?;
        let time = self.clock.tls();
        let dress = |connector: &Connector| connector.with_tls(tls.clone()).with_time(time.clone());
        self.settings.connector = dress(&self.settings.connector);
        self.commands.dress(dress);
        if let Transport::Https(place) | Transport::Auto(place) = &mut self.settings.transport {
            place.connector = dress(&place.connector);
        }
        self.commands.reconnect = true;
        let credentials = std::mem::replace(&mut self.settings.credentials, new.credentials);
        let bundle = self.renewal.bundle.replace(new.bundle);
        Ok(Worn { bundle: bundle.unwrap_or_else(|| Bundle::new(credentials.device_id().clone())), credentials })
    }

    fn renewed(&mut self) {
        self.renewal.failures = 0;
        self.renewal.trouble = None;
        self.plan_renewal();
        if let Some(not_after) = self.settings.credentials.not_after() {
            self.emit(Event::Renewed { not_after });
        }
    }

    /// The broker did not take the request.
    pub(super) fn request_refused(&mut self, outcome: &Published) {
        let trouble = match outcome {
            Published::Refused(reason) => format!("the broker refused the request for a certificate: {reason:?}"),
            _ => "the request for a certificate is too large for the broker".to_owned(),
        };
        self.renewal_failed(&trouble, NO_ANSWER);
    }

    fn renewal_failed(&mut self, trouble: &str, hint: &'static str) {
        self.renewal.stage = Stage::Idle;
        self.renewal.outgoing = None;
        self.renewal.failures += 1;
        self.renewal.trouble = Some(trouble.to_owned());
        let end = self.settings.credentials.not_after().unwrap_or(Timestamp::MAX).as_second();
        let left = Duration::from_secs(u64::try_from(end - self.clock.now().as_second()).unwrap_or(0));
        let retry_in = schedule::retry(self.renewal.failures, left, self.random.bits());
        self.renewal.at = Some(Instant::now() + retry_in);
        self.emit(Event::RenewalFailed { what: trouble.to_owned(), hint, retry_in });
    }
}

const NO_ANSWER: &str = "ask the operator whether the platform signs requests; the certificate is good meanwhile";

/// The error and what caused it, in one line.
fn with_causes(error: &IdentityError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
