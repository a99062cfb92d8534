//! What a sender remembers of QoS 1 and 2 messages until they are acknowledged: packet identifiers and the
//! in-flight window (receive maximum of the peer).

use std::collections::HashMap;

use crate::packet::{PacketId, QoS};

/// One message on its way.
#[derive(Debug)]
pub struct InFlight<T> {
    /// The owner's message.
    pub item: T,
    /// Quality of service it was sent with.
    pub qos: QoS,
    /// QoS 2 after PUBREC: PUBREL was sent, PUBCOMP is awaited.
    pub released: bool,
    order: u64,
}

/// The sending half of a session.
#[derive(Debug)]
pub struct Outbound<T> {
    in_flight: HashMap<PacketId, InFlight<T>>,
    last_id: u16,
    next_order: u64,
    window: u16,
}

impl<T> Outbound<T> {
    /// `window`: messages that may be unacknowledged at a time.
    pub fn new(window: u16) -> Self {
        Self { in_flight: HashMap::new(), last_id: 0, next_order: 0, window: window.max(1) }
    }

    /// Changes the window, when a resumed session meets a peer with another receive maximum.
    pub fn set_window(&mut self, window: u16) {
        self.window = window.max(1);
    }

    /// Messages that may be unacknowledged at a time.
    pub fn window(&self) -> usize {
        usize::from(self.window)
    }

    /// Messages not yet acknowledged.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether another message must wait.
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= usize::from(self.window)
    }

    /// Takes an identifier for `item`, or gives it back when the window is full.
    pub fn start(&mut self, item: T, qos: QoS) -> Result<PacketId, T> {
        if self.is_full() {
            return Err(item);
        }
        let packet_id = self.free_id();
        let order = self.next_order;
        self.next_order += 1;
        self.in_flight.insert(packet_id, InFlight { item, qos, released: false, order });
        Ok(packet_id)
    }

    /// Puts back what an earlier process had in flight, in the order it was sent. The window does not count here.
    pub fn restore(&mut self, packet_id: PacketId, item: T, qos: QoS, released: bool) {
        let order = self.next_order;
        self.next_order += 1;
        self.in_flight.insert(packet_id, InFlight { item, qos, released, order });
    }

    /// An identifier not in use (MQTT-2.2.1-3). There is one: the window is at most 65,535 and not full.
    pub fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(packet_id) = PacketId::new(self.last_id)
                && !self.in_flight.contains_key(&packet_id)
            {
                return packet_id;
            }
        }
    }

    /// PUBACK, PUBCOMP or a refusing PUBREC arrived: the message is done. `None` for an unknown identifier.
    pub fn finish(&mut self, packet_id: PacketId) -> Option<T> {
        self.in_flight.remove(&packet_id).map(|in_flight| in_flight.item)
    }

    /// PUBREC arrived. Returns false for an identifier that is not an unreleased QoS 2 message.
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        match self.in_flight.get_mut(&packet_id) {
            Some(in_flight) if in_flight.qos == QoS::ExactlyOnce => {
                in_flight.released = true;
                true
            }
            _ => false,
        }
    }

    /// Everything in flight, in no order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.in_flight.values().map(|in_flight| &in_flight.item)
    }

    /// The message with this identifier.
    pub fn get(&self, packet_id: PacketId) -> Option<&InFlight<T>> {
        self.in_flight.get(&packet_id)
    }

    /// Everything in flight in the order it was sent: what a resumed session sends again (MQTT-4.4.0-1).
    pub fn in_order(&self) -> Vec<(PacketId, &InFlight<T>)> {
        let mut all: Vec<_> = self.in_flight.iter().map(|(id, in_flight)| (*id, in_flight)).collect();
        all.sort_unstable_by_key(|(_, in_flight)| in_flight.order);
        all
    }

    /// Takes everything out, oldest first.
    pub fn drain(&mut self) -> Vec<T> {
        let mut all: Vec<_> = self.in_flight.drain().map(|(_, in_flight)| in_flight).collect();
        all.sort_unstable_by_key(|in_flight| in_flight.order);
        all.into_iter().map(|in_flight| in_flight.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_bounds_and_identifiers_are_reused_only_when_free() {
        let mut outbound = Outbound::new(2);
        let first = outbound.start("a", QoS::AtLeastOnce).unwrap();
        let second = outbound.start("b", QoS::ExactlyOnce).unwrap();
        assert_ne!(first, second);
        assert_eq!(outbound.start("c", QoS::AtLeastOnce), Err("c"));
        assert!(!outbound.release(first), "a QoS 1 message is never released");
        assert!(outbound.release(second));
        assert_eq!(outbound.finish(first), Some("a"));
        assert_eq!(outbound.finish(first), None);
        outbound.last_id = u16::MAX;
        assert_eq!(outbound.start("d", QoS::AtLeastOnce).unwrap().get(), 1, "zero is skipped");
        assert_eq!(outbound.in_order().iter().map(|(_, f)| f.item).collect::<Vec<_>>(), ["b", "d"]);
    }

    #[test]
    fn a_window_of_all_identifiers_fills_and_empties() {
        let mut outbound = Outbound::new(u16::MAX);
        for n in 0..u32::from(u16::MAX) {
            outbound.start(n, QoS::AtLeastOnce).unwrap();
        }
        assert!(outbound.is_full());
        assert_eq!(outbound.drain(), (0..u32::from(u16::MAX)).collect::<Vec<_>>());
    }
}
