//! The answer to CONNECT, and the connection it begins.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_mqtt::Message;
use tesaiot_mqtt::alias::{ReceivedAliases, SentAliases};
use tesaiot_mqtt::link::Link;
use tesaiot_mqtt::packet::{Connect, ConnectAck, ConnectAckReason, Packet, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::throttle::Throttle;
use super::{Connection, clock};
use crate::Shared;
use crate::host::{Host, Peer};
use crate::retained::RetainedQueue;
use crate::sessions::Attached;
use crate::storage::Fences;

/// Answers CONNECT.
#[expect(clippy::too_many_arguments, reason = "everything a connection is made of, once")]
pub(super) fn establish<H: Host, S>(
    shared: Arc<Shared<H>>,
    mut link: Link<S>,
    peer: Peer,
    identity: Arc<H::Identity>,
    version: Version,
    connect: &Connect,
    assigned: Option<String>,
    will: Option<Message>,
    attached: Attached,
) -> Connection<H, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = &shared.config;
    let Attached { session, mut state, present, position } = attached;

    let asked = Duration::from_secs(u64::from(connect.keep_alive));
    let keep_alive = if version == Version::V5 && (asked.is_zero() || asked > config.max_keep_alive) {
        config.max_keep_alive
    } else {
        asked
    };
    state.expiry = Duration::from_secs(u64::from(connect.session_expiry_interval_secs)).min(config.max_session_expiry);
    if shared.ledger.is_kept() && (session.is_durable() || !state.expiry.is_zero()) {
        let mut batch = shared.ledger.batch();
        batch.session(&session.client_id, &state.record(None));
        batch.will_gone(&session.client_id);
        drop(batch);
        session.set_durable(true);
    }
    let mut fences = Fences::default();
    fences.require(&shared.ledger, position, link.end_of_output());
    state.inbound.set_announced(version == Version::V5);
    state.outbound.set_window(match version {
        Version::V5 => connect.receive_max.map_or(config.max_in_flight, NonZeroU16::get).min(config.receive_maximum),
        Version::V3 => config.max_in_flight,
    });
    let expiry_changed = state.expiry.as_secs() != u64::from(connect.session_expiry_interval_secs);
    let ack = ConnectAck {
        session_present: present,
        reason_code: ConnectAckReason::Success,
        session_expiry_interval_secs: expiry_changed.then_some(state.expiry.as_secs() as u32),
        receive_max: NonZeroU16::new(config.receive_maximum).unwrap_or(NonZeroU16::MIN),
        max_packet_size: Some(config.max_packet_size),
        assigned_client_id: assigned.map(Into::into),
        topic_alias_max: config.topic_alias_maximum,
        // MQTT-3.1.2-28: not for those who did not ask.
        response_info: connect
            .request_response_info
            .then(|| shared.host.response_information(&identity))
            .flatten()
            .map(Into::into),
        user_properties: config
            .announcements
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
        server_keepalive_sec: (keep_alive != asked).then_some(keep_alive.as_secs() as u16),
        ..ConnectAck::default()
    };
    // Small packets into an empty buffer; a client whose Maximum Packet Size is below a CONNACK hears nothing.
    let _ = link.send(Packet::ConnectAck(Box::new(ack)));
    let resend = state.outbound.in_order().into_iter().map(|(packet_id, _)| packet_id).collect();
    let will_delay = connect.last_will.as_ref().and_then(|will| will.will_delay_interval_sec).unwrap_or(0);
    let throttle = Throttle::new(config, || shared.limits.clients.resume(&session.client_id));
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
        will_delay: Duration::from_secs(u64::from(will_delay)),
        silence_limit,
        explains: connect.request_problem_info,
        may_expire_later: connect.session_expiry_interval_secs > 0,
        received_aliases: ReceivedAliases::new(config.topic_alias_maximum),
        sent_aliases: SentAliases::new(connect.topic_alias_max.min(config.topic_alias_maximum)),
        misformed: Vec::new(),
        last_received: now,
        last_progress: now,
        write_blocked_since: None,
        resend,
        retained: RetainedQueue::default(),
        held_bytes: 0,
        throttle,
        fences,
        clock: clock(now),
        shared,
    }
}
