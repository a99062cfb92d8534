//! All sessions, and who holds them: take-over, expiry, eviction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tesaiot_mqtt::inbound::Inbound;
use tesaiot_mqtt::outbound::Outbound;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::config::Config;
use crate::host::Host;
use crate::router::Router;
use crate::session::{Session, SessionState};
use crate::{Shared, counters};

/// How often sessions past their expiry are looked for.
const SWEEP: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    /// When the session ends if nobody connects; `None` while a connection holds it.
    expires_at: Option<Instant>,
    /// Discard the session when its connection ends, whatever its expiry.
    evicted: bool,
}

/// The sessions of a broker, by client identifier.
#[derive(Debug)]
pub(crate) struct Sessions {
    entries: Mutex<HashMap<Arc<str>, Entry>>,
    config: Config,
}

/// A session in the hands of one connection.
pub(crate) struct Attached {
    pub(crate) session: Arc<Session>,
    pub(crate) state: OwnedMutexGuard<SessionState>,
    pub(crate) generation: u64,
    /// Whether state of an earlier connection was resumed.
    pub(crate) present: bool,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        Self { entries: Mutex::default(), config: config.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session of `client_id`, from a live connection if there is one: that one closes, finishes what
    /// it holds, and lets go. `None` when a newer connection was faster, or the old one does not end in time.
    pub(crate) async fn attach(
        &self,
        client_id: &str,
        clean_start: bool,
        router: &Router,
        taken_over: &AtomicU64,
    ) -> Option<Attached> {
        let (session, generation, expired) = {
            let mut entries = self.lock();
            let client_id: Arc<str> = client_id.into();
            let entry = entries.entry(Arc::clone(&client_id)).or_insert_with(|| Entry {
                session: Arc::new(Session::new(client_id, &self.config)),
                expires_at: None,
                evicted: false,
            });
            let expired = entry.expires_at.is_some_and(|at| at <= Instant::now());
            entry.expires_at = None;
            entry.evicted = false;
            // Under the lock, so that a connection that ends now sees that somebody waits.
            let generation = entry.session.generation.fetch_add(1, Ordering::SeqCst) + 1;
            (Arc::clone(&entry.session), generation, expired)
        };
        session.mailbox.close(DisconnectReasonCode::SessionTakenOver);
        let waited = session.state.try_lock().is_err();
        let locked = tokio::time::timeout(self.config.acknowledge_timeout, Arc::clone(&session.state).lock_owned());
        let Ok(mut state) = locked.await else {
            // The one before does not let go: the sweeper clears up after it, unless somebody else comes first.
            let mut entries = self.lock();
            if session.generation.load(Ordering::SeqCst) == generation
                && let Some(entry) = entries.get_mut(client_id)
            {
                entry.expires_at = Some(Instant::now());
            }
            return None;
        };
        if waited {
            counters::increment(taken_over);
        }
        // Whoever is newer raised the generation first and gave the order to close second: either it is seen
        // here, or its order comes after this line and stands.
        session.mailbox.set_connected(true);
        if session.generation.load(Ordering::SeqCst) != generation {
            return None;
        }
        let present = state.resumable && !clean_start && !expired;
        if present {
            let inbound = std::mem::replace(&mut state.inbound, Inbound::new(1));
            state.inbound = inbound.into_resumed(self.config.receive_maximum);
        } else {
            reset(&session, &mut state, router, &self.config);
        }
        Some(Attached { session, state, generation, present })
    }

    /// A connection lets go of its session, which lives on for its expiry, or ends.
    pub(crate) fn detach(
        &self,
        session: &Arc<Session>,
        mut state: OwnedMutexGuard<SessionState>,
        generation: u64,
        router: &Router,
    ) {
        session.mailbox.set_connected(false);
        let mut entries = self.lock();
        let offline =
            entries.values().filter(|entry| entry.expires_at.is_some()).take(self.config.max_offline_sessions);
        let room = state.expiry.is_zero() || offline.count() < self.config.max_offline_sessions;
        let evicted = entries.get(&session.client_id).is_some_and(|entry| entry.evicted);
        let keep = !state.expiry.is_zero() && room && !evicted;
        state.resumable = keep;
        if !keep {
            reset(session, &mut state, router, &self.config);
        }
        if session.generation.load(Ordering::SeqCst) == generation {
            if keep {
                if let Some(entry) = entries.get_mut(&session.client_id) {
                    entry.expires_at = Some(Instant::now() + state.expiry);
                }
            } else {
                entries.remove(&session.client_id);
            }
        }
    }

    /// Closes the live connection, if any, and discards the session.
    pub(crate) fn evict(&self, client_id: &str, reason: DisconnectReasonCode) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(client_id) else { return false };
        entry.evicted = true;
        if entry.expires_at.is_some() {
            // Offline: the sweeper takes it, subscriptions and all.
            entry.expires_at = Some(Instant::now());
            return false;
        }
        entry.session.mailbox.close(reason);
        true
    }

    pub(crate) fn is_connected(&self, client_id: &str) -> bool {
        self.lock().get(client_id).is_some_and(|entry| entry.expires_at.is_none())
    }

    pub(crate) fn close_all(&self, reason: DisconnectReasonCode) {
        for entry in self.lock().values().filter(|entry| entry.expires_at.is_none()) {
            entry.session.mailbox.close(reason);
        }
    }

    fn sweep(&self, router: &Router) {
        let now = Instant::now();
        let mut entries = self.lock();
        let expired: Vec<_> = entries
            .values()
            .filter(|entry| entry.expires_at.is_some_and(|at| at <= now))
            .map(|entry| Arc::clone(&entry.session))
            .collect();
        for session in expired {
            // Nobody holds the state of an offline session, and nobody can attach while the map is locked.
            if let Ok(mut state) = session.state.try_lock() {
                reset(&session, &mut state, router, &self.config);
                entries.remove(&session.client_id);
            }
        }
    }
}

/// Forgets everything: what a clean start asks for, and what remains of a session that ended.
fn reset(session: &Arc<Session>, state: &mut SessionState, router: &Router, config: &Config) {
    for filter in state.subscriptions.keys() {
        router.unsubscribe(filter, &session.client_id);
    }
    session.mailbox.clear_deliveries();
    let inbound = std::mem::replace(&mut state.inbound, Inbound::new(1));
    *state = SessionState {
        inbound: inbound.into_fresh(config.receive_maximum),
        outbound: Outbound::new(config.max_in_flight),
        subscriptions: HashMap::new(),
        expiry: Duration::ZERO,
        resumable: false,
    };
}

/// Ends sessions past their expiry, until the broker drains.
pub(crate) async fn expire_periodically<H: Host>(shared: &Shared<H>) {
    loop {
        tokio::select! {
            () = shared.draining.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => shared.sessions.sweep(&shared.router),
        }
    }
}
