//! The packets of MQTT, one type for both versions.
//!
//! MQTT 5 packets are a superset of 3.1.1, so the MQTT 5 types of the codec are the neutral form:
//! a 3.1.1 packet is one without properties and reason codes. [`crate::codec`] translates at the edge.

use std::num::NonZeroU16;

pub use rmqtt_codec::types::{Publish, QoS};
pub use rmqtt_codec::v5::{
    Auth, Connect, ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, LastWill, Packet, PublishAck,
    PublishAck2, PublishAck2Reason, PublishAckReason, PublishProperties, RetainHandling, Subscribe, SubscribeAck,
    SubscribeAckReason, SubscriptionOptions, ToReasonCode, Unsubscribe, UnsubscribeAck, UnsubscribeAckReason,
};

/// A packet identifier: 1 to 65,535 (MQTT-2.2.1-3).
pub type PacketId = NonZeroU16;

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1 (level 4). Clients that say 3.1 (level 3) are served as 3.1.1.
    V3,
    /// MQTT 5 (level 5).
    V5,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Version::V3 => "MQTT 3.1.1",
            Version::V5 => "MQTT 5",
        })
    }
}

/// A positive or negative acknowledgement of one PUBLISH, without text.
pub fn publish_ack(packet_id: PacketId, reason_code: PublishAckReason) -> PublishAck {
    PublishAck { packet_id, reason_code, properties: Vec::new(), reason_string: None }
}

/// The second half of a QoS 2 exchange (PUBREL, PUBCOMP), without text.
pub fn publish_ack2(packet_id: PacketId, reason_code: PublishAck2Reason) -> PublishAck2 {
    PublishAck2 { packet_id, reason_code, properties: Vec::new(), reason_string: None }
}
