//! All sessions, and who holds them: take-over, expiry, eviction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tesaiot_mqtt::QoS;
use tesaiot_mqtt::inbound::Inbound;
use tesaiot_mqtt::outbound::Outbound;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::Shared;
use crate::config::Config;
use crate::counters::{Counters, increment};
use crate::delivery::Delivery;
use crate::fan_out::hand_on;
use crate::host::Host;
use crate::router::Router;
use crate::session::{Session, SessionState};
use crate::storage::Ledger;

/// How often sessions past their expiry are looked for.
const SWEEP: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    /// When the session ends if nobody connects; `None` while a connection holds it or waits for it.
    expires_at: Option<Instant>,
    /// Connections that wait for the one before to let go. The last in line gets the session; whoever lets go while
    /// somebody waits leaves the session's fate to him.
    waiting: usize,
    /// Discard the session when its connection ends, whatever its expiry.
    evicted: bool,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Arc<str>, Entry>,
    /// Entries with an expiry: sessions without a connection.
    offline: usize,
}

impl Table {
    /// Nobody holds the session any more: it lives on until `at`, or ends.
    fn release(&mut self, client_id: &str, at: Option<Instant>) {
        if let Some(at) = at {
            if let Some(entry) = self.entries.get_mut(client_id)
                && entry.expires_at.replace(at).is_none()
            {
                self.offline += 1;
            }
        } else if let Some(entry) = self.entries.remove(client_id)
            && entry.expires_at.is_some()
        {
            self.offline -= 1;
        }
    }
}

/// The sessions of a broker, by client identifier.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    evictions: AtomicU64,
    config: Config,
}

/// What the end of a session touches beyond the session.
#[derive(Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) router: &'a Router,
    pub(crate) counters: &'a Counters,
    pub(crate) ledger: &'a Ledger,
}

/// A session in the hands of one connection.
pub(crate) struct Attached {
    pub(crate) session: Arc<Session>,
    pub(crate) state: OwnedMutexGuard<SessionState>,
    /// Whether state of an earlier connection was resumed.
    pub(crate) present: bool,
    /// What must be durable before the client hears that it is not.
    pub(crate) position: u64,
}

/// A place in the line for a session. Dropped, it is given up: nobody may wait for one who no longer does.
struct InLine<'a> {
    sessions: &'a Sessions,
    session: &'a Session,
    left: bool,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.sessions.give_up(self.session);
        }
    }
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        Self { table: Mutex::default(), evictions: AtomicU64::new(0), config: config.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evictions so far. A client that was authenticated before the last one may be the one it was meant for.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::SeqCst)
    }

    /// Takes the session of `client_id`, from a live connection if there is one: that one closes, finishes what
    /// it holds, and lets go. `None` when a newer connection waits too, or the old one does not end in time.
    pub(crate) async fn attach(&self, client_id: &str, clean_start: bool, shared: &Common<'_>) -> Option<Attached> {
        let (session, expired) = {
            let mut table = self.lock();
            let table = &mut *table;
            let client_id: Arc<str> = client_id.into();
            let entry = table.entries.entry(Arc::clone(&client_id)).or_insert_with(|| Entry {
                session: Arc::new(Session::new(client_id, &self.config)),
                expires_at: None,
                waiting: 0,
                evicted: false,
            });
            entry.waiting += 1;
            let expires_at = entry.expires_at.take();
            if expires_at.is_some() {
                table.offline -= 1;
            }
            (Arc::clone(&entry.session), expires_at.is_some_and(|at| at <= Instant::now()))
        };
        let mut in_line = InLine { sessions: self, session: &session, left: false };
        session.mailbox.close(DisconnectReasonCode::SessionTakenOver);
        let waited = session.state.try_lock().is_err();
        let locked = tokio::time::timeout(self.config.acknowledge_timeout, Arc::clone(&session.state).lock_owned());
        let mut state = locked.await.ok()?;
        {
            let mut table = self.lock();
            in_line.left = true;
            if let Some(entry) = table.entries.get_mut(client_id) {
                entry.waiting -= 1;
                entry.evicted = false;
                if entry.waiting > 0 {
                    // Before the table is unlocked: who waits finds the session free, or is given it.
                    drop(state);
                    return None;
                }
            }
            // Under the lock: an order to close that comes from now on is meant for this connection, and stands.
            session.mailbox.set_connected(true);
        }
        drop(in_line);
        if waited {
            increment(&shared.counters.taken_over);
        }
        let present = state.resumable && !clean_start && !expired;
        let position = if present {
            let inbound = std::mem::replace(&mut state.inbound, Inbound::new(1));
            state.inbound = inbound.into_resumed(self.config.receive_maximum);
            0
        } else {
            reset(&session, &mut state, &self.config, shared)
        };
        Some(Attached { session, state, present, position })
    }

    /// The connection before did not let go in time, or the wait was abandoned. The session stays with it, and its fate too, unless it has let
    /// go this very moment and nobody else waits.
    fn give_up(&self, session: &Session) {
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&session.client_id) else { return };
        entry.waiting -= 1;
        if entry.waiting == 0
            && let Ok(state) = session.state.try_lock()
        {
            table.release(&session.client_id, state.resumable.then(|| Instant::now() + state.expiry));
        }
    }

    /// A connection lets go of its session, which lives on for its expiry, or ends.
    pub(crate) fn detach(&self, session: &Arc<Session>, mut state: OwnedMutexGuard<SessionState>, shared: &Common<'_>) {
        session.mailbox.set_connected(false);
        session.set_connection(None);
        let mut table = self.lock();
        let (evicted, waited_for) =
            table.entries.get(&session.client_id).map_or((true, false), |entry| (entry.evicted, entry.waiting > 0));
        let room = waited_for || table.offline < self.config.max_offline_sessions;
        let keep = !state.expiry.is_zero() && room && !evicted;
        state.resumable = keep;
        if keep && !waited_for {
            lend(session, &mut state, shared);
        }
        if !keep {
            reset(session, &mut state, &self.config, shared);
        } else if session.is_durable() {
            shared.ledger.batch().session(&session.client_id, &state.record(Some(SystemTime::now())));
        }
        if !waited_for {
            table.release(&session.client_id, keep.then(|| Instant::now() + state.expiry));
        }
        // Before the table is unlocked: whoever gives up waiting now must see that nobody holds the session.
        drop(state);
    }

    /// A session of an earlier process, which lives on until `expires_at` if nobody connects.
    pub(crate) fn restore(&self, session: &Arc<Session>, expires_at: Instant) {
        let mut table = self.lock();
        let entry = Entry { session: Arc::clone(session), expires_at: None, waiting: 0, evicted: false };
        table.entries.insert(Arc::clone(&session.client_id), entry);
        table.release(&session.client_id, Some(expires_at));
    }

    /// Closes the live connection, if any, and discards the session.
    pub(crate) fn evict(&self, client_id: &str, reason: DisconnectReasonCode) -> bool {
        self.evictions.fetch_add(1, Ordering::SeqCst);
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(client_id) else { return false };
        entry.evicted = true;
        if let Some(expires_at) = &mut entry.expires_at {
            // Offline: the sweeper takes it, subscriptions and all.
            *expires_at = Instant::now();
            return false;
        }
        entry.session.mailbox.close(reason);
        true
    }

    pub(crate) fn is_connected(&self, client_id: &str) -> bool {
        self.lock().entries.get(client_id).is_some_and(|entry| entry.expires_at.is_none())
    }

    /// Whether a client has a session, connected or not.
    pub(crate) fn exists(&self, client_id: &str) -> bool {
        self.lock().entries.get(client_id).is_some_and(|entry| !entry.evicted)
    }

    /// The sessions behind `after`, in the order of client identifiers, at most `limit`; and when those end that nobody
    /// is connected to.
    pub(crate) fn list(&self, after: &str, limit: usize, only_connected: bool) -> Vec<(Arc<Session>, Option<Instant>)> {
        let mut found: Vec<_> = {
            let table = self.lock();
            let wanted = |entry: &&Entry| !only_connected || entry.expires_at.is_none();
            let behind = table.entries.values().filter(|entry| &*entry.session.client_id > after).filter(wanted);
            behind.map(|entry| (Arc::clone(&entry.session), entry.expires_at)).collect()
        };
        let by_name = |one: &(Arc<Session>, _), other: &(Arc<Session>, _)| one.0.client_id.cmp(&other.0.client_id);
        if found.len() > limit && limit > 0 {
            found.select_nth_unstable_by(limit - 1, by_name);
        }
        found.truncate(limit);
        found.sort_unstable_by(by_name);
        found
    }

    pub(crate) fn close_all(&self, reason: DisconnectReasonCode) {
        for entry in self.lock().entries.values().filter(|entry| entry.expires_at.is_none()) {
            entry.session.mailbox.close(reason);
        }
    }

    fn sweep(&self, shared: &Common<'_>) {
        let now = Instant::now();
        let mut table = self.lock();
        let expired: Vec<_> = table
            .entries
            .values()
            .filter(|entry| entry.expires_at.is_some_and(|at| at <= now))
            .map(|entry| Arc::clone(&entry.session))
            .collect();
        for session in expired {
            // Nobody holds the state of an offline session, and nobody can attach while the table is locked.
            if let Ok(mut state) = session.state.try_lock() {
                reset(&session, &mut state, &self.config, shared);
                table.release(&session.client_id, None);
            }
        }
    }
}

/// Forgets everything: what a clean start asks for, and what remains of a session that ended.
/// Returns what must be durable before anybody may rely on it.
fn reset(session: &Arc<Session>, state: &mut SessionState, config: &Config, shared: &Common<'_>) -> u64 {
    let Common { router, counters, ledger } = *shared;
    let mut batch = ledger.batch();
    for filter in state.subscriptions.keys() {
        router.unsubscribe(filter, &session.client_id);
    }
    let inbound = std::mem::replace(&mut state.inbound, Inbound::new(1));
    let fresh = SessionState {
        inbound: inbound.into_fresh(config.receive_maximum),
        outbound: Outbound::new(config.max_in_flight),
        subscriptions: HashMap::new(),
        expiry: Duration::ZERO,
        resumable: false,
    };
    let mut ended = std::mem::replace(state, fresh);
    // What came by a shared subscription goes to another member; a QoS 2 message that was sent does not
    // (MQTT-4.8.2-5).
    let sent = ended.outbound.drain().into_iter().filter(|delivery| delivery.qos == QoS::AtLeastOnce);
    let orphans = sent.filter(|delivery| delivery.share.is_some()).chain(session.mailbox.take_shared());
    for orphan in orphans {
        if !hand_on(router, &orphan, &session.client_id, true, counters, &mut batch) {
            counters.dropped(&counters.dropped_no_member);
        }
    }
    session.mailbox.clear_deliveries();
    session.count_subscriptions(0);
    if session.set_durable(false) {
        batch.session_ended(&session.client_id);
    }
    batch.submit()
}

/// A member of shared subscriptions is gone for a while: whoever is there gets what it has not acknowledged (MQTT 5
/// section 4.8.2 leaves the choice), but for QoS 2 messages it has begun to take (MQTT-4.8.2-4).
fn lend(session: &Session, state: &mut SessionState, shared: &Common<'_>) {
    let Common { router, counters, ledger } = *shared;
    let mut batch = ledger.batch();
    let mut is_lent = |delivery: &Delivery| {
        let lent = hand_on(router, delivery, &session.client_id, false, counters, &mut batch);
        if lent {
            delivery.forget();
        }
        lent
    };
    let sent = state.outbound.in_order().into_iter();
    let shared = sent.filter(|(_, sent)| sent.qos == QoS::AtLeastOnce && sent.item.share.is_some());
    let lent: Vec<_> = shared.filter(|(_, sent)| is_lent(&sent.item)).map(|(packet_id, _)| packet_id).collect();
    for packet_id in lent {
        state.outbound.finish(packet_id);
    }
    let left = session.mailbox.take_shared().into_iter().filter(|delivery| !is_lent(delivery)).collect();
    session.mailbox.put_back(left);
}

/// Ends sessions past their expiry, until the broker drains.
pub(crate) async fn expire_periodically<H: Host>(shared: &Shared<H>) {
    loop {
        tokio::select! {
            () = shared.draining.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {
                shared.sessions.sweep(&shared.common());
                let mut batch = shared.ledger.batch();
                for topic in shared.retained.sweep() {
                    batch.retained_gone(&topic);
                }
                drop(batch);
                shared.ledger.settle();
            }
        }
    }
}
