//! What a receiver remembers of QoS 1 and 2 messages until they are acknowledged.
//!
//! An acknowledgement is *held* until the message's outcome is known, and acknowledgements leave in the order in
//! which the messages came (MQTT-4.6.0-2, MQTT-4.6.0-3), however the outcomes arrive.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::codec::{ProtocolError, is_refusal};
use crate::packet::{PacketId, PublishAck2Reason, PublishAckReason, QoS};

/// Names one held acknowledgement of one connection.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What to do with a PUBLISH that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Never seen: process it and [`Inbound::complete`] the ticket.
    New(Ticket),
    /// A redelivery of a message that is already safe: its acknowledgement is queued, do not process it again.
    Known,
    /// A redelivery of a message still being processed: its acknowledgement will come.
    InProgress,
}

/// An acknowledgement whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The packet it answers.
    pub packet_id: PacketId,
    /// [`QoS::AtLeastOnce`] is answered by PUBACK, [`QoS::ExactlyOnce`] by PUBREC.
    pub qos: QoS,
    /// Success or the reason of refusal.
    pub reason: PublishAckReason,
}

#[derive(Debug)]
struct Held<T> {
    packet_id: PacketId,
    qos: QoS,
    fate: Option<Fate>,
    item: Option<T>,
    /// Whether it is counted in [`Inbound::repeated`].
    repeated: bool,
}

/// What is known of a held message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is answered with this reason.
    Answer(PublishAckReason),
    /// It is never answered.
    Abandoned,
}

/// A message that was answered for good: QoS 1, or QoS 2 that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The packet it answered.
    pub packet_id: PacketId,
    /// Of the message.
    pub qos: QoS,
    /// Of topic and payload: [`fingerprint`].
    pub fingerprint: u64,
    /// How.
    pub reason: PublishAckReason,
}

/// The receiving half of a session. `T` is what the owner wants back with the acknowledgement of a message.
#[derive(Debug)]
pub struct Inbound<T> {
    /// Held acknowledgements, oldest first. The oldest has ticket `first`.
    held: VecDeque<Held<T>>,
    first: u64,
    /// How many of the held ones answer a QoS 2 message again: its identifier is among the unreleased already.
    repeated: usize,
    /// QoS 2 identifiers that were answered by PUBREC and await PUBREL (MQTT-4.3.3-10).
    unreleased: Vec<PacketId>,
    /// Messages of this session that were answered lately, and how: an acknowledgement that was lost on the way makes the
    /// client send the same message again, marked DUP.
    recent: VecDeque<Answered>,
    receive_maximum: u16,
    /// Whether the peer knows the receive maximum (MQTT 5), which then counts QoS 2 messages until PUBREL.
    announced: bool,
}

impl<T> Inbound<T> {
    /// `receive_maximum`: messages the peer may have unacknowledged at a time.
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            held: VecDeque::new(),
            first: 0,
            repeated: 0,
            unreleased: Vec::new(),
            recent: VecDeque::new(),
            receive_maximum: receive_maximum.max(1),
            announced: true,
        }
    }

    /// Whether the peer was told the receive maximum: MQTT 5 was, 3.1.1 cannot be. A peer that was not told may
    /// await any number of PUBCOMPs (its PUBRELs stand behind its next messages), and the owner stops reading while
    /// [`Inbound::is_full`].
    pub fn set_announced(&mut self, announced: bool) {
        self.announced = announced;
    }

    /// What a resumed session keeps: identifiers and fingerprints, not held acknowledgements, whose messages the
    /// client will send again.
    #[must_use]
    pub fn into_resumed(mut self, receive_maximum: u16) -> Self {
        self.first += self.held.len() as u64;
        self.held.clear();
        self.repeated = 0;
        self.receive_maximum = receive_maximum.max(1);
        self
    }

    /// What of a session outlives the process: identifiers that await PUBREL.
    pub fn unreleased(&self) -> &[PacketId] {
        &self.unreleased
    }

    /// What of a session outlives the process: messages answered lately, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = Answered> {
        self.recent.iter().copied()
    }

    /// Gives a new session what an earlier process knew of it: of `recent`, oldest first, the newest that there is room
    /// for.
    pub fn restore(&mut self, unreleased: Vec<PacketId>, recent: impl IntoIterator<Item = Answered>) {
        self.unreleased = unreleased;
        self.recent.clear();
        recent.into_iter().for_each(|answered| self.remember(answered));
    }

    /// A session that starts clean. Tickets go on counting, so that a late outcome of the session before names
    /// nothing in this one.
    #[must_use]
    pub fn into_fresh(self, receive_maximum: u16) -> Self {
        Self { first: self.first + self.held.len() as u64, ..Self::new(receive_maximum) }
    }

    /// Messages whose outcome is not known or not yet sent.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether another QoS 1 or 2 message would exceed the receive maximum. MQTT 3.1.1 has no such number: the
    /// owner stops reading instead.
    pub fn is_full(&self) -> bool {
        // To its sender a message that it sends again is one message, as before.
        let unreleased = if self.announced { self.unreleased.len().saturating_sub(self.repeated) } else { 0 };
        self.held.len() + unreleased >= usize::from(self.receive_maximum)
    }

    /// Registers a QoS 1 or 2 PUBLISH. `fingerprint` identifies topic and payload ([`fingerprint`]).
    ///
    /// # Errors
    /// [`ProtocolError::ReceiveMaximumExceeded`] (MQTT-3.3.4-9).
    pub fn arrive(
        &mut self,
        packet_id: PacketId,
        qos: QoS,
        dup: bool,
        fingerprint: Option<u64>,
        item: T,
    ) -> Result<Arrival, ProtocolError> {
        if qos == QoS::ExactlyOnce {
            if self.unreleased.contains(&packet_id) {
                self.bound_redeliveries()?;
                self.hold(packet_id, qos, Some(Fate::Answer(PublishAckReason::Success)), None);
                self.repeated += 1;
                self.held.back_mut().into_iter().for_each(|held| held.repeated = true);
                return Ok(Arrival::Known);
            }
            if self.is_held(packet_id, qos) {
                return Ok(Arrival::InProgress);
            }
        } else if dup && self.is_held(packet_id, qos) {
            // The identifier is in use (MQTT-2.2.1-3): a client that lost patience says the same again.
            return Ok(Arrival::InProgress);
        }
        if dup
            && let Some(fingerprint) = fingerprint
            && let Some(known) = self
                .recent
                .iter()
                .find(|known| (known.packet_id, known.qos, known.fingerprint) == (packet_id, qos, fingerprint))
        {
            let reason = known.reason;
            self.bound_redeliveries()?;
            self.hold(packet_id, qos, Some(Fate::Answer(reason)), None);
            return Ok(Arrival::Known);
        }
        if self.is_full() {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        }
        // The client knows the answer to the message before: it uses its identifier for another.
        self.recent.retain(|known| known.packet_id != packet_id);
        Ok(Arrival::New(self.hold(packet_id, qos, None, Some(item))))
    }

    fn is_held(&self, packet_id: PacketId, qos: QoS) -> bool {
        self.held.iter().any(|held| held.qos == qos && held.packet_id == packet_id)
    }

    /// Redeliveries wait behind held acknowledgements; a peer that repeats itself for ever is not remembered for
    /// ever.
    fn bound_redeliveries(&self) -> Result<(), ProtocolError> {
        if self.held.len() >= usize::from(self.receive_maximum) {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        }
        Ok(())
    }

    fn hold(&mut self, packet_id: PacketId, qos: QoS, fate: Option<Fate>, item: Option<T>) -> Ticket {
        self.held.push_back(Held { packet_id, qos, fate, item, repeated: false });
        Ticket(self.first + self.held.len() as u64 - 1)
    }

    /// Records the outcome of a message. Late tickets of an earlier connection are ignored.
    pub fn complete(&mut self, ticket: Ticket, reason: PublishAckReason) {
        self.decide(ticket, Fate::Answer(reason));
    }

    /// Gives up a message that is not safe: it is never answered, and no longer waited for.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.decide(ticket, Fate::Abandoned);
    }

    fn decide(&mut self, ticket: Ticket, fate: Fate) {
        if let Some(index) = ticket.0.checked_sub(self.first)
            && let Some(held) = self.held.get_mut(index as usize)
        {
            held.fate = Some(fate);
        }
    }

    /// The next acknowledgement that may leave: the oldest, once its outcome is known. The item comes with it,
    /// unless it answers a redelivery ([`Arrival::Known`]).
    pub fn next_acknowledgement(&mut self) -> Option<(Acknowledgement, Option<T>)> {
        loop {
            let fate = self.held.front()?.fate?;
            let held = self.held.pop_front()?;
            self.first += 1;
            self.repeated -= usize::from(held.repeated);
            let Fate::Answer(reason) = fate else { continue };
            // MQTT-4.3.3-9: a refused QoS 2 message needs no PUBREL; its identifier is free at once. 3.1.1 does not hear
            // that it was refused, and releases it.
            let awaits_release = !is_refusal(reason) || !self.announced;
            if held.qos == QoS::ExactlyOnce && awaits_release && !self.unreleased.contains(&held.packet_id) {
                self.unreleased.push(held.packet_id);
            }
            return Some((Acknowledgement { packet_id: held.packet_id, qos: held.qos, reason }, held.item));
        }
    }

    /// Remembers a message that was answered for good, so that its redelivery within the session is recognised and gets
    /// the same answer.
    pub fn remember(&mut self, answered: Answered) {
        if self.recent.len() >= usize::from(self.receive_maximum) {
            self.recent.pop_front();
        }
        self.recent.push_back(answered);
    }

    /// PUBREL arrived: the reason code of the PUBCOMP.
    pub fn release(&mut self, packet_id: PacketId) -> PublishAck2Reason {
        match self.unreleased.iter().position(|known| *known == packet_id) {
            Some(index) => {
                self.unreleased.swap_remove(index);
                PublishAck2Reason::Success
            }
            None => PublishAck2Reason::PacketIdNotFound,
        }
    }
}

/// Identifies a message within a session: equal topics and payloads have equal fingerprints.
pub fn fingerprint(topic: &str, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    payload.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not zero")
    }

    fn arrive(inbound: &mut Inbound<()>, packet_id: u16, qos: QoS) -> Ticket {
        match inbound.arrive(id(packet_id), qos, false, None, ()) {
            Ok(Arrival::New(ticket)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn answered(packet_id: u16, qos: QoS, fingerprint: u64, reason: PublishAckReason) -> Answered {
        Answered { packet_id: id(packet_id), qos, fingerprint, reason }
    }

    #[test]
    fn acknowledgements_leave_in_order_of_arrival() {
        let mut inbound = Inbound::new(10);
        let first = arrive(&mut inbound, 7, QoS::AtLeastOnce);
        let second = arrive(&mut inbound, 3, QoS::ExactlyOnce);
        inbound.complete(second, PublishAckReason::Success);
        assert_eq!(inbound.next_acknowledgement(), None, "the older one is not known yet");
        inbound.complete(first, PublishAckReason::NotAuthorized);
        let order: Vec<_> = std::iter::from_fn(|| inbound.next_acknowledgement().map(|(ack, _)| ack)).collect();
        assert_eq!(
            order,
            [
                Acknowledgement { packet_id: id(7), qos: QoS::AtLeastOnce, reason: PublishAckReason::NotAuthorized },
                Acknowledgement { packet_id: id(3), qos: QoS::ExactlyOnce, reason: PublishAckReason::Success },
            ]
        );
    }

    #[test]
    fn an_abandoned_message_is_never_answered() {
        let mut inbound = Inbound::new(10);
        let first = arrive(&mut inbound, 1, QoS::AtLeastOnce);
        let second = arrive(&mut inbound, 2, QoS::AtLeastOnce);
        inbound.complete(second, PublishAckReason::Success);
        inbound.abandon(first);
        assert_eq!(inbound.next_acknowledgement().map(|(ack, _)| ack.packet_id), Some(id(2)));
        assert_eq!(inbound.held(), 0);
    }

    #[test]
    fn a_qos_2_identifier_is_processed_once_until_released() {
        let mut inbound = Inbound::new(10);
        let ticket = arrive(&mut inbound, 1, QoS::ExactlyOnce);
        assert_eq!(inbound.arrive(id(1), QoS::ExactlyOnce, true, None, ()).unwrap(), Arrival::InProgress);
        inbound.complete(ticket, PublishAckReason::Success);
        assert!(inbound.next_acknowledgement().is_some());
        assert_eq!(inbound.arrive(id(1), QoS::ExactlyOnce, true, None, ()).unwrap(), Arrival::Known);
        assert!(inbound.next_acknowledgement().is_some(), "PUBREC is sent again");
        assert_eq!(inbound.release(id(1)), PublishAck2Reason::Success);
        assert_eq!(inbound.release(id(1)), PublishAck2Reason::PacketIdNotFound);
        arrive(&mut inbound, 1, QoS::ExactlyOnce);
    }

    #[test]
    fn the_receive_maximum_counts_unreleased_messages() {
        let mut inbound = Inbound::new(2);
        let ticket = arrive(&mut inbound, 1, QoS::ExactlyOnce);
        inbound.complete(ticket, PublishAckReason::Success);
        inbound.next_acknowledgement();
        arrive(&mut inbound, 2, QoS::AtLeastOnce);
        assert!(inbound.is_full());
        assert!(matches!(
            inbound.arrive(id(3), QoS::AtLeastOnce, false, None, ()),
            Err(ProtocolError::ReceiveMaximumExceeded)
        ));
    }

    #[test]
    fn a_resumed_client_may_send_a_whole_window_again() {
        const WINDOW: u16 = 10;
        let mut inbound = Inbound::new(WINDOW);
        for packet_id in 1..=6 {
            let ticket = arrive(&mut inbound, packet_id, QoS::ExactlyOnce);
            inbound.complete(ticket, PublishAckReason::Success);
            inbound.next_acknowledgement();
        }
        // The PUBRECs were lost. A message that was not stored comes first and holds up the answers to the others.
        let mut resumed = inbound.into_resumed(WINDOW);
        let first = arrive(&mut resumed, 10, QoS::ExactlyOnce);
        for packet_id in 1..=6 {
            assert_eq!(resumed.arrive(id(packet_id), QoS::ExactlyOnce, true, None, ()).unwrap(), Arrival::Known);
        }
        for packet_id in 7..=9 {
            arrive(&mut resumed, packet_id, QoS::AtLeastOnce);
        }
        let one_more = resumed.arrive(id(11), QoS::AtLeastOnce, false, None, ());
        assert!(matches!(one_more, Err(ProtocolError::ReceiveMaximumExceeded)), "{one_more:?}");
        resumed.complete(first, PublishAckReason::Success);
        assert_eq!(std::iter::from_fn(|| resumed.next_acknowledgement()).count(), 7);
        assert_eq!((resumed.held(), resumed.unreleased().len()), (3, 7));
        assert!(resumed.is_full());
    }

    #[test]
    fn a_redelivery_after_a_lost_puback_is_recognised_in_a_resumed_session() {
        let mut inbound = Inbound::new(10);
        let same = fingerprint("t", b"payload");
        let ticket = arrive(&mut inbound, 5, QoS::AtLeastOnce);
        inbound.complete(ticket, PublishAckReason::Success);
        inbound.next_acknowledgement();
        inbound.remember(answered(5, QoS::AtLeastOnce, same, PublishAckReason::Success));
        let mut resumed = inbound.into_resumed(10);
        assert_eq!(resumed.arrive(id(5), QoS::AtLeastOnce, true, Some(same), ()).unwrap(), Arrival::Known);
        assert!(resumed.next_acknowledgement().is_some());
        let other = fingerprint("t", b"another");
        assert!(matches!(resumed.arrive(id(5), QoS::AtLeastOnce, true, Some(other), ()), Ok(Arrival::New(_))));
    }

    #[test]
    fn of_more_than_there_is_room_for_the_newest_answers_are_restored() {
        let mut inbound: Inbound<()> = Inbound::new(2);
        let known = |packet_id| answered(packet_id, QoS::AtLeastOnce, 7, PublishAckReason::Success);
        inbound.restore(vec![id(9)], (1..=5).map(known));
        assert_eq!(inbound.recent().collect::<Vec<_>>(), [known(4), known(5)]);
        assert_eq!(inbound.unreleased(), [id(9)]);
    }

    #[test]
    fn a_refused_qos_2_message_is_recognised_and_its_identifier_is_free() {
        const REASON: PublishAckReason = PublishAckReason::PayloadFormatInvalid;
        let same = fingerprint("t", b"payload");
        for announced in [true, false] {
            let mut inbound = Inbound::new(10);
            inbound.set_announced(announced);
            let ticket = arrive(&mut inbound, 5, QoS::ExactlyOnce);
            inbound.complete(ticket, REASON);
            inbound.next_acknowledgement();
            assert_eq!(inbound.unreleased().len(), usize::from(!announced), "3.1.1 releases it");
            inbound.remember(answered(5, QoS::ExactlyOnce, same, REASON));
            assert_eq!(inbound.arrive(id(5), QoS::ExactlyOnce, true, Some(same), ()).unwrap(), Arrival::Known);
            let (again, _) = inbound.next_acknowledgement().unwrap();
            assert_eq!(again.reason, if announced { REASON } else { PublishAckReason::Success });
            inbound.release(id(5));
            // Without DUP it is another message, and what was known of the one before is over.
            assert!(matches!(inbound.arrive(id(5), QoS::ExactlyOnce, false, Some(same), ()), Ok(Arrival::New(_))));
            assert_eq!(inbound.recent().count(), 0);
        }
    }
}
