//! After the last packet: the farewell, outcomes still outstanding, the Last Will, the session's rest.
//!
//! A message that was handed to the host is stored whether its connection lives or not. The task stays until its
//! outcome is known, because what is stored is delivered to subscribers, and because the next connection of this
//! client must not be told less than the truth about what arrived.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tesaiot_mqtt::link::LinkError;
use tesaiot_mqtt::packet::{Disconnect, DisconnectReasonCode, Packet, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Connection, Ended};
use crate::counters::increment;
use crate::host::{Event, Host, reason_text};
use crate::wills::{self, Will};

/// How long a client may take to read the farewell.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

impl Ended {
    fn cause(&self) -> String {
        match self {
            Self::ByClient { .. } => "disconnected by the client".into(),
            Self::ByBroker(reason) => reason_text(*reason).into(),
            Self::Denied => "published to a topic it may not use".into(),
            Self::PublishesTooMuch => "published more than it may, for too long".into(),
            Self::StoreUnavailable => "a message could not be stored".into(),
            Self::Link(LinkError::Io(error)) => format!("connection failed: {error}"),
            Self::Link(error) => error.to_string(),
        }
    }

    /// What an MQTT 5 client is told; `None` when it spoke last or is gone.
    fn farewell(&self) -> Option<DisconnectReasonCode> {
        match self {
            Self::ByClient { .. } | Self::Link(LinkError::Io(_) | LinkError::Closed) => None,
            Self::ByBroker(reason) => Some(*reason),
            Self::Denied => Some(DisconnectReasonCode::NotAuthorized),
            Self::PublishesTooMuch => Some(DisconnectReasonCode::QuotaExceeded),
            Self::StoreUnavailable => Some(DisconnectReasonCode::ServerBusy),
            Self::Link(LinkError::Protocol(error)) => Some(error.disconnect_reason()),
        }
    }
}

impl<H: Host, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<H, S> {
    pub(super) async fn finish(mut self: Box<Self>, ended: Ended) {
        let cause = ended.cause();
        match &ended {
            Ended::PublishesTooMuch => increment(&self.shared.counters.publish_abused),
            Ended::StoreUnavailable => increment(&self.shared.counters.store_unavailable),
            Ended::Link(LinkError::Protocol(_)) => increment(&self.shared.counters.protocol_errors),
            _ => {}
        }
        let shutting_down = matches!(ended, Ended::ByBroker(DisconnectReasonCode::ServerShuttingDown));
        if shutting_down {
            // A drain is in no hurry: what the host holds is acknowledged before the goodbye.
            self.await_outcomes().await;
            self.await_durable().await;
        }
        if let Some(end) = self.fences.end(&self.shared.ledger) {
            // What it promises may never come true.
            self.link.truncate_output(end);
        }
        if let Some(reason) = ended.farewell()
            && self.version == Version::V5
        {
            let _ = self.link.send(goodbye(reason, self.explains.then_some(&cause)));
        }
        let _ = timeout(FAREWELL_TIMEOUT, self.link.close()).await;

        self.await_outcomes().await;
        let with_will = !matches!(ended, Ended::ByClient { with_will: false });
        if with_will {
            self.leave_will().await;
        }
        let taken_over = matches!(ended, Ended::ByBroker(DisconnectReasonCode::SessionTakenOver));
        let clean = matches!(ended, Ended::ByClient { .. });
        self.shared.host.observe(Event::Disconnected {
            identity: &self.identity,
            peer: &self.peer,
            clean,
            taken_over,
            broke_protocol: matches!(ended, Ended::Link(LinkError::Protocol(_))),
            cause: &cause,
        });
        if let Some(throttle) = &self.throttle {
            self.shared.limits.clients.keep(&self.session.client_id, throttle.left());
        }
        self.shared.sessions.detach(&self.session, self.state, &self.shared.common());
        // Evicted, or one too many: the session has ended, and what was to wait with it is due.
        if !self.shared.sessions.exists(&self.session.client_id)
            && let Some(will) = self.shared.wills.take(&self.session.client_id)
        {
            wills::publish(&self.shared, will).await;
        }
    }

    /// Waits for the outcome of every message the host still holds, and routes what was stored.
    async fn await_outcomes(&mut self) {
        let mailbox = Arc::clone(&self.session.mailbox);
        let deadline = Instant::now() + self.shared.config.acknowledge_timeout;
        while self.state.inbound.held() > 0 {
            let outcomes = timeout_at(deadline, poll_fn(|context| mailbox.poll_resolved(context)));
            let Ok(outcomes) = outcomes.await else { return };
            // The stream may be gone; acknowledgements then go nowhere, and stored messages are routed. What can leave
            // leaves now: the next outcome may never come.
            let _ = self.resolved(outcomes);
            let _ = poll_fn(|context| Poll::Ready(self.poll_write(context))).await;
        }
    }

    /// Waits until everything may leave, and has left.
    async fn await_durable(&mut self) {
        let patience = self.shared.config.acknowledge_timeout;
        let all = poll_fn(|context| {
            let written = self.poll_write(context);
            if written.is_ok() && self.link.pending_output() > 0 { Poll::Pending } else { Poll::Ready(()) }
        });
        let _ = timeout(patience, all).await;
    }

    /// Leaves the Last Will: at once, or for later when the session lives on without a connection.
    async fn leave_will(&mut self) {
        let Some(message) = self.will.take() else { return };
        let (identity, client_id) = (Arc::clone(&self.identity), Arc::clone(&self.session.client_id));
        let mut will = Some(Will { message, identity, client_id });
        // The session may end first (MQTT-3.1.2-8).
        let wait = self.will_delay.min(self.state.expiry);
        if !wait.is_zero()
            && let Some(at) = Instant::now().checked_add(wait)
        {
            if let Some(will) = &will
                && self.session.is_durable()
            {
                self.shared.ledger.batch().will(&will.client_id, &will.message, at);
            }
            will = will.and_then(|will| self.shared.wills.delay(will, at));
        }
        if let Some(will) = will {
            wills::publish(&self.shared, will).await;
        }
    }
}

/// The word of farewell to an MQTT 5 client.
fn goodbye(reason_code: DisconnectReasonCode, words: Option<&String>) -> Packet {
    let reason_string = words.map(|words| words.as_str().into());
    Packet::Disconnect(Disconnect { reason_code, reason_string, ..Disconnect::default() })
}
