//! SUBSCRIBE, UNSUBSCRIBE, and messages for the client.

use tesaiot_mqtt::QoS;
use tesaiot_mqtt::codec::ProtocolError;
use tesaiot_mqtt::packet::{
    Packet, PacketId, Publish, PublishAck2Reason, RetainHandling, Subscribe, SubscribeAck, SubscribeAckReason,
    Unsubscribe, UnsubscribeAck, UnsubscribeAckReason, publish_ack2,
};
use tesaiot_mqtt::topic;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Ended};
use crate::counters::increment;
use crate::host::{Action, Event, Host};
use crate::mailbox::Delivery;

/// Levels a filter may have: the tree of subscriptions is walked recursively.
const MAX_LEVELS: usize = 64;

impl<H: Host, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<H, S> {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Ended> {
        let mut status = Vec::with_capacity(subscribe.topic_filters.len());
        let mut granted = Vec::new();
        for (index, (filter, options)) in subscribe.topic_filters.into_iter().enumerate() {
            // A packet may hold half a million filters: no more are looked at than could be granted.
            let too_many = index >= self.shared.config.max_subscriptions;
            let refusal = if too_many {
                Some(SubscribeAckReason::QuotaExceeded)
            } else {
                self.refusal(&filter, subscribe.id.is_some())
            };
            let reason = match refusal {
                Some(refusal) => refusal,
                None => {
                    let new = self.state.subscriptions.insert(filter.to_string(), options).is_none();
                    self.shared.router.subscribe(&filter, &self.session, options);
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
        let ack = SubscribeAck { packet_id: subscribe.packet_id, properties: Vec::new(), reason_string: None, status };
        self.link.send(Packet::SubscribeAck(ack))?;
        for (filter, options, new) in granted {
            match options.retain_handling {
                RetainHandling::AtSubscribe => self.retained.push(filter, options.qos),
                RetainHandling::AtSubscribeNew if new => self.retained.push(filter, options.qos),
                _ => {}
            }
        }
        Ok(())
    }

    fn refusal(&self, filter: &str, with_identifier: bool) -> Option<SubscribeAckReason> {
        if filter.starts_with("$share/") {
            return Some(SubscribeAckReason::SharedSubscriptionNotSupported);
        }
        if with_identifier {
            return Some(SubscribeAckReason::SubscriptionIdentifiersNotSupported);
        }
        if !topic::is_valid_filter(filter) || filter.split('/').count() > MAX_LEVELS {
            return Some(SubscribeAckReason::TopicFilterInvalid);
        }
        if !self.shared.host.authorize(&self.identity, Action::Subscribe, filter) {
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
        let status = unsubscribe
            .topic_filters
            .iter()
            .map(|filter| match self.state.subscriptions.remove(&**filter) {
                Some(_) => {
                    self.retained.remove(filter);
                    self.shared.router.unsubscribe(filter, &self.session.client_id);
                    UnsubscribeAckReason::Success
                }
                None => UnsubscribeAckReason::NoSubscriptionExisted,
            })
            .collect();
        let ack =
            UnsubscribeAck { packet_id: unsubscribe.packet_id, properties: Vec::new(), reason_string: None, status };
        Ok(self.link.send(Packet::UnsubscribeAck(ack))?)
    }

    /// Sends a message to the client. The mailbox gave it because there is room.
    pub(super) fn deliver(&mut self, delivery: Delivery) -> Result<(), Ended> {
        let (qos, retain) = (delivery.qos, delivery.retain);
        let message = delivery.message.clone();
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => match self.state.outbound.start(delivery, qos) {
                Ok(packet_id) => Some(packet_id),
                Err(_) => return Ok(()),
            },
        };
        self.send_publish(message.to_publish(qos, packet_id, false, retain))
    }

    /// Sends what an earlier connection left unacknowledged (MQTT-4.4.0-1), marked (MQTT-3.3.1-1).
    pub(super) fn resend(&mut self, packet_id: PacketId) -> Result<(), Ended> {
        let Some(in_flight) = self.state.outbound.get(packet_id) else { return Ok(()) };
        if in_flight.released {
            let release = publish_ack2(packet_id, PublishAck2Reason::Success);
            return Ok(self.link.send(Packet::PublishRelease(release))?);
        }
        let Delivery { message, qos, retain } = &in_flight.item;
        let publish = message.to_publish(*qos, Some(packet_id), true, *retain);
        self.send_publish(publish)
    }

    /// The client has acknowledged a message for good.
    pub(super) fn delivered(&mut self, packet_id: PacketId) -> Result<(), Ended> {
        self.state.outbound.finish(packet_id);
        // It may answer, late, what the connection before sent.
        self.resend.retain(|waiting| *waiting != packet_id);
        Ok(())
    }

    fn send_publish(&mut self, publish: Publish) -> Result<(), Ended> {
        let packet_id = publish.packet_id;
        match self.link.send(Packet::Publish(Box::new(publish))) {
            Ok(()) => increment(&self.shared.counters.messages_sent),
            // MQTT-3.1.2-25: a message too large for this client counts as delivered.
            Err(ProtocolError::TooLarge { .. }) => {
                increment(&self.shared.counters.messages_dropped);
                if let Some(packet_id) = packet_id {
                    self.state.outbound.finish(packet_id);
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
