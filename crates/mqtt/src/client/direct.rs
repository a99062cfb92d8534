//! A connection that its one user drives: no task, no queues, no wake-ups between them.
//!
//! [`super::Client`] is for programs of many tasks. A program that has a run of messages to deliver and then ends is
//! done sooner without: messages are encoded straight into the output buffer, and acknowledgements are handed over as
//! they are read, as many as one read brings.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{ConnectError, Established, Lost, Options, Published, handshake, keep_alive, window};
use crate::codec::{PlainPublish, ProtocolError, is_refusal, packet_name};
use crate::link::{Link, LinkError};
use crate::message::Message;
use crate::outbound::Outbound;
use crate::packet::{
    ConnectAck, Disconnect, DisconnectReasonCode, Packet, PublishAck2Reason, QoS, Subscribe, SubscribeAckReason,
    SubscriptionOptions, publish_ack2,
};

/// Bytes that may wait for the stream before no more is taken.
const MAX_PENDING_OUTPUT: usize = 256 * 1024;

/// What the broker let be known.
#[derive(Debug)]
pub enum Progress {
    /// What became of the message with this number (QoS 1 and 2).
    Published(u64, Published),
    /// This many messages of QoS 0 were written to the stream.
    Written(u64),
    /// What the broker granted for the filters of one subscription, in their order.
    Subscribed(Vec<SubscribeAckReason>),
    /// A message. Of QoS 1, it is acknowledged once this was handed over.
    Message(Message),
}

/// A message to be sent: as [`Message`], without properties and with borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Topic name, without wildcards.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: QoS,
    /// Whether it replaces the topic's retained message.
    pub retain: bool,
}

/// An established connection.
pub struct Direct<S> {
    link: Link<S>,
    outbound: Outbound<u64>,
    /// Messages of QoS 0 that wait in the output buffer
    unwritten: u64,
    acknowledgement: Box<ConnectAck>,
    keep_alive: Duration,
    last_sent: Instant,
    last_received: Instant,
    ping_deadline: Option<Instant>,
    clock: Pin<Box<Sleep>>,
    /// What is yet to be reported of the first message.
    too_large: Option<(u32, u32)>,
    /// Why it ended, when something was still to be reported before.
    ended: Option<Lost>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Direct<S> {
    /// Connects over an open stream and waits for the broker's answer. `first`, of QoS 1 or 2, leaves in the same
    /// flight as CONNECT under the number 0: a client need not wait for CONNACK (MQTT 5 section 3.1.4), and one that
    /// has one thing to say is done a round trip earlier. A broker that refuses CONNECT processes nothing after it
    /// (MQTT-3.1.4-6), so a refusal means that the message was not taken.
    ///
    /// # Errors
    /// The broker refused, or the connection ended before it answered.
    pub async fn connect(stream: S, options: &Options, first: Option<Message>) -> Result<Self, ConnectError> {
        let first = first.map(|message| (message, 0));
        let established = handshake(stream, options, first).await?;
        let Established { link, mut outbound, acknowledgement, too_large } = established;
        // What is in flight is all that a lost connection can lose: bounded by this side too.
        outbound.set_window(window(options, &acknowledgement).min(options.receive_maximum));
        let (now, keep_alive) = (Instant::now(), keep_alive(options, &acknowledgement));
        Ok(Self {
            link,
            outbound,
            unwritten: 0,
            acknowledgement,
            keep_alive,
            last_sent: now,
            last_received: now,
            ping_deadline: None,
            clock: Box::pin(sleep_until(now + keep_alive)),
            too_large: too_large.map(|(_, size, limit)| (size, limit)),
            ended: None,
        })
    }

    /// The broker's CONNACK.
    pub fn acknowledgement(&self) -> &ConnectAck {
        &self.acknowledgement
    }

    /// Messages that may be unacknowledged at a time: what the broker takes, and no more than
    /// [`Options::receive_maximum`].
    pub fn window(&self) -> usize {
        self.outbound.window()
    }

    /// Messages whose outcome is not known yet.
    pub fn in_flight(&self) -> usize {
        let unwritten = usize::try_from(self.unwritten).unwrap_or(usize::MAX);
        self.outbound.len() + unwritten + usize::from(self.too_large.is_some())
    }

    /// Whether another message may be handed over now.
    pub fn has_room(&self) -> bool {
        !self.outbound.is_full() && self.link.pending_output() < MAX_PENDING_OUTPUT
    }

    /// Encodes a message; it leaves with the next [`Self::progress`]. Ask [`Self::has_room`] before.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`] for this broker, or no topic name: it is not sent, and the connection lives on.
    pub fn publish(&mut self, number: u64, message: Outgoing<'_>) -> Result<(), ProtocolError> {
        let Outgoing { topic, payload, qos, retain } = message;
        if qos == QoS::AtMostOnce {
            self.link.send_publish(PlainPublish { topic, payload, packet_id: None, qos, retain })?;
            self.unwritten += 1;
            return Ok(());
        }
        let Ok(packet_id) = self.outbound.start(number, qos) else {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        };
        let sent = self.link.send_publish(PlainPublish { topic, payload, packet_id: Some(packet_id), qos, retain });
        if sent.is_err() {
            self.outbound.finish(packet_id);
        }
        sent
    }

    /// Asks for the messages of `filter`, at QoS 1; the answer is [`Progress::Subscribed`].
    ///
    /// # Errors
    /// The packet is too large for this broker.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), ProtocolError> {
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        self.link.send(Packet::Subscribe(Subscribe {
            packet_id: self.outbound.free_id(),
            id: None,
            user_properties: Vec::new(),
            topic_filters: vec![(filter.into(), options)],
        }))
    }

    /// Writes what waits, reads what is there and keeps the connection alive. Resolves once something was reported to
    /// `report`: everything that could be read without waiting. May be dropped and called again.
    ///
    /// # Errors
    /// The connection has ended; what is in flight is lost.
    pub async fn progress(&mut self, mut report: impl FnMut(Progress)) -> Result<(), Lost> {
        poll_fn(|context| self.poll_progress(context, &mut report)).await
    }

    /// As [`Self::progress`], for one poll.
    pub fn poll_progress(
        &mut self,
        context: &mut Context<'_>,
        report: &mut impl FnMut(Progress),
    ) -> Poll<Result<(), Lost>> {
        if let Some(lost) = &self.ended {
            return Poll::Ready(Err(lost.clone()));
        }
        let mut reported = false;
        let mut report = |progress| {
            reported = true;
            report(progress);
        };
        if let Some((size, limit)) = self.too_large.take() {
            report(Progress::Published(0, Published::TooLarge { size, limit }));
        }
        let lost = match self.poll_work(context, &mut report) {
            Ok(lost) => lost,
            Err(error) => Some(Lost::Link(Arc::new(error))),
        };
        self.ended = lost;
        match (&self.ended, reported) {
            (_, true) => Poll::Ready(Ok(())),
            (Some(lost), false) => Poll::Ready(Err(lost.clone())),
            (None, false) => Poll::Pending,
        }
    }

    fn poll_work(
        &mut self,
        context: &mut Context<'_>,
        report: &mut impl FnMut(Progress),
    ) -> Result<Option<Lost>, LinkError> {
        loop {
            let written = self.poll_write(context, report)?;
            while let Poll::Ready(packet) = self.link.poll_packet(context) {
                if let Some(lost) = self.handle(packet?, report)? {
                    return Ok(Some(lost));
                }
                self.last_received = Instant::now();
            }
            // What was read may want an answer, and so may the clock.
            let rang = !self.keep_alive.is_zero() && self.clock.as_mut().poll(context).is_ready();
            if rang && let Some(lost) = self.tick()? {
                return Ok(Some(lost));
            }
            // A write that could not be finished wakes the task when it can go on.
            if !rang && (written.is_pending() || self.link.pending_output() == 0) {
                return Ok(None);
            }
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        report: &mut impl FnMut(Progress),
    ) -> Result<Poll<()>, LinkError> {
        let had_output = self.link.pending_output() > 0;
        if self.link.poll_flush(context)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if had_output {
            self.last_sent = Instant::now();
        }
        if self.unwritten > 0 {
            report(Progress::Written(std::mem::take(&mut self.unwritten)));
        }
        Ok(Poll::Ready(()))
    }

    fn handle(&mut self, packet: Packet, report: &mut impl FnMut(Progress)) -> Result<Option<Lost>, LinkError> {
        match packet {
            Packet::PublishAck(ack) => {
                self.finish(ack.packet_id, Published::from_reason(ack.reason_code), report);
            }
            Packet::PublishReceived(ack) if is_refusal(ack.reason_code) => {
                self.finish(ack.packet_id, Published::Refused(ack.reason_code), report);
            }
            Packet::PublishReceived(ack) => {
                let known = self.outbound.release(ack.packet_id);
                let reason = if known { PublishAck2Reason::Success } else { PublishAck2Reason::PacketIdNotFound };
                self.link.send(Packet::PublishRelease(publish_ack2(ack.packet_id, reason)))?;
            }
            Packet::PublishComplete(complete) => self.finish(complete.packet_id, Published::Acknowledged, report),
            Packet::SubscribeAck(ack) => report(Progress::Subscribed(ack.status)),
            // Subscriptions here are of QoS 1 at most, and no topic alias was offered (MQTT-3.1.2-26).
            Packet::Publish(publish) if publish.qos != QoS::ExactlyOnce && !publish.topic.is_empty() => {
                let packet_id = publish.packet_id;
                report(Progress::Message(Message::from_publish(*publish)));
                if let Some(packet_id) = packet_id {
                    self.link.send_puback(packet_id);
                }
            }
            Packet::PingResponse => self.ping_deadline = None,
            Packet::Disconnect(disconnect) => return Ok(Some(Lost::ByBroker(disconnect.reason_code))),
            other => return Err(ProtocolError::Unexpected(packet_name(&other)).into()),
        }
        Ok(None)
    }

    fn finish(&mut self, packet_id: crate::packet::PacketId, outcome: Published, report: &mut impl FnMut(Progress)) {
        // An acknowledgement of something never sent resolves nothing.
        if let Some(number) = self.outbound.finish(packet_id) {
            report(Progress::Published(number, outcome));
        }
    }

    /// The clock rang: ping after silence of either side, give up when the last ping was not answered
    /// (MQTT-3.1.2.10).
    fn tick(&mut self) -> Result<Option<Lost>, LinkError> {
        let now = Instant::now();
        if self.ping_deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(Some(Lost::KeepAlive));
        }
        let next_ping = self.last_sent.min(self.last_received) + self.keep_alive;
        if self.ping_deadline.is_none() && now >= next_ping {
            self.link.send(Packet::PingRequest)?;
            self.ping_deadline = Some(now + self.keep_alive);
        }
        let wake_at = self.ping_deadline.unwrap_or(next_ping).max(now + Duration::from_millis(1));
        self.clock.as_mut().reset(wake_at);
        Ok(None)
    }

    /// Says goodbye and closes the stream in good order.
    ///
    /// # Errors
    /// The goodbye did not arrive. Nothing is lost by it but what was in flight.
    pub async fn disconnect(&mut self) -> Result<(), LinkError> {
        let goodbye = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection, ..Disconnect::default() };
        self.link.send(Packet::Disconnect(goodbye))?;
        Ok(self.link.close().await?)
    }
}
