//! Applications at the broker: they read the topics they were granted, and do nothing else.
//!
//! An application logs in with its token as user name and as password, and with any client identifier. Its sessions have
//! names that no device's can be: whatever identifier it brings, it never takes over the session of a device or of another
//! application.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tesaiot_broker::{Action, Broker, Connecting, Refusal};
use tesaiot_contract::secret::KeyKind;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tesaiot_mqtt::topic;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{MqttToken, Registry, TokenId};

use crate::gate::{Doubt, Gate};

/// Longest client identifier of an application, in bytes.
const MAX_CLIENT_ID: usize = 128;
/// Sessions looked at in one go.
const PAGE: usize = 1000;

/// An authenticated application, on one connection.
#[derive(Debug)]
pub(crate) struct Application {
    /// The name of its session.
    session: Box<str>,
    topics: Box<[Box<str>]>,
    _place: Place,
}

/// Connections of each token. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Applications {
    connections: Arc<Mutex<HashMap<TokenId, usize>>>,
    max_connections: usize,
}

/// The right to one connection, until dropped.
#[derive(Debug)]
struct Place {
    of: Applications,
    token: TokenId,
}

impl Applications {
    /// `max_connections`: of one token at a time.
    pub(crate) fn new(max_connections: usize) -> Self {
        Self { connections: Arc::default(), max_connections }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, token: TokenId) -> Option<Place> {
        let mut connections = self.lock();
        let count = connections.entry(token).or_default();
        if *count >= self.max_connections {
            return None;
        }
        *count += 1;
        Some(Place { of: self.clone(), token })
    }

    /// Decides; why not is for the log.
    pub(crate) async fn authenticate(
        &self,
        registry: &Registry,
        connecting: &Connecting<'_>,
    ) -> Result<Application, Doubt> {
        const BAD: Refusal = Refusal::BadCredentials;
        let password = connecting.password.and_then(|password| std::str::from_utf8(password).ok());
        let Some(password) = password.filter(|password| connecting.username == Some(password)) else {
            return Err(("an application's user name is its token too", BAD));
        };
        if connecting.client_id.len() > MAX_CLIENT_ID || connecting.client_id.chars().any(char::is_control) {
            return Err(("the client id of an application is too long", Refusal::InvalidClientId));
        }
        let (registry, asked) = (registry.clone(), zeroize::Zeroizing::new(password.to_owned()));
        let found = tokio::task::spawn_blocking(move || registry.verify_mqtt_token(&asked)).await;
        let MqttToken { id, topics, .. } = match found {
            Ok(Ok(Some(token))) => token,
            Ok(Ok(None)) => return Err(("no such application, or its token was taken back", BAD)),
            Ok(Err(_)) | Err(_) => return Err(("the registry failed", Refusal::Unavailable)),
        };
        let place = self.place(id).ok_or(("an application with too many connections", Refusal::QuotaExceeded))?;
        let session = format!("{}{}", sessions_of(id), connecting.client_id).into();
        Ok(Application { session, topics: topics.into_iter().map(Into::into).collect(), _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.of.lock();
        if let Some(count) = connections.get_mut(&self.token) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.token);
            }
        }
    }
}

impl Application {
    /// Whether this is how an application connects: by a token of its kind, and no certificate.
    pub(crate) fn is_claimed(connecting: &Connecting<'_>) -> bool {
        let password = connecting.password.and_then(|password| std::str::from_utf8(password).ok());
        connecting.peer.certificates.is_empty()
            && password.is_some_and(|password| KeyKind::of(password) == Some(KeyKind::Mqtt))
    }

    /// A filter is within the grant when every topic it matches is.
    pub(crate) fn may(&self, action: Action, filter: &str) -> bool {
        let filter = topic::split_share(filter).map_or(filter, |(_, inner)| inner);
        action == Action::Subscribe && self.topics.iter().any(|granted| topic::covers(granted, filter))
    }

    /// The name of its session, for the broker and the log.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }
}

/// What the names of all sessions of a token begin with. A device's id has no colon.
fn sessions_of(token: TokenId) -> String {
    format!("application:{}:", token.0)
}

/// Takes a token back: nobody logs in with it from now on, and whoever did is disconnected before this returns. Blocks.
///
/// # Errors
/// The registry does not know it, or failed; nothing is changed then.
pub(crate) fn revoke(registry: &Registry, broker: &Broker<Gate>, token: TokenId) -> Result<(), StoreError> {
    registry.revoke_mqtt_token(token, jiff::Timestamp::now())?;
    let prefix = sessions_of(token);
    // Whoever was authenticated and has no session yet is looked at again: an eviction, of anybody, asks for that.
    broker.disconnect(&prefix, DisconnectReasonCode::NotAuthorized);
    let mut after = prefix.clone();
    loop {
        let page = broker.sessions(&after, PAGE, false);
        let own = page.iter().take_while(|session| session.client_id.starts_with(&prefix));
        let own: Vec<_> = own.map(|session| session.client_id.clone()).collect();
        for name in &own {
            broker.disconnect(name, DisconnectReasonCode::NotAuthorized);
        }
        match own.last() {
            Some(last) if own.len() == PAGE => after = last.to_string(),
            _ => return Ok(()),
        }
    }
}
