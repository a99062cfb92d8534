//! A stored message on its way to its subscribers.

use std::sync::Arc;

use tesaiot_mqtt::{Message, QoS};
use tokio::time::Instant;

use crate::Shared;
use crate::counters::Counters;
use crate::delivery::{Delivery, expiry};
use crate::host::Host;
use crate::router::{Match, Router, Share};

/// Where and when a message came from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The client that published it; `None`: the host itself.
    pub(crate) client_id: Option<&'a Arc<str>>,
    /// When it came: its expiry counts from here.
    pub(crate) received: Instant,
}

/// Gives a stored message to every subscriber. Returns how many took it.
pub(crate) fn fan_out<H: Host>(shared: &Shared<H>, message: &Message, origin: Origin<'_>) -> usize {
    let expires_at = expiry(message, origin.received);
    if message.retain && !shared.retained.set(message, expires_at, origin.client_id) {
        shared.counters.dropped(&shared.counters.dropped_retained_full);
        tracing::warn!(topic = %message.topic, "no room for another retained message");
    }
    let matches = shared.router.matching(&message.topic, origin.client_id.map(|client_id| &**client_id));
    // A received payload shares its buffer with its neighbours, which must not wait in a queue with it.
    let message = if matches.is_empty() { return 0 } else { message.detached() };
    let deliver_to = |found: &Match, share| Delivery {
        qos: message.qos.min(found.qos),
        retain: message.retain && found.retain_as_published,
        message: message.clone(),
        subscription_ids: found.subscription_ids.clone(),
        expires_at,
        share,
    };
    let mut taken = 0;
    for found in &matches.sessions {
        taken += usize::from(found.session.mailbox.deliver(deliver_to(found, None), &shared.counters));
    }
    for share in &matches.shares {
        let delivery = |member: &Match| deliver_to(member, Some(Arc::clone(&share.filter)));
        if give(share, None, true, delivery, &shared.counters) {
            taken += 1;
        } else {
            shared.counters.dropped(&shared.counters.dropped_no_member);
        }
    }
    taken
}

/// Gives a message to the first member that has room: one that is connected before one that will have to come back.
/// QoS 0 waits for nobody. Returns whether somebody took it.
fn give(
    share: &Share,
    except: Option<&str>,
    any: bool,
    delivery: impl Fn(&Match) -> Delivery,
    counters: &Counters,
) -> bool {
    let members = || share.members.iter().filter(|member| except != Some(&*member.session.client_id));
    let offered = |member: &Match, connected_only: bool| {
        let delivery = delivery(member);
        let connected_only = connected_only || delivery.qos == QoS::AtMostOnce;
        member.session.mailbox.offer(delivery, connected_only, counters).is_none()
    };
    members().any(|member| offered(member, true)) || (any && members().any(|member| offered(member, false)))
}

/// Gives what a member of a shared subscription will not deliver to another one. `any`: also to one that is not
/// connected. Returns whether somebody took it.
pub(crate) fn hand_on(router: &Router, delivery: &Delivery, from: &str, any: bool, counters: &Counters) -> bool {
    let Some(share) = delivery.share.as_ref().and_then(|filter| router.share(filter)) else { return false };
    let again = |member: &Match| Delivery {
        qos: delivery.message.qos.min(member.qos),
        retain: delivery.message.retain && member.retain_as_published,
        subscription_ids: member.subscription_ids.clone(),
        ..delivery.clone()
    };
    give(&share, Some(from), any, again, counters)
}
