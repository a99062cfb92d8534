//! What became of a published message.

use tesaiot_mqtt::packet::PublishAckReason;

/// What a host thinks of a message when it takes it, before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what it should be.
    Deliver,
    /// It is kept aside. QoS 0 has no acknowledgement and no [`Outcome`]: this is how its subscribers are spared.
    Withhold,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is safe. It is acknowledged and delivered to subscribers.
    Stored,
    /// It is safe, and its publisher should know that it was not what it should be: it is kept aside and not
    /// delivered. MQTT 5 hears the reason; 3.1.1 hears a plain acknowledgement.
    Refused(PublishAckReason),
    /// It is not safe. The connection is closed without an acknowledgement, so that the client keeps it.
    Unavailable,
}
