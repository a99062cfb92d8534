//! A PUBLISH from the client: authorization, safety, acknowledgement.

use std::future::poll_fn;
use std::sync::Arc;

use tesaiot_mqtt::codec::is_refusal;
use tesaiot_mqtt::inbound::{Acknowledgement, Answered, Arrival, Ticket, fingerprint};
use tesaiot_mqtt::packet::{
    DisconnectReasonCode, Packet, PacketId, Publish, PublishAck, PublishAckReason, Version, publish_ack,
};
use tesaiot_mqtt::{Message, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::words::publish_refused;
use super::{Connection, Ended};
use crate::counters::{add, increment};
use crate::fan_out::{Origin, fan_out};
use crate::host::{Action, Event, Host};
use crate::outcome::{Outcome, Verdict};
use crate::receipt::Receipt;
use crate::session::HeldMessage;

/// A message that the host is to take. Apart from the rest of a PUBLISH, because what is kept while the host takes its
/// time is a part of every connection for all of its life.
pub(super) struct HandingOver {
    message: Message,
    /// `None`: QoS 0.
    receipt: Option<Receipt>,
    misformed: bool,
}

impl<H: Host, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<H, S> {
    /// Returns what is to be handed to the host, if anything is.
    pub(super) fn publish(&mut self, mut publish: Publish) -> Result<Option<HandingOver>, Ended> {
        increment(&self.shared.counters.messages_received);
        let received = self.last_received;
        self.received_aliases.resolve(&mut publish)?;
        add(&self.shared.counters.bytes_received, publish.topic.len() + publish.payload.len());
        let (packet_id, dup, qos) = (publish.packet_id, publish.dup, publish.qos);
        let message = Message::from_publish(publish);
        if let Some(throttle) = &mut self.throttle {
            throttle.published(message.size(), received);
            if throttle.is_abused(received) {
                return Err(Ended::PublishesTooMuch);
            }
        }
        let misformed = !message.is_text_if_it_says_so();
        let allowed = self.shared.host.authorize(&self.identity, Action::Publish, &message.topic);
        if !allowed {
            increment(&self.shared.counters.denied);
            let (identity, action, topic) = (&self.identity, Action::Publish, &*message.topic);
            self.shared.host.observe(Event::Denied { identity, action, topic });
        }
        let Some(packet_id) = packet_id else {
            if !allowed {
                return Err(self.denied());
            }
            return Ok(Some(HandingOver { message, receipt: None, misformed }));
        };
        if !allowed && self.version == Version::V3 {
            return Err(self.denied());
        }
        // Only a session that may be resumed can see a redelivery.
        let resumable = !self.state.expiry.is_zero();
        let print = resumable.then(|| fingerprint(&message.topic, &message.payload));
        let held = HeldMessage { message: message.clone(), received, fingerprint: print };
        let idle = self.state.inbound.held() == 0;
        match self.state.inbound.arrive(packet_id, qos, dup, print, held)? {
            Arrival::New(ticket) => {
                self.held_bytes += message.size();
                if misformed && allowed {
                    self.misformed.push(ticket);
                }
                if idle {
                    self.last_progress = Instant::now();
                }
                if allowed {
                    let receipt = Receipt::new(Arc::clone(&self.session.mailbox), ticket);
                    // Whether it is delivered is decided by what becomes of it.
                    return Ok(Some(HandingOver { message, receipt: Some(receipt), misformed }));
                }
                self.state.inbound.complete(ticket, PublishAckReason::NotAuthorized);
            }
            Arrival::Known => {}
            Arrival::InProgress => return Ok(None),
        }
        self.acknowledge()?;
        Ok(None)
    }

    /// Gives a message to the host. While the host has no room the connection waits, but not for ever, and not
    /// when it is ordered to close: the client then keeps its message.
    pub(super) async fn hand_over(&mut self, handing: HandingOver) -> Result<(), Ended> {
        let mailbox = &self.session.mailbox;
        let patience = self.shared.config.acknowledge_timeout;
        let unacknowledged = handing.receipt.is_none().then(|| handing.message.clone());
        let verdict = tokio::select! {
            biased;
            verdict = self.shared.host.accept(&self.identity, handing.message, handing.receipt) => verdict,
            reason = poll_fn(|context| mailbox.poll_close(context)) => return Err(Ended::ByBroker(reason)),
            // Lazily: a host with room costs no timer.
            () = async { sleep(patience).await } => return Err(Ended::StoreUnavailable),
        };
        if let Some(message) = unacknowledged {
            self.taken(&message, handing.misformed || verdict == Verdict::Withhold);
        }
        Ok(())
    }

    /// The host has taken a message of QoS 0.
    fn taken(&self, message: &Message, refused: bool) {
        if refused {
            increment(&self.shared.counters.messages_refused);
            return;
        }
        let origin = Origin { client_id: Some(&self.session.client_id), received: self.last_received };
        if fan_out(&self.shared, message, origin, &mut self.shared.ledger.batch(), None).not_retained {
            let (identity, topic) = (&self.identity, &*message.topic);
            self.shared.host.observe(Event::NotRetained { identity, topic });
        }
    }

    /// How a version that has no word for it hears that it may not.
    fn denied(&self) -> Ended {
        match self.version {
            Version::V3 => Ended::Denied,
            Version::V5 => Ended::ByBroker(DisconnectReasonCode::NotAuthorized),
        }
    }

    /// The host knows what became of messages.
    pub(super) fn resolved(&mut self, outcomes: Vec<(Ticket, Outcome)>) -> Result<(), Ended> {
        let mut unavailable = false;
        for (ticket, outcome) in outcomes {
            let misformed = self.misformed.iter().position(|known| *known == ticket);
            if let Some(index) = misformed {
                self.misformed.swap_remove(index);
            }
            match outcome {
                // It is safe with the host; what it is not is told to its publisher and to nobody else.
                Outcome::Stored if misformed.is_some() => {
                    self.state.inbound.complete(ticket, PublishAckReason::PayloadFormatInvalid);
                }
                Outcome::Stored => self.state.inbound.complete(ticket, PublishAckReason::Success),
                Outcome::Refused(reason) => self.state.inbound.complete(ticket, reason),
                Outcome::Unavailable => {
                    self.state.inbound.abandon(ticket);
                    unavailable = true;
                }
            }
        }
        // What was stored is acknowledged, in order, also when its neighbour could not be.
        self.acknowledge()?;
        if unavailable { Err(Ended::StoreUnavailable) } else { Ok(()) }
    }

    /// Routes and acknowledges, in order, everything whose outcome is known. Copies for sessions that outlive the
    /// process are durable before the acknowledgements leave.
    pub(super) fn acknowledge(&mut self) -> Result<(), Ended> {
        let shared = Arc::clone(&self.shared);
        let durable = self.session.is_durable();
        let mut batch = shared.ledger.batch();
        let mut answers = Vec::new();
        let mut known = false;
        while let Some((acknowledgement, held)) = self.state.inbound.next_acknowledgement() {
            let Acknowledgement { packet_id, qos, mut reason } = acknowledgement;
            known |= held.is_none();
            let Some(held) = held else {
                answers.push(acknowledgement);
                continue;
            };
            self.held_bytes = self.held_bytes.saturating_sub(held.message.size());
            if is_refusal(reason) {
                increment(&shared.counters.messages_refused);
            } else {
                let origin = Origin { client_id: Some(&self.session.client_id), received: held.received };
                let fanned_out = fan_out(&shared, &held.message, origin, &mut batch, None);
                increment(&shared.counters.messages_acknowledged);
                if fanned_out.not_retained {
                    reason = self.not_retained(&held.message.topic, packet_id, qos);
                }
            }
            answers.push(Acknowledgement { reason, ..acknowledgement });
            // The end of the exchange, for a client that hears of refusals; 3.1.1 releases what it was not told of.
            let is_over = qos == QoS::AtLeastOnce || (is_refusal(reason) && self.version == Version::V5);
            if !is_over && durable {
                batch.received(&self.session.client_id, packet_id);
            }
            // What the host keeps aside is kept once too. What the identity may not do is looked at each time.
            if is_over
                && reason != PublishAckReason::NotAuthorized
                && let Some(fingerprint) = held.fingerprint
            {
                self.state.inbound.remember(Answered { packet_id, qos, fingerprint, reason });
            }
        }
        let position = batch.submit();
        // What was known before was acknowledged before, perhaps on a connection that ended too early to say so.
        self.require(if known && durable { shared.ledger.position() } else { position });
        if !answers.is_empty() {
            self.last_progress = Instant::now();
        }
        for Acknowledgement { packet_id, qos, reason } in answers {
            match qos {
                QoS::ExactlyOnce => self.link.send(Packet::PublishReceived(answer(packet_id, reason)))?,
                _ if is_refusal(reason) => self.link.send(Packet::PublishAck(answer(packet_id, reason)))?,
                _ => self.link.send_puback(packet_id),
            }
        }
        Ok(())
    }

    /// A message is safe and delivered, and there was no room to retain it. Returns how it is answered: 3.1.1 has no word
    /// for it.
    fn not_retained(&mut self, topic: &str, packet_id: PacketId, qos: QoS) -> PublishAckReason {
        self.shared.host.observe(Event::NotRetained { identity: &self.identity, topic });
        if self.version == Version::V3 {
            return PublishAckReason::Success;
        }
        if qos == QoS::ExactlyOnce {
            self.state.inbound.release(packet_id);
        }
        PublishAckReason::QuotaExceeded
    }
}

/// An acknowledgement with its reason in words; the codec leaves them out for a client that does not want them.
fn answer(packet_id: PacketId, reason: PublishAckReason) -> PublishAck {
    PublishAck { reason_string: publish_refused(reason).map(Into::into), ..publish_ack(packet_id, reason) }
}
