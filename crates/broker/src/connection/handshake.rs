//! CONNECT: who is it, may it, which session.

use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_mqtt::codec::{Codec, ProtocolError, packet_name};
use tesaiot_mqtt::link::{Link, LinkError};
use tesaiot_mqtt::packet::{Connect, ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, Packet, Version};
use tesaiot_mqtt::{Message, topic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::{Connection, clock};
use crate::Shared;
use crate::counters::increment;
use crate::host::{Action, Connecting, Event, Host, Peer, Refusal};
use crate::retained::RetainedQueue;
use crate::sessions::Attached;

/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads CONNECT and answers it. `None` when no session began; the client and the host were told why.
pub(super) async fn connect<H: Host, S>(shared: Arc<Shared<H>>, stream: S, peer: Peer) -> Option<Connection<H, S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut link = Link::new(stream, Codec::server(shared.config.max_packet_size));
    let connect = tokio::select! {
        () = shared.draining.cancelled() => return None,
        connect = first_packet(&shared, &mut link) => connect,
    };
    let connect = match connect {
        Ok(connect) => connect,
        Err(error) => {
            let protocol = matches!(error, LinkError::Protocol(_));
            increment(if protocol { &shared.counters.protocol_errors } else { &shared.counters.connects_refused });
            let cause = match &error {
                LinkError::Io(error) if error.kind() == ErrorKind::TimedOut => "no CONNECT in time".into(),
                LinkError::Io(error) => format!("connection failed: {error}"),
                error => error.to_string(),
            };
            observe_refusal(&shared, &peer, None, &cause);
            // A peer that spoke MQTT 5 far enough to be understood hears the reason.
            if let LinkError::Protocol(error) = &error
                && link.codec().version() == Some(Version::V5)
            {
                let reason = match error {
                    ProtocolError::TooLarge { .. } => ConnectAckReason::PacketTooLarge,
                    _ => ConnectAckReason::MalformedPacket,
                };
                refuse(&mut link, reason).await;
            }
            return None;
        }
    };
    let version = link.codec().version()?;
    let reject = async |link: &mut Link<S>, reason, cause: &str| {
        increment(&shared.counters.connects_refused);
        observe_refusal(&shared, &peer, Some(&connect.client_id), cause);
        refuse(link, reason).await;
    };

    if connect.client_id.is_empty() {
        reject(&mut link, ConnectAckReason::ClientIdentifierNotValid, "no client identifier").await;
        return None;
    }
    if connect.auth_method.is_some() {
        reject(&mut link, ConnectAckReason::BadAuthenticationMethod, "enhanced authentication is not offered").await;
        return None;
    }
    let connecting = Connecting {
        peer: &peer,
        client_id: &connect.client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        version,
    };
    let evictions = shared.sessions.evictions();
    let mut identity = match shared.host.authenticate(connecting).await {
        Ok(identity) => Arc::new(identity),
        Err(refusal) => {
            let (reason, cause) = words(refusal);
            reject(&mut link, reason, cause).await;
            return None;
        }
    };
    let will = connect.last_will.clone().map(Message::from_will);
    if let Some(will) = &will {
        if !topic::is_valid_name(&will.topic) {
            reject(&mut link, ConnectAckReason::TopicNameInvalid, "invalid Last Will topic").await;
            return None;
        }
        if !shared.host.authorize(&identity, Action::Publish, &will.topic) {
            increment(&shared.counters.denied);
            let event = Event::Denied { identity: &identity, action: Action::Publish, topic: &will.topic };
            shared.host.observe(event);
            reject(&mut link, ConnectAckReason::NotAuthorized, "Last Will on a topic of another").await;
            return None;
        }
    }
    let attached = shared
        .sessions
        .attach(&connect.client_id, connect.clean_start, &shared.router, &shared.counters.taken_over)
        .await;
    let Some(attached) = attached else {
        reject(&mut link, ConnectAckReason::ServerBusy, "a newer connection took the session").await;
        return None;
    };
    // From here on an eviction or a drain finds the session. What came before found nothing to close.
    if shared.sessions.evictions() != evictions {
        match shared.host.authenticate(connecting).await {
            Ok(current) => identity = Arc::new(current),
            Err(refusal) => {
                shared.sessions.detach(&attached.session, attached.state, &shared.router);
                let (reason, cause) = words(refusal);
                reject(&mut link, reason, cause).await;
                return None;
            }
        }
    }
    if shared.draining.is_cancelled() {
        shared.sessions.detach(&attached.session, attached.state, &shared.router);
        reject(&mut link, ConnectAckReason::ServerUnavailable, "the broker is shutting down").await;
        return None;
    }
    shared.host.observe(Event::Connected { identity: &identity, peer: &peer });
    Some(establish(shared, link, peer, identity, version, &connect, will, attached))
}

/// What a refused client hears, and what the host is told.
fn words(refusal: Refusal) -> (ConnectAckReason, &'static str) {
    match refusal {
        Refusal::BadCredentials => (ConnectAckReason::BadUserNameOrPassword, "bad credentials"),
        Refusal::NotAuthorized => (ConnectAckReason::NotAuthorized, "not authorized"),
        Refusal::InvalidClientId => (ConnectAckReason::ClientIdentifierNotValid, "invalid client identifier"),
        Refusal::Unavailable => (ConnectAckReason::ServerUnavailable, "the registry is unavailable"),
    }
}

async fn first_packet<H: Host, S>(shared: &Shared<H>, link: &mut Link<S>) -> Result<Box<Connect>, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(shared.config.handshake_timeout, link.receive()).await {
        Ok(Ok(Packet::Connect(connect))) => Ok(connect),
        Ok(Ok(other)) => Err(ProtocolError::Unexpected(packet_name(&other)).into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(std::io::Error::from(ErrorKind::TimedOut).into()),
    }
}

fn observe_refusal<H: Host>(shared: &Shared<H>, peer: &Peer, client_id: Option<&str>, cause: &str) {
    shared.host.observe(Event::Refused { peer, client_id, cause });
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(link: &mut Link<S>, reason_code: ConnectAckReason) {
    let ack = ConnectAck { reason_code, ..ConnectAck::default() };
    // The peer is on its way out: whether it hears the reason changes nothing here.
    if link.send(Packet::ConnectAck(Box::new(ack))).is_ok() {
        let _ = timeout(REFUSAL_TIMEOUT, link.close()).await;
    }
}

/// Answers CONNECT.
#[expect(clippy::too_many_arguments, reason = "everything a connection is made of, once")]
fn establish<H: Host, S>(
    shared: Arc<Shared<H>>,
    mut link: Link<S>,
    peer: Peer,
    identity: Arc<H::Identity>,
    version: Version,
    connect: &Connect,
    will: Option<Message>,
    attached: Attached,
) -> Connection<H, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = &shared.config;
    let Attached { session, mut state, present } = attached;

    let asked = Duration::from_secs(u64::from(connect.keep_alive));
    let keep_alive = if version == Version::V5 && (asked.is_zero() || asked > config.max_keep_alive) {
        config.max_keep_alive
    } else {
        asked
    };
    state.expiry = Duration::from_secs(u64::from(connect.session_expiry_interval_secs)).min(config.max_session_expiry);
    state.inbound.set_announced(version == Version::V5);
    state.outbound.set_window(match version {
        Version::V5 => connect.receive_max.map_or(config.max_in_flight, NonZeroU16::get).min(config.receive_maximum),
        Version::V3 => config.max_in_flight,
    });
    if let Some(limit) = connect.max_packet_size {
        link.codec().set_max_outbound(limit.get());
    }
    let expiry_changed = state.expiry.as_secs() != u64::from(connect.session_expiry_interval_secs);
    let ack = ConnectAck {
        session_present: present,
        reason_code: ConnectAckReason::Success,
        session_expiry_interval_secs: expiry_changed.then_some(state.expiry.as_secs() as u32),
        receive_max: NonZeroU16::new(config.receive_maximum).unwrap_or(NonZeroU16::MIN),
        max_packet_size: Some(config.max_packet_size),
        topic_alias_max: 0,
        shared_subscription_available: false,
        subscription_identifiers_available: false,
        server_keepalive_sec: (keep_alive != asked).then_some(keep_alive.as_secs() as u16),
        ..ConnectAck::default()
    };
    // Small packets into an empty buffer; a client whose Maximum Packet Size is below a CONNACK hears nothing.
    let _ = link.send(Packet::ConnectAck(Box::new(ack)));
    let resend = state.outbound.in_order().into_iter().map(|(packet_id, _)| packet_id).collect();
    let now = Instant::now();
    let silence_limit = (!keep_alive.is_zero()).then(|| keep_alive + keep_alive / 2);
    Connection {
        link,
        peer,
        identity,
        version,
        session,
        state,
        will,
        silence_limit,
        last_received: now,
        last_progress: now,
        write_blocked_since: None,
        resend,
        retained: RetainedQueue::default(),
        held_bytes: 0,
        clock: clock(now),
        shared,
    }
}

/// The word of farewell to an MQTT 5 client.
pub(super) fn goodbye(reason_code: DisconnectReasonCode) -> Packet {
    Packet::Disconnect(Disconnect { reason_code, ..Disconnect::default() })
}
