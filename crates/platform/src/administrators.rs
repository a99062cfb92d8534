//! Administrators at the broker: they read `$SYS/…`, and nothing else.
//!
//! An administrator logs in with a token of the role admin as the password. Its client identifier is one the broker
//! gives, or begins with `operator:`, which no device's can: an administrator never takes over a device's session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tesaiot_broker::{Action, Broker, Connecting, Refusal};
use tesaiot_contract::Secret;
use tesaiot_contract::secret::KeyKind;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tesaiot_mqtt::{Message, QoS};
use tesaiot_store::registry::{Registry, Role};
use tesaiot_store::{StoreError, Telemetry};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::ingest::Ingest;

/// What the client identifier of an administrator begins with.
const PREFIX: &str = "operator:";
/// What an administrator may read.
const TOPICS: &str = "$SYS/";

/// An authenticated administrator.
#[derive(Debug)]
pub(crate) struct Administrator {
    client_id: Arc<str>,
    /// Looked at again and again: a token that is taken back closes its connections.
    token: Secret,
}

/// Those that are connected. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Administrators {
    connected: Arc<Mutex<HashMap<Arc<str>, Secret>>>,
}

impl Administrator {
    /// Whether this is how an administrator connects: by a token of the platform's own kind, and no certificate.
    pub(crate) fn is_claimed(connecting: &Connecting<'_>) -> bool {
        let password = connecting.password.and_then(|password| std::str::from_utf8(password).ok());
        connecting.peer.certificates.is_empty()
            && password.is_some_and(|password| KeyKind::of(password) == Some(KeyKind::Rest))
    }

    /// Decides; why not is for the log.
    pub(crate) async fn authenticate(
        registry: &Registry,
        connecting: &Connecting<'_>,
    ) -> Result<Self, (&'static str, Refusal)> {
        if !connecting.assigned && !connecting.client_id.starts_with(PREFIX) {
            return Err(("an administrator's client id begins with operator:", Refusal::InvalidClientId));
        }
        let password = connecting.password.and_then(|password| std::str::from_utf8(password).ok());
        let token = Secret::new(password.unwrap_or_default());
        let (registry, asked) = (registry.clone(), token.clone());
        match tokio::task::spawn_blocking(move || is_administrator(&registry, &asked)).await {
            Ok(Ok(true)) => Ok(Self { client_id: connecting.client_id.into(), token }),
            Ok(Ok(false)) => Err(("not the token of an administrator", Refusal::BadCredentials)),
            Ok(Err(_)) | Err(_) => Err(("the registry failed", Refusal::Unavailable)),
        }
    }

    pub(crate) fn may(&self, action: Action, topic: &str) -> bool {
        action == Action::Subscribe && topic.starts_with(TOPICS)
    }

    /// For the log.
    pub(crate) fn name(&self) -> &str {
        &self.client_id
    }
}

fn is_administrator(registry: &Registry, token: &Secret) -> Result<bool, StoreError> {
    Ok(registry.verify_token(token.expose())?.is_some_and(|token| token.role == Role::Admin))
}

impl Administrators {
    pub(crate) fn connected(&self, administrator: &Administrator) {
        self.lock().insert(Arc::clone(&administrator.client_id), administrator.token.clone());
    }

    pub(crate) fn disconnected(&self, administrator: &Administrator) {
        self.lock().remove(&administrator.client_id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Secret>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections of those whose token is no longer that of an administrator. Returns whether any is left.
    async fn check(&self, registry: &Registry, broker: &Broker<Gate>) -> bool {
        let connected: Vec<(Arc<str>, Secret)> =
            self.lock().iter().map(|(client_id, token)| (Arc::clone(client_id), token.clone())).collect();
        let mut left = 0;
        for (client_id, token) in connected {
            let registry = registry.clone();
            let checked = tokio::task::spawn_blocking(move || is_administrator(&registry, &token)).await;
            // What cannot be looked up is not believed.
            if matches!(checked, Ok(Ok(true))) {
                left += 1;
            } else {
                tracing::warn!(client_id = &*client_id, "an administrator's token is not valid any more");
                broker.disconnect(&client_id, DisconnectReasonCode::NotAuthorized);
            }
        }
        left > 0
    }
}

/// What is told, and where it is known.
pub(crate) struct Told {
    pub(crate) broker: Broker<Gate>,
    pub(crate) administrators: Administrators,
    pub(crate) registry: Registry,
    pub(crate) ingest: Ingest,
    pub(crate) telemetry: Telemetry,
    pub(crate) started: Instant,
}

impl Told {
    /// Publishes `$SYS/broker/…` now and then, while somebody is there to read it, until `stop`.
    ///
    /// Nothing of it is retained: what is retained is kept on disk, and this is old after a moment.
    pub(crate) async fn tell_until(self, period: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            if self.administrators.check(&self.registry, &self.broker).await {
                for (topic, value) in self.topics() {
                    let topic = format!("$SYS/broker/{topic}");
                    self.broker.publish(&Message::new(topic, value.into_bytes(), QoS::AtMostOnce));
                }
            }
        }
    }

    /// Named as mosquitto names them, where it has them.
    fn topics(&self) -> Vec<(&'static str, String)> {
        let counters = self.broker.counters();
        let stored = self.telemetry.counts();
        let numbers = [
            ("clients/connected", counters.connections),
            ("publish/messages/received", counters.messages_received),
            ("publish/messages/sent", counters.messages_sent),
            ("publish/messages/dropped", counters.messages_dropped),
            ("publish/bytes/received", counters.bytes_received),
            ("publish/bytes/sent", counters.bytes_sent),
            ("publish/messages/acknowledged", counters.messages_acknowledged),
            ("acknowledgements/pending", self.ingest.pending()),
            ("store/values", stored.values),
            ("store/messages", stored.messages),
            ("store/dead-letters", stored.dead_letters),
        ];
        let mut topics: Vec<_> = numbers.into_iter().map(|(topic, number)| (topic, number.to_string())).collect();
        topics.push(("version", concat!("tesaiot ", env!("CARGO_PKG_VERSION")).to_owned()));
        topics.push(("uptime", format!("{} seconds", self.started.elapsed().as_secs())));
        topics
    }
}
