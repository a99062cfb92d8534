//! What was refused: named in the log once, counted always, and kept in the audit log.
//!
//! A misconfigured device tries again every few seconds for ever. The first time is news; the rest is a number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_broker::Peer;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::PayloadError;
use tesaiot_store::registry::{AuditEvent, Registry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The same incident is not named again for this long.
const QUIET: Duration = Duration::from_secs(600);
/// Incidents remembered; a flood of different ones is named as a flood.
const REMEMBERED: usize = 4096;
/// Audit records waiting to be written.
const QUEUED: usize = 4096;

#[derive(Debug, Default)]
struct Known {
    last_named: HashMap<(&'static str, String), Instant>,
}

/// Where refusals are reported. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Incidents {
    known: Arc<Mutex<Known>>,
    audit: mpsc::Sender<AuditEvent>,
}

impl Incidents {
    /// Incidents, and the task that writes them to the audit log until `stop`.
    pub(crate) fn new(registry: Registry, stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (audit, records) = mpsc::channel(QUEUED);
        (Self { known: Arc::default(), audit }, write_audit(registry, records, stop))
    }

    pub(crate) fn handshake_failed(&self, peer: &Peer, error: &tesaiot_tls::HandshakeError) {
        let cause = error.diagnosis.to_string();
        let subject = error.diagnosis.certificate().map_or_else(String::new, |summary| summary.subject.clone());
        if self.is_news("tls", format!("{} {subject} {cause}", peer.address.ip())) {
            tracing::warn!(peer = %peer.address, listener = %peer.listener, certificate = subject, "TLS handshake failed: {cause}");
            self.record(&peer.address.to_string(), "tls.handshake", &subject, &cause);
        }
    }

    pub(crate) fn authentication_refused(&self, client_id: &str, peer: &Peer, why: &str) {
        if self.is_news("authentication", format!("{client_id} {why}")) {
            tracing::warn!(client_id, peer = %peer.address, listener = %peer.listener, "login refused: {why}");
            self.record(&peer.address.to_string(), "device.login", client_id, why);
        }
    }

    /// Connections that ended before a session began, other than by authentication, which names itself.
    pub(crate) fn connection_refused(&self, peer: &Peer, client_id: Option<&str>, cause: &str) {
        if cause == "bad credentials" {
            return;
        }
        let client_id: String = client_id.unwrap_or_default().chars().take(64).filter(|c| !c.is_control()).collect();
        if self.is_news("connection", format!("{} {client_id} {cause}", peer.address.ip())) {
            tracing::warn!(peer = %peer.address, listener = %peer.listener, client_id, "connection refused: {cause}");
            self.record(&peer.address.to_string(), "mqtt.connect", &client_id, cause);
        }
    }

    pub(crate) fn topic_denied(&self, device: &DeviceId, action: &str, topic: &str) {
        let topic: String = topic.chars().take(200).filter(|c| !c.is_control()).collect();
        if self.is_news("topic", format!("{device} {action} {topic}")) {
            tracing::warn!(%device, action, topic, "topic denied");
            self.record(device.as_str(), &format!("topic.{action}"), &topic, "not a topic of this device");
        }
    }

    /// A device that spoke MQTT and then something else.
    pub(crate) fn protocol_broken(&self, device: &DeviceId, peer: &Peer, cause: &str) {
        if self.is_news("protocol", format!("{device} {cause}")) {
            tracing::warn!(%device, peer = %peer.address, listener = %peer.listener, "protocol broken: {cause}");
            self.record(&peer.address.to_string(), "mqtt.protocol", device.as_str(), cause);
        }
    }

    /// A payload that could not be understood. It is in the dead-letter store, where the rest of the story is.
    pub(crate) fn payload_refused(&self, device: &DeviceId, error: &PayloadError) {
        let code = error.code();
        if self.is_news("payload", format!("{device} {code}")) {
            tracing::warn!(%device, code, "payload kept as a dead letter");
            self.record(device.as_str(), "telemetry.refused", device.as_str(), code);
        }
    }

    /// A credential that nobody has.
    pub(crate) fn request_refused(&self, path: &str) {
        let path: String = path.chars().take(200).filter(|c| !c.is_control()).collect();
        if self.is_news("request", path.clone()) {
            tracing::warn!(path, "request with an unknown credential refused");
            self.record("https", "request", &path, "unknown credential");
        }
    }

    /// A password login that failed.
    pub(crate) fn login_refused(&self, email: &str) {
        let email: String = email.chars().take(100).filter(|c| !c.is_control()).collect();
        if self.is_news("login", email.clone()) {
            tracing::warn!(email, "login refused");
            self.record("https", "user.login", &email, "wrong email or password");
        }
    }

    /// An operator's deed.
    pub(crate) fn operator(&self, actor: &str, action: &str, subject: &str, outcome: &str) {
        tracing::info!(actor, action, subject, outcome, "operator");
        self.send(AuditEvent {
            actor: actor.into(),
            action: action.into(),
            subject: subject.into(),
            outcome: outcome.into(),
            detail: String::new(),
            at: Timestamp::now(),
        });
    }

    fn record(&self, actor: &str, action: &str, subject: &str, detail: &str) {
        self.send(AuditEvent {
            actor: actor.into(),
            action: action.into(),
            subject: subject.into(),
            outcome: "refused".into(),
            detail: detail.into(),
            at: Timestamp::now(),
        });
    }

    fn send(&self, event: AuditEvent) {
        if self.audit.try_send(event).is_err() {
            tracing::error!("the audit log is behind: a record was not written");
        }
    }

    fn is_news(&self, kind: &'static str, what: String) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.last_named.len() >= REMEMBERED {
            known.last_named.retain(|_, named| now.duration_since(*named) < QUIET);
            if known.last_named.len() >= REMEMBERED {
                tracing::warn!("more than {REMEMBERED} different refusals lately: they are counted, not named");
                known.last_named.clear();
            }
        }
        let last = known.last_named.insert((kind, what.clone()), now);
        let news = last.is_none_or(|last| now.duration_since(last) >= QUIET);
        if !news && let Some(last) = last {
            known.last_named.insert((kind, what), last);
        }
        news
    }
}

async fn write_audit(registry: Registry, mut records: mpsc::Receiver<AuditEvent>, stop: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            received = records.recv_many(&mut batch, 256) => if received == 0 { return },
            () = stop.cancelled() => {
                // What was reported before is still received; then the channel is empty, and this ends.
                records.close();
                continue;
            }
        }
        let registry = registry.clone();
        let events = std::mem::take(&mut batch);
        let written = tokio::task::spawn_blocking(move || registry.append_audit(&events)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}
