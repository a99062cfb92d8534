//! SUBSCRIBE, UNSUBSCRIBE, and messages for the client.

use std::sync::Arc;

use bytestring::ByteString;
use tesaiot_mqtt::QoS;
use tesaiot_mqtt::alias::Naming;
use tesaiot_mqtt::codec::ProtocolError;
use tesaiot_mqtt::packet::{
    Packet, PacketId, Publish, PublishAck2Reason, RetainHandling, Subscribe, SubscribeAck, SubscribeAckReason,
    Unsubscribe, UnsubscribeAck, UnsubscribeAckReason, publish_ack2,
};
use tesaiot_mqtt::topic;
use tokio::io::{AsyncRead, AsyncWrite};

use super::words::subscription_refused;
use super::{Connection, Ended};
use crate::counters::{add, increment};
use crate::delivery::Delivery;
use crate::host::{Action, Event, Host};
use crate::retained::Wanted;
use crate::router::Subscription;

/// Levels a filter may have: the tree of subscriptions is walked recursively.
const MAX_LEVELS: usize = 64;

impl<H: Host, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<H, S> {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Ended> {
        let mut status = Vec::with_capacity(subscribe.topic_filters.len());
        let mut granted = Vec::new();
        let (shared, durable) = (Arc::clone(&self.shared), self.session.is_durable());
        let mut batch = shared.ledger.batch();
        for (index, (filter, options)) in subscribe.topic_filters.into_iter().enumerate() {
            // A packet may hold half a million filters: no more are looked at than could be granted.
            let too_many = index >= self.shared.config.max_subscriptions;
            let refusal = if too_many { Some(SubscribeAckReason::QuotaExceeded) } else { self.refusal(&filter) };
            let reason = match refusal {
                Some(refusal) => refusal,
                None => {
                    let subscription = Subscription { options, id: subscribe.id };
                    let new = self.state.subscriptions.insert(filter.to_string(), subscription).is_none();
                    self.shared.router.subscribe(&filter, &self.session, subscription);
                    if durable {
                        batch.subscribed(&self.session.client_id, &filter, subscription);
                    }
                    granted.push((filter, options, new));
                    match options.qos {
                        QoS::AtMostOnce => SubscribeAckReason::GrantedQos0,
                        QoS::AtLeastOnce => SubscribeAckReason::GrantedQos1,
                        QoS::ExactlyOnce => SubscribeAckReason::GrantedQos2,
                    }
                }
            };
            status.push(reason);
        }
        self.session.count_subscriptions(self.state.subscriptions.len());
        let position = batch.submit();
        self.require(position);
        let reason_string = status.iter().find_map(|reason| subscription_refused(*reason)).map(Into::into);
        let ack = SubscribeAck { packet_id: subscribe.packet_id, properties: Vec::new(), reason_string, status };
        self.link.send(Packet::SubscribeAck(ack))?;
        for (filter, options, new) in granted {
            let wants_retained = match options.retain_handling {
                RetainHandling::AtSubscribe => true,
                RetainHandling::AtSubscribeNew => new,
                RetainHandling::NoAtSubscribe => false,
            };
            // What is retained is not for a share (MQTT 5 section 4.8.2).
            if wants_retained && topic::split_share(&filter).is_none() {
                self.retained.push(Wanted { filter, qos: options.qos, id: subscribe.id });
            }
        }
        Ok(())
    }

    fn refusal(&self, filter: &str) -> Option<SubscribeAckReason> {
        // A share of messages is a right to the messages: who may read a filter may share it.
        let (share, inner) = topic::split_share(filter).map_or((None, filter), |(share, inner)| (Some(share), inner));
        let valid = topic::is_valid_filter(inner) && share.is_none_or(topic::is_valid_share_name);
        if !valid || inner.split('/').count() > MAX_LEVELS {
            return Some(SubscribeAckReason::TopicFilterInvalid);
        }
        if !self.shared.host.authorize(&self.identity, Action::Subscribe, inner) {
            increment(&self.shared.counters.denied);
            let (identity, action) = (&self.identity, Action::Subscribe);
            self.shared.host.observe(Event::Denied { identity, action, topic: filter });
            return Some(SubscribeAckReason::NotAuthorized);
        }
        let known = self.state.subscriptions.contains_key(filter);
        (!known && self.state.subscriptions.len() >= self.shared.config.max_subscriptions)
            .then_some(SubscribeAckReason::QuotaExceeded)
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Ended> {
        let (shared, durable) = (Arc::clone(&self.shared), self.session.is_durable());
        let mut batch = shared.ledger.batch();
        let status = unsubscribe
            .topic_filters
            .iter()
            .map(|filter| match self.state.subscriptions.remove(&**filter) {
                Some(_) => {
                    self.retained.remove(filter);
                    self.shared.router.unsubscribe(filter, &self.session.client_id);
                    if durable {
                        batch.unsubscribed(&self.session.client_id, filter);
                    }
                    UnsubscribeAckReason::Success
                }
                None => UnsubscribeAckReason::NoSubscriptionExisted,
            })
            .collect();
        self.session.count_subscriptions(self.state.subscriptions.len());
        let position = batch.submit();
        self.require(position);
        let ack =
            UnsubscribeAck { packet_id: unsubscribe.packet_id, properties: Vec::new(), reason_string: None, status };
        Ok(self.link.send(Packet::UnsubscribeAck(ack))?)
    }

    /// Sends a message to the client. The mailbox gave it because there is room.
    pub(super) fn deliver(&mut self, delivery: Delivery) -> Result<(), Ended> {
        if delivery.is_expired() {
            increment(&self.shared.counters.messages_expired);
            delivery.forget();
            return Ok(());
        }
        let mut publish = delivery.to_publish(self.version, None, false);
        if delivery.qos != QoS::AtMostOnce {
            let (qos, stored) = (delivery.qos, delivery.stored.clone());
            let Ok(packet_id) = self.state.outbound.start(delivery, qos) else { return Ok(()) };
            publish.packet_id = Some(packet_id);
            if let Some(stored) = stored {
                let mut batch = self.shared.ledger.batch();
                batch.sent(&stored, packet_id, false);
                let noted = batch.submit();
                // At QoS 2 the client must not see the message under another identifier, ever.
                self.require(if qos == QoS::ExactlyOnce { noted } else { stored.position() });
            }
        }
        self.send_publish(publish)
    }

    /// Sends what an earlier connection left unacknowledged (MQTT-4.4.0-1), marked (MQTT-3.3.1-1).
    pub(super) fn resend(&mut self, packet_id: PacketId) -> Result<(), Ended> {
        if self.session.is_durable() {
            // What it said last may not be durable yet.
            let position = self.shared.ledger.position();
            self.require(position);
        }
        let Some(in_flight) = self.state.outbound.get(packet_id) else { return Ok(()) };
        if in_flight.released {
            let release = publish_ack2(packet_id, PublishAck2Reason::Success);
            return Ok(self.link.send(Packet::PublishRelease(release))?);
        }
        let publish = in_flight.item.to_publish(self.version, Some(packet_id), true);
        self.send_publish(publish)
    }

    /// The client has acknowledged a message for good.
    pub(super) fn delivered(&mut self, packet_id: PacketId) -> Result<(), Ended> {
        self.arrived(packet_id);
        // It may answer, late, what the connection before sent.
        self.resend.retain(|waiting| *waiting != packet_id);
        Ok(())
    }

    /// A message is done with. Its copy goes without haste: after a crash it may be sent once more, marked.
    fn arrived(&mut self, packet_id: PacketId) {
        if let Some(Delivery { stored: Some(stored), .. }) = self.state.outbound.finish(packet_id) {
            self.shared.ledger.batch().copy_gone(&stored);
        }
    }

    /// PUBREC came. Returns false for an identifier that is not an unreleased QoS 2 message.
    pub(super) fn released(&mut self, packet_id: PacketId) -> bool {
        if !self.state.outbound.release(packet_id) {
            return false;
        }
        let in_flight = self.state.outbound.get(packet_id);
        if let Some(stored) = in_flight.and_then(|in_flight| in_flight.item.stored.clone()) {
            let mut batch = self.shared.ledger.batch();
            batch.sent(&stored, packet_id, true);
            let position = batch.submit();
            // PUBREL lets the client forget the identifier: after it the message must not come again.
            self.require(position);
        }
        true
    }

    fn send_publish(&mut self, mut publish: Publish) -> Result<(), Ended> {
        let (packet_id, name) = (publish.packet_id, publish.topic.clone());
        let naming = self.sent_aliases.naming(&name);
        if let Naming::Introduce(alias) | Naming::Alias(alias) = naming {
            publish.properties.get_or_insert_default().topic_alias = Some(alias);
        }
        if let Naming::Alias(_) = naming {
            publish.topic = ByteString::new();
        }
        let bytes = name.len() + publish.payload.len();
        match self.link.send(Packet::Publish(Box::new(publish))) {
            Ok(()) => {
                increment(&self.shared.counters.messages_sent);
                add(&self.shared.counters.bytes_sent, bytes);
                if let Naming::Introduce(alias) = naming {
                    self.sent_aliases.introduced(&name, alias);
                }
            }
            // MQTT-3.1.2-25: a message too large for this client counts as delivered.
            Err(ProtocolError::TooLarge { .. }) => {
                self.shared.counters.dropped(&self.shared.counters.dropped_too_large);
                if let Some(packet_id) = packet_id {
                    self.arrived(packet_id);
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
