//! A message on its way to one subscriber.

use std::num::NonZeroU32;
use std::sync::Arc;

use tesaiot_mqtt::packet::{PacketId, Publish, Version};
use tesaiot_mqtt::{Message, QoS};
use tokio::time::Instant;

use crate::storage::Stored;

/// A message for a subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Message,
    /// The lower of what was published and what was granted.
    pub(crate) qos: QoS,
    /// The retain flag as the subscriber is to see it.
    pub(crate) retain: bool,
    /// Identifiers of all its subscriptions that asked for the message (MQTT-3.3.4-3).
    pub(crate) subscription_ids: Vec<NonZeroU32>,
    /// From when on it is of no use: it is then not sent (MQTT-3.3.2-5).
    pub(crate) expires_at: Option<Instant>,
    /// The shared subscription it came by, whole: `$share/name/filter`. It may go to another member.
    pub(crate) share: Option<Arc<str>>,
    /// The copy that outlives the process, for a session that does.
    pub(crate) stored: Option<Arc<Stored>>,
}

impl Delivery {
    /// Bytes it occupies in a queue.
    pub(crate) fn size(&self) -> usize {
        self.message.size() + self.subscription_ids.len() * size_of::<NonZeroU32>()
    }

    /// It will not be delivered: its copy need not be kept.
    pub(crate) fn forget(&self) {
        if let Some(stored) = &self.stored {
            stored.forget();
        }
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Instant::now())
    }

    /// The packet for the subscriber.
    pub(crate) fn to_publish(&self, version: Version, packet_id: Option<PacketId>, dup: bool) -> Publish {
        let mut publish = self.message.to_publish(self.qos, packet_id, dup, self.retain);
        if version == Version::V3 {
            publish.properties = None;
            return publish;
        }
        if !self.subscription_ids.is_empty() {
            publish.properties.get_or_insert_default().subscription_ids.clone_from(&self.subscription_ids);
        }
        if let Some(at) = self.expires_at
            && let Some(properties) = &mut publish.properties
        {
            properties.message_expiry_interval = Some(remaining(at));
        }
        publish
    }
}

/// When a message that came at `received` expires.
pub(crate) fn expiry(message: &Message, received: Instant) -> Option<Instant> {
    let interval = message.properties.as_deref()?.message_expiry_interval?;
    received.checked_add(std::time::Duration::from_secs(u64::from(interval.get())))
}

/// Seconds until `at`, begun ones included: what was received minus the whole seconds it waited (MQTT-3.3.2-6). A
/// message that is sent again after its time says one second: it must be delivered all the same.
fn remaining(at: Instant) -> NonZeroU32 {
    let left = at.saturating_duration_since(Instant::now());
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
