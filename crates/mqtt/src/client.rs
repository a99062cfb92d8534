//! The client: connect, publish and know *which* publish was acknowledged, subscribe, disconnect.
//!
//! One task ([`driver`]) owns the stream. [`Client`] is a handle that any number of tasks may clone; publishing
//! pipelines, up to the receive maximum. When the connection ends, every message that was not acknowledged is
//! reported as lost to the one who published it: nothing is silently dropped and nothing is silently resent.
//! [`reconnect`] brings a connection back. [`direct`] is a connection for one user that needs no task.

pub mod direct;
mod driver;
mod options;
pub mod reconnect;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

pub use options::Options;

use crate::codec::{Codec, is_refusal, packet_name};
use crate::link::{Link, LinkError};
use crate::message::Message;
use crate::outbound::Outbound;
use crate::packet::{
    Connect, ConnectAck, ConnectAckReason, DisconnectReasonCode, Packet, PublishAckReason, QoS, SubscribeAckReason,
    Version,
};
use driver::{Command, Driver};

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker answered CONNECT with a refusal.
    #[error("the broker refused the connection: {reason:?}")]
    Refused {
        /// The MQTT 5 reason, or what a 3.1.1 return code means.
        reason: ConnectAckReason,
        /// The broker's own words, when it sent any (MQTT 5).
        text: Option<String>,
    },
    /// The stream failed or the peer broke the protocol before the connection was made.
    #[error("the connection ended before the broker answered CONNECT")]
    Link(#[from] LinkError),
    /// The broker's first packet was not CONNACK.
    #[error("the broker answered CONNECT with {0}")]
    Unexpected(&'static str),
}

/// Why an established connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lost {
    /// This side disconnected.
    #[error("disconnected")]
    Disconnected,
    /// The broker said goodbye, with this reason (MQTT 5).
    #[error("the broker closed the connection: {0:?}")]
    ByBroker(DisconnectReasonCode),
    /// The broker did not answer within the keep-alive time.
    #[error("the broker stopped answering")]
    KeepAlive,
    /// The stream failed, the peer closed it, or broke the protocol.
    #[error("the connection was lost: {0}")]
    Link(Arc<LinkError>),
}

/// A message received from the broker.
#[derive(Debug)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Whether the broker says it may have sent it before.
    pub dup: bool,
    /// Held acknowledgement (QoS 1 and 2). Dropped without [`HeldAcknowledgement::accept`], the broker keeps the
    /// message and sends it again in the next connection of the session. Acknowledgements leave in order: until then
    /// those of later messages wait behind it, so who drops one should reconnect.
    pub acknowledgement: Option<HeldAcknowledgement>,
}

/// The right to acknowledge one received message.
#[derive(Debug)]
pub struct HeldAcknowledgement {
    ticket: crate::inbound::Ticket,
    acknowledge: mpsc::Sender<crate::inbound::Ticket>,
}

impl HeldAcknowledgement {
    /// Tells the broker that the message is safe here. Does not wait for messages that are being published.
    ///
    /// # Errors
    /// The connection ended before the acknowledgement could leave.
    pub async fn accept(self) -> Result<(), Closed> {
        let Self { ticket, acknowledge } = self;
        acknowledge.send(ticket).await.map_err(|_| Closed)
    }
}

/// The connection is no longer there.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

/// What became of a published message.
#[derive(Clone, Debug)]
pub enum Published {
    /// The broker has it (QoS 1, 2), or it is on its way and nothing more will be known of it (QoS 0).
    Acknowledged,
    /// The broker refused it, with this reason (MQTT 5).
    Refused(PublishAckReason),
    /// The broker takes no packet as large as this (MQTT 5 Maximum Packet Size). It was not sent.
    TooLarge {
        /// Length of the packet, in bytes
        size: u32,
        /// What the broker announced, in bytes
        limit: u32,
    },
    /// The connection ended before the broker answered: it may or may not have it.
    Lost(Lost),
}

impl Published {
    /// Whether the broker took responsibility.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Acknowledged)
    }

    fn from_reason(reason: PublishAckReason) -> Self {
        if is_refusal(reason) { Self::Refused(reason) } else { Self::Acknowledged }
    }
}

/// Resolves when the outcome of one message is known.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Published>);

impl Pending {
    /// Waits for the outcome.
    pub async fn outcome(self) -> Published {
        self.0.await.unwrap_or(Published::Lost(Lost::Disconnected))
    }
}

/// A handle on a connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    task: Arc<Mutex<Option<JoinHandle<Lost>>>>,
}

/// An established connection.
#[derive(Debug)]
pub struct Connected {
    /// The handle.
    pub client: Client,
    /// Messages from the broker. A full channel stops reading from the stream: back-pressure, not memory.
    pub messages: mpsc::Receiver<Incoming>,
    /// Whether the broker resumed an earlier session.
    pub session_present: bool,
    /// The broker's CONNACK.
    pub acknowledgement: Box<ConnectAck>,
}

/// Connects over an open stream (TLS or plain) and waits for the broker's answer.
pub async fn connect<S>(stream: S, options: Options) -> Result<Connected, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Established { link, outbound, acknowledgement, .. } = handshake(stream, &options, None).await?;
    let session_present = acknowledgement.session_present;
    let (commands, command_queue) = mpsc::channel(options.queue);
    let (messages_in, messages) = mpsc::channel(options.queue);
    let driver = Driver::new(link, outbound, &options, &acknowledgement, command_queue, messages_in);
    let task = tokio::spawn(driver.run());
    let client = Client { commands, task: Arc::new(Mutex::new(Some(task))) };
    Ok(Connected { client, messages, session_present, acknowledgement })
}

/// What CONNECT and CONNACK left behind.
struct Established<S, T> {
    link: Link<S>,
    outbound: Outbound<T>,
    acknowledgement: Box<ConnectAck>,
    /// The first message, when it is larger than the broker takes: its bytes, and what the broker takes.
    too_large: Option<(T, u32, u32)>,
}

/// Sends CONNECT, with a first message behind it, and waits for CONNACK.
async fn handshake<S, T>(
    stream: S,
    options: &Options,
    first: Option<(Message, T)>,
) -> Result<Established<S, T>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut link = Link::new(stream, Codec::client(options.version, options.max_packet_size));
    link.send(connect_packet(options)).map_err(LinkError::from)?;
    // One message is within every receive maximum: the least a broker can announce is 1.
    let mut outbound = Outbound::new(1);
    let mut first_packet = None;
    if let Some((message, item)) = first
        && let Ok(packet_id) = outbound.start(item, message.qos)
    {
        let publish = message.to_publish(message.qos, Some(packet_id), false, message.retain);
        let connect = link.pending_output();
        link.send(Packet::Publish(Box::new(publish))).map_err(LinkError::from)?;
        first_packet = Some((packet_id, u32::try_from(link.pending_output() - connect).unwrap_or(u32::MAX)));
    }
    link.flush().await.map_err(LinkError::from)?;
    let acknowledgement = match link.receive().await? {
        Packet::ConnectAck(ack) => ack,
        other => return Err(ConnectError::Unexpected(packet_name(&other))),
    };
    if acknowledgement.reason_code != ConnectAckReason::Success {
        return Err(ConnectError::Refused {
            reason: acknowledgement.reason_code,
            text: acknowledgement.reason_string.as_ref().map(ToString::to_string),
        });
    }
    let mut too_large = None;
    if let Some(limit) = acknowledgement.max_packet_size {
        link.codec().set_max_outbound(limit);
        // It left before the limit was known. A broker does not take it, and need not say so (MQTT-3.2.2-15).
        if let Some((packet_id, size)) = first_packet
            && size > limit
        {
            too_large = outbound.finish(packet_id).map(|item| (item, size, limit));
        }
    }
    Ok(Established { link, outbound, acknowledgement, too_large })
}

/// Messages that may be unacknowledged towards this broker.
fn window(options: &Options, acknowledgement: &ConnectAck) -> u16 {
    match options.version {
        Version::V5 => acknowledgement.receive_max.get(),
        Version::V3 => options.receive_maximum,
    }
}

/// The longest silence this broker wants.
fn keep_alive(options: &Options, acknowledgement: &ConnectAck) -> Duration {
    match acknowledgement.server_keepalive_sec {
        Some(seconds) => Duration::from_secs(u64::from(seconds)),
        None => options.keep_alive,
    }
}

fn connect_packet(options: &Options) -> Packet {
    Packet::Connect(Box::new(Connect {
        clean_start: options.clean_start,
        keep_alive: options.keep_alive.as_secs().min(u64::from(u16::MAX)) as u16,
        session_expiry_interval_secs: options.session_expiry.as_secs().min(u64::from(u32::MAX)) as u32,
        receive_max: (options.version == Version::V5)
            .then(|| std::num::NonZeroU16::new(options.receive_maximum))
            .flatten(),
        last_will: options.will.as_ref().map(Message::to_will),
        client_id: options.client_id.clone(),
        username: options.username.clone(),
        password: options.password.clone(),
        ..Connect::default()
    }))
}

impl Client {
    /// Hands a message to the connection and returns at once; the outcome comes through [`Pending`].
    /// Waits only while the queue before the in-flight window is full.
    ///
    /// # Errors
    /// The connection has ended; the message was not sent.
    pub async fn publish(&self, message: Message) -> Result<Pending, Closed> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command::Publish { message, done }).await.map_err(|_| Closed)?;
        Ok(Pending(outcome))
    }

    /// Subscribes, and returns what the broker granted for each filter, in their order.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn subscribe(
        &self,
        filters: impl IntoIterator<Item = (String, QoS)>,
    ) -> Result<Vec<SubscribeAckReason>, Closed> {
        let (done, outcome) = oneshot::channel();
        let filters = filters.into_iter().map(|(filter, qos)| (filter.into(), qos)).collect();
        self.commands.send(Command::Subscribe { filters, done }).await.map_err(|_| Closed)?;
        outcome.await.map_err(|_| Closed)
    }

    /// Waits until everything handed over is acknowledged or lost, says goodbye and closes the stream.
    pub async fn disconnect(&self) -> Lost {
        let _ = self.commands.send(Command::Disconnect).await;
        self.ended().await
    }

    /// Waits until the connection has ended, and says why. Later callers get [`Lost::Disconnected`].
    pub async fn ended(&self) -> Lost {
        let mut task = self.task.lock().await;
        match task.as_mut() {
            Some(running) => {
                let lost = running.await.unwrap_or(Lost::Disconnected);
                *task = None;
                lost
            }
            None => Lost::Disconnected,
        }
    }
}
