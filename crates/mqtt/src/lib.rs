//! MQTT 3.1.1 and 5 over any byte stream, for both ends of the wire.
//!
//! | Module | Is |
//! |---|---|
//! | [`codec`] | bytes ⇄ [`Packet`], one version-neutral packet for 3.1.1 and 5 |
//! | [`link`] | a codec on a stream: one read buffer, coalesced writes |
//! | [`topic`] | topic names and filters: validity and matching |
//! | [`message`] | an application message, independent of the connection it came by |
//! | [`alias`] | topic aliases, in both directions |
//! | [`inbound`] | what a receiver remembers of QoS 1 and 2: acknowledgements held and sent in order |
//! | [`outbound`] | what a sender remembers of QoS 1 and 2: packet identifiers and the in-flight window |
//! | [`client`] | connect, publish → awaited acknowledgement, subscribe, reconnect |
//!
//! The packets themselves are decoded and encoded by `rmqtt-codec`; the state of a session is ours,
//! because when an acknowledgement leaves is what this product is about.

pub mod alias;
pub mod backoff;
pub mod client;
pub mod codec;
pub mod inbound;
pub mod link;
pub mod message;
pub mod outbound;
pub mod packet;
pub mod topic;

pub use codec::{Codec, ProtocolError};
pub use link::Link;
pub use message::Message;
pub use packet::{Packet, QoS, Version};
