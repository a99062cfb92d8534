//! CONNECT: who is it, may it, which session.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_mqtt::codec::{Codec, ProtocolError, packet_name};
use tesaiot_mqtt::link::{Link, LinkError};
use tesaiot_mqtt::packet::{Connect, ConnectAck, ConnectAckReason, Packet, Version};
use tesaiot_mqtt::{Message, topic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Connection;
use super::establish::establish;
use crate::counters::increment;
use crate::host::{Action, Connecting, Event, Host, Peer, Refusal};
use crate::inspect::Connected;
use crate::{Shared, wills};

/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads CONNECT and answers it. The connection is on the heap: its task would hold it twice, as what comes of this step
/// and as what the next works on. `None` when no session began; the client and the host were told why.
pub(super) async fn connect<H: Host, S>(shared: Arc<Shared<H>>, stream: S, peer: Peer) -> Option<Box<Connection<H, S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut link = Link::new(stream, Codec::server(shared.config.max_packet_size));
    let connect = tokio::select! {
        () = shared.draining.cancelled() => return None,
        connect = first_packet(&shared, &mut link) => connect,
    };
    let mut connect = match connect {
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
            if let LinkError::Protocol(error) = &error
                && let Some(reason) = answer(error, link.codec().version())
            {
                refuse(&mut link, reason, None).await;
            }
            return None;
        }
    };
    let version = link.codec().version()?;
    if let Some(limit) = connect.max_packet_size {
        link.codec().set_max_outbound(limit.get());
    }
    let claimed = connect.client_id.clone();
    let assigned = claimed.is_empty().then(|| shared.assigned.next());
    if let Some(assigned) = &assigned {
        connect.client_id = assigned.as_str().into();
    }
    let reject = async |link: &mut Link<S>, reason, cause: &str| {
        increment(&shared.counters.connects_refused);
        observe_refusal(&shared, &peer, Some(&claimed), cause);
        // Where the code says it all, and to all alike, words would add nothing.
        let is_plain =
            matches!(reason, ConnectAckReason::BadUserNameOrPassword | ConnectAckReason::ClientIdentifierNotValid);
        refuse(link, reason, (connect.request_problem_info && !is_plain).then_some(cause)).await;
    };

    if connect.auth_method.is_some() {
        reject(&mut link, ConnectAckReason::BadAuthenticationMethod, "enhanced authentication is not offered").await;
        return None;
    }
    let from = peer.address.ip();
    if assigned.is_none() && !shared.limits.clients.may_connect(from, &connect.client_id) {
        increment(&shared.counters.connects_too_often);
        reject(&mut link, ConnectAckReason::ConnectionRateExceeded, "this client connects too often").await;
        return None;
    }
    if !shared.limits.logins.may_try(from, &connect.client_id) {
        increment(&shared.counters.logins_paused);
        reject(&mut link, ConnectAckReason::ConnectionRateExceeded, "too many failed logins").await;
        return None;
    }
    let connecting = Connecting {
        peer: &peer,
        client_id: &connect.client_id,
        assigned: assigned.is_some(),
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        version,
    };
    let words = |refusal| words(refusal, assigned.is_some());
    let evictions = shared.sessions.evictions();
    let mut identity = match shared.host.authenticate(connecting).await {
        Ok(identity) => {
            shared.limits.logins.succeeded(from, &connect.client_id);
            Arc::new(identity)
        }
        Err(refusal) => {
            // A host that cannot decide says nothing against the client.
            if refusal != Refusal::Unavailable {
                shared.limits.logins.failed(from, &connect.client_id);
            }
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
    let name = shared.host.session_name(&identity).map_or_else(|| connect.client_id.clone(), Into::into);
    let attached = shared.sessions.attach(&name, connect.clean_start, &shared.common()).await;
    let Some(attached) = attached else {
        reject(&mut link, ConnectAckReason::ServerBusy, "a newer connection took the session").await;
        return None;
    };
    // From here on an eviction or a drain finds the session. What came before found nothing to close.
    if shared.sessions.evictions() != evictions {
        match shared.host.authenticate(connecting).await {
            Ok(current) => identity = Arc::new(current),
            Err(refusal) => {
                shared.sessions.detach(&attached.session, attached.state, &shared.common());
                let (reason, cause) = words(refusal);
                reject(&mut link, reason, cause).await;
                return None;
            }
        }
    }
    if shared.draining.is_cancelled() {
        shared.sessions.detach(&attached.session, attached.state, &shared.common());
        reject(&mut link, ConnectAckReason::ServerUnavailable, "the broker is shutting down").await;
        return None;
    }
    // MQTT-3.1.3-9: the client is back in time. A session that is not resumed has ended, and its will is due.
    if let Some(will) = shared.wills.take(&name)
        && !attached.present
    {
        wills::spawn(&shared, will);
    }
    attached.session.set_connection(Some(Connected::new(&peer, version)));
    shared.host.observe(Event::Connected { identity: &identity, peer: &peer });
    Some(Box::new(establish(shared, link, peer, identity, version, &connect, assigned, will, attached)))
}

/// What a client hears whose CONNECT cannot be read; `None`: nothing. 3.1.1 has an answer to two mistakes only
/// (MQTT-3.1.2-2, MQTT-3.1.3-8).
fn answer(error: &ProtocolError, version: Option<Version>) -> Option<ConnectAckReason> {
    match (error, version?) {
        (ProtocolError::UnsupportedVersion, _) => Some(ConnectAckReason::UnsupportedProtocolVersion),
        (ProtocolError::NoClientIdentifier, _) => Some(ConnectAckReason::ClientIdentifierNotValid),
        (ProtocolError::NotMqtt, _) | (_, Version::V3) => None,
        (ProtocolError::TooLarge { .. }, _) => Some(ConnectAckReason::PacketTooLarge),
        (ProtocolError::RuleBroken(_), _) => Some(ConnectAckReason::ProtocolError),
        _ => Some(ConnectAckReason::MalformedPacket),
    }
}

/// What a refused client hears, and what the host is told.
fn words(refusal: Refusal, nameless: bool) -> (ConnectAckReason, &'static str) {
    match refusal {
        Refusal::BadCredentials => (ConnectAckReason::BadUserNameOrPassword, "bad credentials"),
        Refusal::NotAuthorized => (ConnectAckReason::NotAuthorized, "not authorized"),
        Refusal::InvalidClientId if nameless => (ConnectAckReason::ClientIdentifierNotValid, "no client identifier"),
        Refusal::InvalidClientId => (ConnectAckReason::ClientIdentifierNotValid, "invalid client identifier"),
        Refusal::QuotaExceeded => (ConnectAckReason::QuotaExceeded, "too many connections of this client"),
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

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    reason_code: ConnectAckReason,
    words: Option<&str>,
) {
    let reason_string = words.map(Into::into);
    let ack = ConnectAck { reason_code, reason_string, ..ConnectAck::default() };
    // The peer is on its way out: whether it hears the reason changes nothing here.
    if link.send(Packet::ConnectAck(Box::new(ack))).is_ok() {
        let _ = timeout(REFUSAL_TIMEOUT, link.close()).await;
    }
}
