//! A stored message on its way to its subscribers.

use std::sync::Arc;

use tesaiot_mqtt::{Message, QoS};
use tokio::time::Instant;

use crate::Shared;
use crate::counters::Counters;
use crate::delivery::{Delivery, expiry};
use crate::host::Host;
use crate::router::{Match, Router, Share};
use crate::session::Session;
use crate::storage::{Batch, Kept, wall_time};

/// Where and when a message came from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The client that published it; `None`: the host itself.
    pub(crate) client_id: Option<&'a Arc<str>>,
    /// When it came: its expiry counts from here.
    pub(crate) received: Instant,
}

/// What became of a message on its way to its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FannedOut {
    /// How many took it.
    pub(crate) taken: usize,
    /// Whether the session it was meant for took it.
    pub(crate) taken_by_addressee: bool,
    /// Whether it was to be retained and there was no room.
    pub(crate) not_retained: bool,
}

/// Gives a stored message to every subscriber. What outlives the process is added to `batch`: whoever acknowledges the
/// message waits for that. `addressee`: the client it is meant for, if it is for one more than for others.
pub(crate) fn fan_out<H: Host>(
    shared: &Shared<H>,
    message: &Message,
    origin: Origin<'_>,
    batch: &mut Batch<'_>,
    addressee: Option<&str>,
) -> FannedOut {
    let expires_at = expiry(message, origin.received);
    let not_retained = message.retain && !retain(shared, message, expires_at, origin.client_id, batch);
    let matches = shared.router.matching(&message.topic, origin.client_id.map(|client_id| &**client_id));
    // A received payload shares its buffer with its neighbours, which must not wait in a queue with it.
    if matches.is_empty() {
        return FannedOut { taken: 0, taken_by_addressee: false, not_retained };
    }
    let message = message.detached();
    let deliver_to = |found: &Match, share| Delivery {
        qos: message.qos.min(found.qos),
        retain: message.retain && found.retain_as_published,
        message: message.clone(),
        subscription_ids: found.subscription_ids.clone(),
        expires_at,
        share,
        stored: None,
    };
    let (mut taken, mut taken_by_addressee) = (0, false);
    for found in &matches.sessions {
        let (delivery, fits) = with_copy(&found.session, deliver_to(found, None), batch);
        if fits || found.session.mailbox.is_connected() {
            let is_taken = found.session.mailbox.deliver(delivery, &shared.counters);
            taken += usize::from(is_taken);
            taken_by_addressee |= is_taken && addressee == Some(&*found.session.client_id);
        } else {
            shared.counters.dropped(&shared.counters.dropped_queue_full);
        }
    }
    for share in &matches.shares {
        let delivery = |member: &Match| deliver_to(member, Some(Arc::clone(&share.filter)));
        if give(share, None, true, delivery, &shared.counters, batch) {
            taken += 1;
        } else {
            shared.counters.dropped(&shared.counters.dropped_no_member);
        }
    }
    FannedOut { taken, taken_by_addressee, not_retained }
}

/// Returns whether there was room.
fn retain<H: Host>(
    shared: &Shared<H>,
    message: &Message,
    expires_at: Option<Instant>,
    owner: Option<&Arc<str>>,
    batch: &mut Batch<'_>,
) -> bool {
    batch.in_order();
    let has_room = shared.retained.set(message, expires_at, owner);
    if !has_room {
        shared.counters.dropped(&shared.counters.dropped_retained_full);
    }
    if !has_room || message.payload.is_empty() {
        batch.retained_gone(&message.topic);
    } else if batch.is_kept() {
        let expires_at = expires_at.map(wall_time);
        batch.retained(&Kept { message: message.clone(), expires_at, owner: owner.cloned() });
    }
    has_room
}

/// The delivery with a copy that outlives the process, if its session does; and whether there was room for one.
fn with_copy(session: &Session, mut delivery: Delivery, batch: &mut Batch<'_>) -> (Delivery, bool) {
    if delivery.qos == QoS::AtMostOnce || !batch.is_kept() || !session.is_durable() {
        return (delivery, true);
    }
    delivery.stored = batch.copy(&session.client_id, &delivery);
    let fits = delivery.stored.is_some();
    (delivery, fits)
}

/// Gives a message to the first member that has room: one that is connected before one that will have to come back.
/// QoS 0 waits for nobody. Returns whether somebody took it.
fn give(
    share: &Share,
    except: Option<&str>,
    any: bool,
    delivery: impl Fn(&Match) -> Delivery,
    counters: &Counters,
    batch: &mut Batch<'_>,
) -> bool {
    let members = || share.members.iter().filter(|member| except != Some(&*member.session.client_id));
    let mut offered = |member: &Match, connected_only: bool| {
        // Before the copy is made: one for each member that is away would be too many.
        if connected_only && !member.session.mailbox.is_connected() {
            return false;
        }
        let (delivery, fits) = with_copy(&member.session, delivery(member), batch);
        let connected_only = connected_only || !fits || delivery.qos == QoS::AtMostOnce;
        match member.session.mailbox.offer(delivery, connected_only, counters) {
            None => true,
            Some(refused) => {
                refused.forget();
                false
            }
        }
    };
    members().any(|member| offered(member, true)) || (any && members().any(|member| offered(member, false)))
}

/// Gives what a member of a shared subscription will not deliver to another one. `any`: also to one that is not
/// connected. Returns whether somebody took it.
pub(crate) fn hand_on(
    router: &Router,
    delivery: &Delivery,
    from: &str,
    any: bool,
    counters: &Counters,
    batch: &mut Batch<'_>,
) -> bool {
    let Some(share) = delivery.share.as_ref().and_then(|filter| router.share(filter)) else { return false };
    let again = |member: &Match| Delivery {
        qos: delivery.message.qos.min(member.qos),
        retain: delivery.message.retain && member.retain_as_published,
        subscription_ids: member.subscription_ids.clone(),
        stored: None,
        ..delivery.clone()
    };
    give(&share, Some(from), any, again, counters, batch)
}
