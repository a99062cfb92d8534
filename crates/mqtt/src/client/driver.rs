//! The task that owns a client's stream.
//!
//! It wakes for an acknowledgement, a command, a packet or the clock, does everything that can be done without
//! waiting, then writes once. It stops taking commands while the in-flight window is full, and stops reading while
//! the receiver of messages is behind. Acknowledgements come by a way of their own, so that neither holds them up.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytestring::ByteString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::PollSender;

use super::{HeldAcknowledgement, Incoming, Lost, Options, Published};
use crate::codec::{ProtocolError, is_refusal, packet_name};
use crate::inbound::{Arrival, Inbound, Ticket};
use crate::link::{Link, LinkError};
use crate::message::Message;
use crate::outbound::Outbound;
use crate::packet::{
    ConnectAck, Disconnect, DisconnectReasonCode, Packet, PacketId, PublishAck2Reason, PublishAckReason, QoS,
    Subscribe, SubscribeAckReason, SubscriptionOptions, Version, publish_ack, publish_ack2,
};

/// Bytes that may wait for the stream before commands are left in their queue.
const MAX_PENDING_OUTPUT: usize = 256 * 1024;

#[derive(Debug)]
pub(super) enum Command {
    Publish { message: Message, done: oneshot::Sender<Published> },
    Subscribe { filters: Vec<(ByteString, QoS)>, done: oneshot::Sender<Vec<SubscribeAckReason>> },
    Disconnect,
}

enum Event {
    Acknowledge(Ticket),
    Command(Command),
    AllHandlesGone,
    Packet(Packet),
    Clock,
    Ended(LinkError),
}

pub(super) struct Driver<S> {
    link: Link<S>,
    commands: mpsc::Receiver<Command>,
    /// Acknowledgements the owner no longer holds. As long as all that may be held: it never fills.
    acknowledgements: mpsc::Receiver<Ticket>,
    acknowledge: mpsc::Sender<Ticket>,
    messages: PollSender<Incoming>,
    outbound: Outbound<oneshot::Sender<Published>>,
    subscribes: HashMap<PacketId, oneshot::Sender<Vec<SubscribeAckReason>>>,
    inbound: Inbound<()>,
    keep_alive: Duration,
    /// When everything written so far had left.
    last_sent: Instant,
    last_received: Instant,
    /// Whether the stream is read: not while the receiver of messages is behind.
    reading: bool,
    /// When the answer to a ping is overdue.
    ping_deadline: Option<Instant>,
    clock: Pin<Box<Sleep>>,
    disconnecting: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        link: Link<S>,
        mut outbound: Outbound<oneshot::Sender<Published>>,
        options: &Options,
        acknowledgement: &ConnectAck,
        commands: mpsc::Receiver<Command>,
        messages: mpsc::Sender<Incoming>,
    ) -> Self {
        let now = Instant::now();
        outbound.set_window(super::window(options, acknowledgement));
        let keep_alive = super::keep_alive(options, acknowledgement);
        // A 3.1.1 broker knows no receive maximum: what it sends is bounded by its packet identifiers.
        let receive_maximum = match options.version {
            Version::V5 => options.receive_maximum.max(1),
            Version::V3 => u16::MAX,
        };
        let (acknowledge, acknowledgements) = mpsc::channel(usize::from(receive_maximum));
        Self {
            link,
            commands,
            acknowledgements,
            acknowledge,
            messages: PollSender::new(messages),
            outbound,
            subscribes: HashMap::new(),
            inbound: Inbound::new(receive_maximum),
            keep_alive,
            last_sent: now,
            last_received: now,
            reading: true,
            ping_deadline: None,
            clock: Box::pin(sleep_until(now + keep_alive)),
            disconnecting: false,
        }
    }

    pub(super) async fn run(mut self) -> Lost {
        let lost = match self.serve().await {
            Ok(lost) => lost,
            Err(error) => Lost::Link(Arc::new(error)),
        };
        for done in self.outbound.drain() {
            let _ = done.send(Published::Lost(lost.clone()));
        }
        // Commands that were queued but never taken were not sent either.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Publish { done, .. } = command {
                let _ = done.send(Published::Lost(lost.clone()));
            }
        }
        lost
    }

    async fn serve(&mut self) -> Result<Lost, LinkError> {
        loop {
            if self.disconnecting && self.outbound.is_empty() {
                return self.say_goodbye().await;
            }
            match poll_fn(|context| self.poll_event(context)).await {
                Event::Acknowledge(ticket) => {
                    self.inbound.complete(ticket, PublishAckReason::Success);
                    self.send_acknowledgements()?;
                }
                Event::Command(command) => self.obey(command)?,
                Event::AllHandlesGone => self.disconnecting = true,
                Event::Packet(packet) => {
                    self.last_received = Instant::now();
                    if let Some(lost) = self.handle(packet)? {
                        return Ok(lost);
                    }
                }
                Event::Clock => {
                    if let Some(lost) = self.tick()? {
                        return Ok(lost);
                    }
                }
                Event::Ended(error) => return Err(error),
            }
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        // Never `None`: this side holds a sender.
        if let Poll::Ready(Some(ticket)) = self.acknowledgements.poll_recv(context) {
            return Poll::Ready(Event::Acknowledge(ticket));
        }
        // Commands before the write: everything that may leave is encoded first.
        let may_send = !self.disconnecting && !self.outbound.is_full();
        if may_send && self.link.pending_output() < MAX_PENDING_OUTPUT {
            match self.commands.poll_recv(context) {
                Poll::Ready(Some(command)) => return Poll::Ready(Event::Command(command)),
                Poll::Ready(None) => return Poll::Ready(Event::AllHandlesGone),
                Poll::Pending => {}
            }
        }
        let had_output = self.link.pending_output() > 0;
        match self.link.poll_flush(context) {
            Poll::Ready(Ok(())) if had_output => self.last_sent = Instant::now(),
            Poll::Ready(Err(error)) => return Poll::Ready(Event::Ended(error.into())),
            _ => {}
        }
        self.reading = self.poll_room(context).is_ready();
        if self.reading {
            match self.link.poll_packet(context) {
                Poll::Ready(Ok(packet)) => return Poll::Ready(Event::Packet(packet)),
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Ended(error)),
                Poll::Pending => {}
            }
        }
        if !self.keep_alive.is_zero() && self.clock.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Clock);
        }
        Poll::Pending
    }

    /// Ready when the receiver of messages has room for one more, so that the next packet may be read.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // A receiver that is gone wants no messages; the connection still serves publishing.
        self.messages.poll_reserve(context).map(|_| ())
    }

    fn obey(&mut self, command: Command) -> Result<(), LinkError> {
        match command {
            Command::Publish { message, done } if message.qos == QoS::AtMostOnce => {
                let publish = message.to_publish(message.qos, None, false, message.retain);
                let outcome = match self.link.send(Packet::Publish(Box::new(publish))) {
                    Ok(()) => Published::Acknowledged,
                    Err(ProtocolError::TooLarge { size, limit }) => Published::TooLarge { size, limit },
                    Err(error) => return Err(error.into()),
                };
                let _ = done.send(outcome);
            }
            Command::Publish { message, done } => {
                // The window has room: poll_event takes no command otherwise.
                if let Ok(packet_id) = self.outbound.start(done, message.qos) {
                    let publish = message.to_publish(message.qos, Some(packet_id), false, message.retain);
                    match self.link.send(Packet::Publish(Box::new(publish))) {
                        Ok(()) => {}
                        // Too large for this broker: refused here, and the connection lives on.
                        Err(ProtocolError::TooLarge { size, limit }) => {
                            if let Some(done) = self.outbound.finish(packet_id) {
                                let _ = done.send(Published::TooLarge { size, limit });
                            }
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Command::Subscribe { filters, done } => {
                let packet_id = loop {
                    let candidate = self.outbound.free_id();
                    if !self.subscribes.contains_key(&candidate) {
                        break candidate;
                    }
                };
                let topic_filters = filters
                    .into_iter()
                    .map(|(filter, qos)| (filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() }))
                    .collect();
                self.subscribes.insert(packet_id, done);
                self.send(Packet::Subscribe(Subscribe {
                    packet_id,
                    id: None,
                    user_properties: Vec::new(),
                    topic_filters,
                }))?;
            }
            Command::Disconnect => self.disconnecting = true,
        }
        Ok(())
    }

    fn send(&mut self, packet: Packet) -> Result<(), LinkError> {
        Ok(self.link.send(packet)?)
    }

    fn handle(&mut self, packet: Packet) -> Result<Option<Lost>, LinkError> {
        match packet {
            // A broker may not use an alias that was not offered (MQTT-3.1.2-26).
            Packet::Publish(publish) if publish.topic.is_empty() => {
                return Err(ProtocolError::InvalidTopicAlias.into());
            }
            // Nobody listens any more: not acknowledged, and not held for somebody either.
            Packet::Publish(_) if self.messages.is_closed() => {}
            Packet::Publish(publish) => {
                let packet_id = publish.packet_id;
                let (qos, dup) = (publish.qos, publish.dup);
                let ticket = match packet_id {
                    None => None,
                    Some(packet_id) => match self.inbound.arrive(packet_id, qos, dup, None, ())? {
                        Arrival::New(ticket) => Some(ticket),
                        Arrival::Known => {
                            self.send_acknowledgements()?;
                            return Ok(None);
                        }
                        Arrival::InProgress => return Ok(None),
                    },
                };
                let acknowledgement =
                    ticket.map(|ticket| HeldAcknowledgement { ticket, acknowledge: self.acknowledge.clone() });
                // Room was reserved before the packet was read.
                let _ = self.messages.send_item(Incoming {
                    message: Message::from_publish(*publish),
                    dup,
                    acknowledgement,
                });
            }
            Packet::PublishAck(ack) => self.resolve(ack.packet_id, Published::from_reason(ack.reason_code)),
            Packet::PublishReceived(ack) if is_refusal(ack.reason_code) => {
                self.resolve(ack.packet_id, Published::Refused(ack.reason_code));
            }
            Packet::PublishReceived(ack) => {
                let reason = if self.outbound.release(ack.packet_id) {
                    PublishAck2Reason::Success
                } else {
                    PublishAck2Reason::PacketIdNotFound
                };
                self.send(Packet::PublishRelease(publish_ack2(ack.packet_id, reason)))?;
            }
            Packet::PublishRelease(release) => {
                let reason = self.inbound.release(release.packet_id);
                self.send(Packet::PublishComplete(publish_ack2(release.packet_id, reason)))?;
            }
            Packet::PublishComplete(complete) => self.resolve(complete.packet_id, Published::Acknowledged),
            Packet::SubscribeAck(ack) => {
                if let Some(done) = self.subscribes.remove(&ack.packet_id) {
                    let _ = done.send(ack.status);
                }
            }
            Packet::PingResponse => self.ping_deadline = None,
            Packet::Disconnect(disconnect) => {
                return Ok(Some(Lost::ByBroker(disconnect.reason_code)));
            }
            Packet::UnsubscribeAck(_) => {}
            other => return Err(ProtocolError::Unexpected(packet_name(&other)).into()),
        }
        Ok(None)
    }

    fn resolve(&mut self, packet_id: PacketId, outcome: Published) {
        // An acknowledgement of something never sent resolves nothing.
        if let Some(done) = self.outbound.finish(packet_id) {
            let _ = done.send(outcome);
        }
    }

    fn send_acknowledgements(&mut self) -> Result<(), LinkError> {
        while let Some((acknowledgement, _)) = self.inbound.next_acknowledgement() {
            let ack = publish_ack(acknowledgement.packet_id, acknowledgement.reason);
            self.send(match acknowledgement.qos {
                QoS::ExactlyOnce => Packet::PublishReceived(ack),
                _ => Packet::PublishAck(ack),
            })?;
        }
        Ok(())
    }

    /// The clock rang: ping after silence, give up when the last ping was not answered (MQTT-3.1.2.10). Silence of
    /// either side: one that only sends never notices that the other end of the line is gone.
    fn tick(&mut self) -> Result<Option<Lost>, LinkError> {
        let now = Instant::now();
        if !self.reading {
            // The answer lies unread behind messages that nobody takes. The broker still wants its pings.
            self.ping_deadline = None;
            self.last_received = now;
        }
        if self.ping_deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(Some(Lost::KeepAlive));
        }
        let next_ping = self.last_sent.min(self.last_received) + self.keep_alive;
        if self.ping_deadline.is_none() && now >= next_ping {
            self.send(Packet::PingRequest)?;
            self.ping_deadline = Some(now + self.keep_alive);
        }
        let wake_at = self.ping_deadline.unwrap_or(next_ping).max(now + Duration::from_millis(1));
        self.clock.as_mut().reset(wake_at);
        Ok(None)
    }

    async fn say_goodbye(&mut self) -> Result<Lost, LinkError> {
        self.send(Packet::Disconnect(Disconnect {
            reason_code: DisconnectReasonCode::NormalDisconnection,
            ..Disconnect::default()
        }))?;
        self.link.close().await?;
        Ok(Lost::Disconnected)
    }
}
