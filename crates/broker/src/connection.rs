//! One task per connection, from CONNECT to the last acknowledgement.
//!
//! | Module | Is |
//! |---|---|
//! | [`handshake`], [`establish`] | CONNECT: who is it, may it, which session; and its answer |
//! | this one | the loop: mail, packets, one write, the clock |
//! | [`publish`] | a PUBLISH and its held acknowledgement |
//! | [`throttle`] | how fast a client may publish |
//! | [`subscribe`] | SUBSCRIBE, UNSUBSCRIBE and messages for the client |
//! | [`words`] | reasons, for clients that want them |
//! | [`finish`] | what happens after the last packet: outstanding outcomes, Last Will, the session's rest |

mod establish;
mod finish;
mod handshake;
mod publish;
mod subscribe;
mod throttle;
mod words;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tesaiot_mqtt::alias::{ReceivedAliases, SentAliases};
use tesaiot_mqtt::codec::{ProtocolError, packet_name};
use tesaiot_mqtt::inbound::Ticket;
use tesaiot_mqtt::link::{Link, LinkError};
use tesaiot_mqtt::packet::{DisconnectReasonCode, Packet, PacketId, PublishAck2Reason, Version, publish_ack2};
use tesaiot_mqtt::{Message, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Shared;
use crate::counters::{Gauge, increment};
use crate::host::{self, Host, Peer};
use crate::mailbox::Mail;
use crate::retained::RetainedQueue;
use crate::session::{Session, SessionState};
use crate::storage::Fences;
use publish::HandingOver;
use throttle::Throttle;

/// Encoded bytes that are written without waiting for the end of the work at hand.
const FLUSH_BYTES: usize = 16 * 1024;
/// Unwritten bytes beyond which nothing more is read or delivered.
const MAX_PENDING_OUTPUT: usize = 256 * 1024;
/// How often the clock is looked at, at least.
const MAX_TICK: Duration = Duration::from_secs(15);

/// Why a connection ends.
#[derive(Debug)]
enum Ended {
    /// DISCONNECT from the client; with a reason that asks for the Last Will, or without.
    ByClient { with_will: bool },
    /// This side closes it.
    ByBroker(DisconnectReasonCode),
    /// A publish that the identity may not make, on a version that cannot say so otherwise.
    Denied,
    /// It has been ahead of its publish rate for too long.
    PublishesTooMuch,
    /// The host could not store a message.
    StoreUnavailable,
    /// The stream ended or the client broke the protocol.
    Link(LinkError),
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ProtocolError> for Ended {
    fn from(error: ProtocolError) -> Self {
        Self::Link(error.into())
    }
}

enum Event {
    Mail(Mail),
    Packet(Packet),
    Resend(PacketId),
    Clock,
}

/// A connection with a session.
struct Connection<H: Host, S> {
    shared: Arc<Shared<H>>,
    link: Link<S>,
    peer: Peer,
    identity: Arc<H::Identity>,
    version: Version,
    session: Arc<Session>,
    state: OwnedMutexGuard<SessionState>,
    will: Option<Message>,
    /// How long the will waits for the client to come back.
    will_delay: Duration,
    /// One and a half times the keep-alive of CONNECT (MQTT-3.1.2-22); `None` when the client asked for none.
    silence_limit: Option<Duration>,
    last_received: Instant,
    /// When the last acknowledgement left, or the oldest held message came.
    last_progress: Instant,
    /// Since when the client has not read what was written.
    write_blocked_since: Option<Instant>,
    /// What an earlier connection left unacknowledged, to be sent again within the window of this one.
    resend: VecDeque<PacketId>,
    /// Retained messages of new subscriptions. They do not go through the mailbox, whose bounds they may exceed.
    retained: RetainedQueue,
    /// Bytes of messages whose acknowledgement is held.
    held_bytes: usize,
    /// How fast it may publish, when that is limited.
    throttle: Option<Box<Throttle>>,
    /// What of the output waits for something to be durable.
    fences: Fences,
    /// Held messages whose payload is not the text they say it is.
    misformed: Vec<Ticket>,
    /// Whether the client wants reasons in words.
    explains: bool,
    /// Whether the session was to outlive its connection: only then may DISCONNECT say for how long.
    may_expire_later: bool,
    received_aliases: ReceivedAliases,
    sent_aliases: SentAliases,
    clock: Pin<Box<Sleep>>,
}

/// Serves a stream until it ends.
pub(crate) fn serve<H: Host, S>(shared: Arc<Shared<H>>, stream: S, peer: Peer) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The first and the last step are on the heap while they last: a task is as large as its largest step for all of
    // its life, and in between ten thousand connections do nothing.
    let connecting = Box::pin(handshake::connect(Arc::clone(&shared), stream, peer));
    async move {
        let _open = Gauge::new(&shared.counters.connections);
        if let Some(mut connection) = connecting.await {
            let ended = connection.run().await;
            Box::pin(connection.finish(ended)).await;
        }
    }
}

impl<H: Host, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<H, S> {
    async fn run(&mut self) -> Ended {
        loop {
            let event = match poll_fn(|context| self.poll_event(context)).await {
                Ok(event) => event,
                Err(error) => {
                    if let LinkError::Protocol(ProtocolError::TooLarge { size, limit }) = error {
                        increment(&self.shared.counters.packets_too_large);
                        self.shared.host.observe(host::Event::TooLarge { identity: &self.identity, size, limit });
                    }
                    return error.into();
                }
            };
            let done = match self.handle(event) {
                Ok(None) => Ok(()),
                Ok(Some(handing)) => self.hand_over(handing).await,
                Err(ended) => Err(ended),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Returns the message that the host is to take before anything else happens, if there is one.
    fn handle(&mut self, event: Event) -> Result<Option<HandingOver>, Ended> {
        match event {
            Event::Mail(Mail::Resolved(outcomes)) => self.resolved(outcomes)?,
            Event::Mail(Mail::Delivery(delivery)) => self.deliver(delivery)?,
            Event::Mail(Mail::Close(reason)) => return Err(Ended::ByBroker(reason)),
            Event::Packet(packet) => {
                self.last_received = Instant::now();
                match packet {
                    Packet::Publish(publish) => return self.publish(*publish),
                    other => self.answer(other)?,
                }
            }
            Event::Resend(packet_id) => self.resend(packet_id)?,
            Event::Clock => self.tick()?,
        }
        Ok(None)
    }

    /// Outcomes and messages first, then packets, and only when there is neither: one write of all that came of
    /// them.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, LinkError>> {
        if self.link.pending_output() >= FLUSH_BYTES {
            self.poll_write(context)?;
        }
        let writable = self.link.pending_output() < MAX_PENDING_OUTPUT;
        let outbound = &self.state.outbound;
        if writable
            && outbound.len() - self.resend.len() < outbound.window()
            && let Some(packet_id) = self.resend.pop_front()
        {
            return Poll::Ready(Ok(Event::Resend(packet_id)));
        }
        // Messages keep their order: none overtakes one that is sent again.
        let room = |qos| writable && self.resend.is_empty() && (qos == QoS::AtMostOnce || !outbound.is_full());
        // What was retained is older than what comes now, and leaves first.
        let waiting = self.retained.front(&self.shared.retained).map(|delivery| delivery.qos);
        let mail = self.session.mailbox.poll(context, |qos| waiting.is_none() && room(qos));
        if let Poll::Ready(mail) = mail {
            return Poll::Ready(Ok(Event::Mail(mail)));
        }
        if waiting.is_some_and(room)
            && let Some(delivery) = self.retained.pop()
        {
            return Poll::Ready(Ok(Event::Mail(Mail::Delivery(delivery))));
        }
        if writable
            && self.may_read()
            && self.is_in_time()
            && let Poll::Ready(packet) = self.link.poll_packet(context)
        {
            return Poll::Ready(packet.map(Event::Packet));
        }
        self.poll_write(context)?;
        if self.clock.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(Event::Clock));
        }
        Poll::Pending
    }

    /// Starts writing what is pending; what the client does not take stays.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), LinkError> {
        let before = self.link.pending_output();
        let end = self.fences.poll_end(&self.shared.ledger, context);
        match self.link.poll_flush_until(context, end)? {
            Poll::Ready(()) => self.write_blocked_since = None,
            // A thin line is not a dead one: it takes a little at a time.
            Poll::Pending if self.link.pending_output() < before => self.write_blocked_since = Some(Instant::now()),
            Poll::Pending => {
                self.write_blocked_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    /// What is sent from now on waits until `position` is durable.
    fn require(&mut self, position: u64) {
        self.fences.require(&self.shared.ledger, position, self.link.end_of_output());
    }

    /// A client that waits for too many outcomes is not read: the network holds it back. MQTT 5 clients know
    /// their receive maximum and are told when they break it.
    fn may_read(&self) -> bool {
        self.held_bytes < self.shared.config.max_held_bytes
            && (self.version == Version::V5 || !self.state.inbound.is_full())
    }

    /// Any packet but PUBLISH.
    fn answer(&mut self, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::PublishRelease(release) => {
                let reason = self.state.inbound.release(release.packet_id);
                if self.session.is_durable() {
                    let mut batch = self.shared.ledger.batch();
                    batch.released(&self.session.client_id, release.packet_id);
                    let position = batch.submit();
                    self.require(position);
                }
                Ok(self.link.send(Packet::PublishComplete(publish_ack2(release.packet_id, reason)))?)
            }
            Packet::PublishAck(ack) => self.delivered(ack.packet_id),
            Packet::PublishReceived(ack) if tesaiot_mqtt::codec::is_refusal(ack.reason_code) => {
                self.delivered(ack.packet_id)
            }
            Packet::PublishReceived(ack) => {
                let reason = if self.released(ack.packet_id) {
                    PublishAck2Reason::Success
                } else {
                    PublishAck2Reason::PacketIdNotFound
                };
                Ok(self.link.send(Packet::PublishRelease(publish_ack2(ack.packet_id, reason)))?)
            }
            Packet::PublishComplete(complete) => self.delivered(complete.packet_id),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::PingRequest => Ok(self.link.send(Packet::PingResponse)?),
            Packet::Disconnect(disconnect) => {
                if let Some(seconds) = disconnect.session_expiry_interval_secs {
                    // MQTT 5 section 3.14.2.2.2: a session that was to end with its connection cannot be made to last.
                    if seconds > 0 && !self.may_expire_later {
                        return Err(ProtocolError::RuleBroken("a session expiry that CONNECT did not ask for").into());
                    }
                    let wanted = Duration::from_secs(u64::from(seconds));
                    self.state.expiry = wanted.min(self.shared.config.max_session_expiry);
                }
                // MQTT-3.14.4-3: only a goodbye without a reason discards the Last Will.
                let with_will = disconnect.reason_code != DisconnectReasonCode::NormalDisconnection;
                Err(Ended::ByClient { with_will })
            }
            // A second CONNECT (MQTT-3.1.0-2), AUTH without a method, and packets only a server sends.
            other => Err(ProtocolError::Unexpected(packet_name(&other)).into()),
        }
    }

    /// A client that is ahead of its publish rate is not read until it no longer is; the clock rings then.
    fn is_in_time(&mut self) -> bool {
        let Some(throttle) = &mut self.throttle else { return true };
        if throttle.until().is_none() {
            return true;
        }
        let in_time = throttle.may_read(Instant::now());
        if let Some(until) = throttle.until()
            && until < self.clock.deadline()
        {
            self.clock.as_mut().reset(until);
        }
        in_time
    }

    /// The clock rang: look at every deadline, then set it to the next.
    fn tick(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        // While this side does not read, the client's silence is not its fault.
        let in_time = self.is_in_time();
        let config = &self.shared.config;
        let reading = in_time && self.may_read() && self.link.pending_output() < MAX_PENDING_OUTPUT;
        let silence_limit = self.silence_limit.filter(|_| reading);
        let deadlines = [
            silence_limit.map(|limit| (self.last_received + limit, DisconnectReasonCode::KeepAliveTimeout)),
            self.fences
                .waiting_since()
                .map(|since| (since + config.acknowledge_timeout, DisconnectReasonCode::UnspecifiedError)),
            (self.state.inbound.held() > 0)
                .then(|| (self.last_progress + config.acknowledge_timeout, DisconnectReasonCode::UnspecifiedError)),
            self.write_blocked_since.map(|since| (since + config.write_timeout, DisconnectReasonCode::QuotaExceeded)),
        ];
        let tick = MAX_TICK.min(config.acknowledge_timeout).min(config.write_timeout);
        let mut next = now + tick;
        for (deadline, reason) in deadlines.into_iter().flatten() {
            if now >= deadline {
                return Err(match reason {
                    DisconnectReasonCode::UnspecifiedError => Ended::StoreUnavailable,
                    reason => {
                        increment(match reason {
                            DisconnectReasonCode::KeepAliveTimeout => &self.shared.counters.keep_alive_timeouts,
                            _ => &self.shared.counters.slow_subscribers,
                        });
                        Ended::ByBroker(reason)
                    }
                });
            }
            next = next.min(deadline);
        }
        self.clock.as_mut().reset(next);
        Ok(())
    }
}

fn clock(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(at))
}
