//! What was refused: named in the log once, counted always, and kept in the audit log.
//!
//! A misconfigured device tries again every few seconds for ever. The first time is news; the rest is a number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
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
/// Different incidents of one kind and source that are named in that time. Their texts may be an attacker's own words:
/// beyond this they are a number.
const NAMED_PER_SOURCE: usize = 20;
/// Kinds and sources remembered in that time; beyond it nothing is named until it is over.
const SOURCES: usize = 4096;
/// Refusals waiting to be written to the audit log, and operators' deeds.
const QUEUED: (usize, usize) = (1024, 256);

/// What is known in the current window of [`QUIET`].
#[derive(Debug)]
struct Known {
    since: Instant,
    /// By kind and source, the hashes of what was named.
    named: HashMap<(&'static str, String), HashSet<u64>>,
    flooded: bool,
    /// By kind, everything, named or not, since the start.
    counted: BTreeMap<&'static str, u64>,
}

/// Whether an incident is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// For the first time in this window.
    First,
    /// The last one of its source: what follows is counted only.
    LastOfMany,
    /// Known, or too many.
    Old,
}

/// Where refusals are reported. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Incidents {
    known: Arc<Mutex<Known>>,
    refusals: mpsc::Sender<AuditEvent>,
    /// Apart from refusals, so that a flood of these cannot push out what operators did.
    deeds: mpsc::Sender<AuditEvent>,
}

impl Incidents {
    /// Incidents, and the task that writes them to the audit log until `stop`.
    pub(crate) fn new(registry: Registry, stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (refusals, refused) = mpsc::channel(QUEUED.0);
        let (deeds, done) = mpsc::channel(QUEUED.1);
        let known = Known { since: Instant::now(), named: HashMap::new(), flooded: false, counted: BTreeMap::new() };
        (Self { known: Arc::new(Mutex::new(known)), refusals, deeds }, write_audit(registry, refused, done, stop))
    }

    pub(crate) fn handshake_failed(&self, peer: &Peer, error: &tesaiot_tls::HandshakeError) {
        let cause = error.diagnosis.to_string();
        let subject = error.diagnosis.certificate().map_or_else(String::new, |summary| summary.subject.clone());
        if self.is_news("tls", &peer.address.ip().to_string(), &format!("{subject} {cause}")) {
            tracing::warn!(peer = %peer.address, listener = %peer.listener, certificate = subject, "TLS handshake failed: {cause}");
            self.record(&peer.address.to_string(), "tls.handshake", &subject, &cause);
        }
    }

    pub(crate) fn authentication_refused(&self, client_id: &str, peer: &Peer, why: &str) {
        if self.is_news("authentication", &peer.address.ip().to_string(), &format!("{client_id} {why}")) {
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
        if self.is_news("connection", &peer.address.ip().to_string(), &format!("{client_id} {cause}")) {
            tracing::warn!(peer = %peer.address, listener = %peer.listener, client_id, "connection refused: {cause}");
            self.record(&peer.address.to_string(), "mqtt.connect", &client_id, cause);
        }
    }

    pub(crate) fn topic_denied(&self, client: &str, action: &str, topic: &str) {
        let topic: String = topic.chars().take(200).filter(|c| !c.is_control()).collect();
        if self.is_news("topic", client, &format!("{action} {topic}")) {
            tracing::warn!(client, action, topic, "topic denied");
            self.record(client, &format!("topic.{action}"), &topic, "not a topic of this device");
        }
    }

    /// A message that was to be retained, and there was no room.
    pub(crate) fn not_retained(&self, client: &str, topic: &str) {
        if self.is_news("retained", client, "full") {
            tracing::warn!(client, topic, "no room for another retained message of this client: stored, not retained");
            self.record(client, "topic.retain", topic, "as many retained messages as there may be");
        }
    }

    /// A client that spoke MQTT and then something else.
    pub(crate) fn protocol_broken(&self, client: &str, peer: &Peer, cause: &str) {
        if self.is_news("protocol", client, cause) {
            tracing::warn!(client, peer = %peer.address, listener = %peer.listener, "protocol broken: {cause}");
            self.record(&peer.address.to_string(), "mqtt.protocol", client, cause);
        }
    }

    /// A payload that could not be understood. It is in the dead-letter store, where the rest of the story is.
    pub(crate) fn payload_refused(&self, device: &DeviceId, error: &PayloadError) {
        let code = error.code();
        if self.is_news("payload", device.as_str(), code) {
            tracing::warn!(%device, code, "payload kept as a dead letter");
            self.record(device.as_str(), "telemetry.refused", device.as_str(), code);
        }
    }

    /// A packet too large to be read: counted. Says whether one of this size is news of this device; what it broke is
    /// named by [`Incidents::protocol_broken`].
    pub(crate) fn packet_refused(&self, device: &DeviceId, size: u64) -> bool {
        self.is_news("packet", device.as_str(), &size.to_string())
    }

    /// A credential that nobody has.
    pub(crate) fn request_refused(&self, path: &str) {
        let path: String = path.chars().take(200).filter(|c| !c.is_control()).collect();
        if self.is_news("request", "https", &path) {
            tracing::warn!(path, "request with an unknown credential refused");
            self.record("https", "request", &path, "unknown credential");
        }
    }

    /// A password login that failed.
    pub(crate) fn login_refused(&self, email: &str) {
        let email: String = email.chars().take(100).filter(|c| !c.is_control()).collect();
        if self.is_news("login", "https", &email) {
            tracing::warn!(email, "login refused");
            self.record("https", "user.login", &email, "wrong email or password");
        }
    }

    /// An operator's deed. Waits for its place in the audit log: it is not dropped.
    pub(crate) async fn operator(&self, actor: &str, action: &str, subject: &str, outcome: &str) {
        tracing::info!(actor, action, subject, outcome, "operator");
        let event = AuditEvent {
            actor: actor.into(),
            action: action.into(),
            subject: subject.into(),
            outcome: outcome.into(),
            detail: String::new(),
            at: Timestamp::now(),
        };
        if self.deeds.send(event).await.is_err() {
            tracing::error!(actor, action, subject, "the audit log is closed: a record was not written");
        }
    }

    /// What a device, or something in its name, brought about. As [`Incidents::operator`]: it is not dropped.
    pub(crate) async fn deed(&self, actor: &str, action: &str, subject: &str, detail: &str) {
        tracing::info!(actor, action, subject, detail, "done");
        let event = AuditEvent {
            actor: actor.into(),
            action: action.into(),
            subject: subject.into(),
            outcome: "allowed".into(),
            detail: detail.into(),
            at: Timestamp::now(),
        };
        if self.deeds.send(event).await.is_err() {
            tracing::error!(actor, action, subject, "the audit log is closed: a record was not written");
        }
    }

    /// A certificate that was not given. `source` asked: the device, or for whoever is not known to be it, the address.
    pub(crate) fn request_for_certificate_refused(&self, source: &str, device: &DeviceId, code: &str) {
        if self.is_news("certificate", source, &format!("{device} {code}")) {
            tracing::warn!(%device, code, "request for a certificate refused");
            self.record(device.as_str(), "certificate.sign", device.as_str(), code);
        }
    }

    /// How many there were of each kind, since the start.
    pub(crate) fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).counted.clone()
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
        if self.refusals.try_send(event).is_err() {
            tracing::debug!("the audit log is behind: a refusal was counted and not written");
        }
    }

    /// Counts an incident, and says whether it is to be named. `source` is what an attacker cannot choose freely: an
    /// address, or a device that was authenticated.
    fn is_news(&self, kind: &'static str, source: &str, what: &str) -> bool {
        let news = self.known.lock().unwrap_or_else(PoisonError::into_inner).look(kind, source, what);
        if news == News::LastOfMany {
            tracing::warn!(kind, source, "many different refusals: further ones are counted, not named");
            self.record(source, "refusals.many", kind, "further ones are counted, not named");
        }
        news == News::First
    }
}

impl Known {
    fn look(&mut self, kind: &'static str, source: &str, what: &str) -> News {
        *self.counted.entry(kind).or_default() += 1;
        if self.since.elapsed() >= QUIET {
            self.since = Instant::now();
            self.named = HashMap::new();
            self.flooded = false;
        }
        if self.named.len() >= SOURCES && !self.named.contains_key(&(kind, source.to_owned())) {
            if !self.flooded {
                self.flooded = true;
                tracing::warn!("refusals from more than {SOURCES} sources: further ones are counted, not named");
            }
            return News::Old;
        }
        let named = self.named.entry((kind, source.to_owned())).or_default();
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        match named.len() {
            _ if named.contains(&hasher.finish()) => News::Old,
            count if count > NAMED_PER_SOURCE => News::Old,
            count => {
                named.insert(hasher.finish());
                if count == NAMED_PER_SOURCE { News::LastOfMany } else { News::First }
            }
        }
    }
}

async fn write_audit(
    registry: Registry,
    mut refused: mpsc::Receiver<AuditEvent>,
    mut done: mpsc::Receiver<AuditEvent>,
    stop: CancellationToken,
) {
    let (mut batch, mut refusals) = (Vec::new(), Vec::new());
    let mut open = true;
    while open {
        tokio::select! {
            biased;
            received = done.recv_many(&mut batch, 256) => open = received > 0,
            received = refused.recv_many(&mut refusals, 256) => open = received > 0,
            () = stop.cancelled() => {
                // What was reported before is still written.
                while let Ok(event) = done.try_recv() {
                    batch.push(event);
                }
                while let Ok(event) = refused.try_recv() {
                    batch.push(event);
                }
                open = false;
            }
        }
        batch.append(&mut refusals);
        let registry = registry.clone();
        let events = std::mem::take(&mut batch);
        let written = tokio::task::spawn_blocking(move || registry.append_audit(&events)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known { since: Instant::now(), named: HashMap::new(), flooded: false, counted: BTreeMap::new() }
    }

    #[test]
    fn a_flood_of_one_source_is_named_a_few_times_and_counted() {
        let mut known = known();
        let news: Vec<_> = (0..20_000).map(|n| known.look("request", "https", &format!("/path/{n}"))).collect();
        assert_eq!(news.iter().filter(|news| **news == News::First).count(), NAMED_PER_SOURCE);
        assert_eq!(news.iter().filter(|news| **news == News::LastOfMany).count(), 1);
        assert_eq!(known.counted["request"], 20_000);
        assert_eq!(known.look("topic", "pump-7", "publish x"), News::First, "another source is not silenced");
        assert_eq!(known.look("topic", "pump-7", "publish x"), News::Old);
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory() {
        let mut known = known();
        for n in 0..3 * SOURCES {
            known.look("connection", &n.to_string(), "garbage");
        }
        assert_eq!(known.named.len(), SOURCES);
        assert_eq!(known.counted["connection"], 3 * SOURCES as u64);
    }
}
