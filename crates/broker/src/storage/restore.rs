//! Taking back what an earlier process kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tesaiot_mqtt::packet::PacketId;
use tokio::time::Instant;

use super::record::{self, Copy, Kept, RecordError, SessionRecord};
use super::{Key, kind, moment};
use crate::Shared;
use crate::delivery::Delivery;
use crate::host::Host;
use crate::router::Subscription;
use crate::session::Session;
use crate::wills::{self, Will};

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions whose clients may come back.
    pub sessions: usize,
    /// Messages that wait for them.
    pub messages: usize,
    /// Retained messages.
    pub retained: usize,
    /// Records that could not be read. They are left where they are.
    pub unreadable: usize,
}

/// The records of one client.
#[derive(Default)]
struct Parts {
    session: Option<SessionRecord>,
    subscriptions: Vec<(String, Subscription)>,
    /// By number, which is the order in which they came.
    messages: BTreeMap<u64, (Key, Copy, usize)>,
    sent: HashMap<u64, (PacketId, bool)>,
    received: Vec<PacketId>,
    will: Option<Kept>,
}

impl Parts {
    fn add(&mut self, key: Key, record: &[u8]) -> Result<(), RecordError> {
        match key.kind {
            kind::SESSION => self.session = Some(SessionRecord::decode(record)?),
            kind::SUBSCRIPTION => {
                let (options, id) = record::decode_subscription(record)?;
                let filter = std::str::from_utf8(&key.name)?.to_owned();
                self.subscriptions.push((filter, Subscription { options, id }));
            }
            kind::MESSAGE => {
                let copy = Copy::decode(record)?;
                self.messages.insert(number(&key)?, (key, copy, record.len()));
            }
            kind::SENT => {
                self.sent.insert(number(&key)?, record::decode_sent(record)?);
            }
            kind::RECEIVED => {
                let name: [u8; 2] = key.name.as_slice().try_into().map_err(|_| RecordError::Range)?;
                self.received.push(PacketId::new(u16::from_be_bytes(name)).ok_or(RecordError::Range)?);
            }
            kind::WILL => self.will = Some(Kept::decode(record)?),
            _ => return Err(RecordError::Range),
        }
        Ok(())
    }
}

fn number(key: &Key) -> Result<u64, RecordError> {
    Ok(u64::from_be_bytes(key.name.as_slice().try_into().map_err(|_| RecordError::Range)?))
}

/// Puts everything in its place. Nothing is served yet.
pub(crate) fn restore<H: Host>(shared: &Arc<Shared<H>>, records: impl IntoIterator<Item = (Key, Bytes)>) -> Restored {
    let mut restored = Restored::default();
    let mut clients: BTreeMap<Arc<str>, Parts> = BTreeMap::new();
    for (key, record) in records {
        let (owner, kind) = (Arc::clone(&key.owner), key.kind);
        let added = match kind {
            kind::RETAINED => Kept::decode(&record).map(|kept| restored.retained += usize::from(retain(shared, &kept))),
            _ => clients.entry(owner).or_default().add(key, &record),
        };
        if let Err(error) = added {
            restored.unreadable += 1;
            tracing::warn!(kind, %error, "a record of a session cannot be read");
        }
    }
    for (client_id, parts) in clients {
        if let Some(messages) = revive(shared, &client_id, parts) {
            restored.sessions += 1;
            restored.messages += messages;
        } else {
            shared.ledger.batch().session_ended(&client_id);
        }
    }
    shared.ledger.settle();
    restored
}

/// `false`: its time is over.
fn retain<H: Host>(shared: &Shared<H>, kept: &Kept) -> bool {
    let expires_at = kept.expires_at.map(moment);
    if expires_at.is_some_and(|at| at.is_none()) {
        shared.ledger.batch().retained_gone(&kept.message.topic);
        return false;
    }
    shared.retained.restore(&kept.message, expires_at.flatten(), kept.owner.as_ref());
    true
}

/// Makes a session of its records, and returns how many messages wait for it. `None` when its time is over, or what is
/// left of it is not a session.
fn revive<H: Host>(shared: &Arc<Shared<H>>, client_id: &Arc<str>, parts: Parts) -> Option<usize> {
    let Parts { session: record, subscriptions, messages, sent, received, will } = parts;
    // A will is due when its session ends, if not before: also while nobody was here to publish it.
    if let Some(kept) = will
        && let Some(identity) = shared.host.revive(client_id)
    {
        let at = kept.expires_at.and_then(moment).unwrap_or_else(Instant::now);
        let will = Will { message: kept.message, identity: Arc::new(identity), client_id: Arc::clone(client_id) };
        if let Some(will) = shared.wills.delay(will, at) {
            wills::spawn(shared, will);
        }
    }
    let record = record?;
    let expires_in = remaining(&record)?;
    let session = Arc::new(Session::new(Arc::clone(client_id), &shared.config));
    session.set_durable(true);
    let mut waiting = VecDeque::new();
    // Made here: nobody else holds it.
    let mut state = session.state.try_lock().ok()?;
    state.expiry = record.expiry;
    state.resumable = true;
    state.inbound.restore(received, record.recent);
    for (filter, subscription) in subscriptions {
        shared.router.subscribe(&filter, &session, subscription);
        state.subscriptions.insert(filter, subscription);
    }
    for (number, (key, copy, bytes)) in messages {
        let stored = Arc::new(shared.ledger.known_copy(key, number, bytes));
        let expires_at = copy.expires_at.map(moment);
        let delivery = Delivery {
            message: copy.message,
            qos: copy.qos,
            retain: copy.retain,
            subscription_ids: copy.subscription_ids,
            expires_at: expires_at.flatten(),
            share: copy.share,
            stored: Some(stored),
        };
        match sent.get(&number) {
            // Once sent it is sent again, whatever its time (MQTT-4.4.0-1).
            Some((packet_id, released)) => {
                let qos = delivery.qos;
                state.outbound.restore(*packet_id, delivery, qos, *released);
            }
            None if expires_at.is_some_and(|at| at.is_none()) => delivery.forget(),
            None => waiting.push_back(delivery),
        }
    }
    let count = state.outbound.len() + waiting.len();
    // More than may wait for a session, if some were sent and that is not on disk, or less may wait than before: all of
    // them are promised.
    session.mailbox.put_back(waiting);
    session.count_subscriptions(state.subscriptions.len());
    drop(state);
    shared.sessions.restore(&session, Instant::now() + expires_in);
    Some(count)
}

/// What is left of a session's time. A connection that lived when the process died has ended now; a clock that went
/// backwards costs nobody his session.
fn remaining(record: &SessionRecord) -> Option<Duration> {
    let away = record.disconnected_at.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    record.expiry.checked_sub(away).filter(|left| !left.is_zero())
}
