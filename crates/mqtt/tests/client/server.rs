//! The scripted server.

use std::num::NonZeroU16;
use std::time::Duration;

use tesaiot_mqtt::client::{Connected, Options, connect};
use tesaiot_mqtt::link::LinkError;
use tesaiot_mqtt::packet::{
    Connect, ConnectAck, Packet, PacketId, Publish, PublishAck2Reason, PublishAckReason, publish_ack, publish_ack2,
};
use tesaiot_mqtt::{Codec, Link, Message, QoS, Version};
use tokio::io::DuplexStream;
use tokio::time::timeout;

/// Longer than every deadline of the client.
const NEVER: Duration = Duration::from_secs(600);

pub const BOTH: [Version; 2] = [Version::V3, Version::V5];

pub struct Server {
    pub link: Link<DuplexStream>,
}

pub fn options(version: Version) -> Options {
    Options { version, ..Options::new("d") }
}

/// A connected client and its server.
pub async fn pair(options: Options) -> (Connected, Server) {
    pair_with(options, ConnectAck::default(), 64 * 1024).await
}

pub async fn pair_with(options: Options, ack: ConnectAck, buffer: usize) -> (Connected, Server) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let mut server = Server::new(theirs);
    let answer = async {
        server.connect().await;
        server.send(Packet::ConnectAck(Box::new(ack))).await;
    };
    let (connected, ()) = tokio::join!(connect(ours, options), answer);
    (connected.unwrap(), server)
}

impl Server {
    pub fn new(stream: DuplexStream) -> Self {
        Self { link: Link::new(stream, Codec::server(16 * 1024 * 1024)) }
    }

    pub async fn connect(&mut self) -> Box<Connect> {
        match self.receive().await {
            Packet::Connect(connect) => connect,
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    pub async fn send(&mut self, packet: Packet) {
        self.link.send(packet).unwrap();
        self.link.flush().await.unwrap();
    }

    pub async fn receive(&mut self) -> Packet {
        self.next().await.expect("a packet")
    }

    pub async fn next(&mut self) -> Result<Packet, LinkError> {
        timeout(NEVER, self.link.receive()).await.expect("nothing came")
    }

    pub async fn expect_publish(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => *publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    /// Nothing comes, and the connection stays.
    pub async fn expect_silence(&mut self) {
        if let Ok(packet) = timeout(Duration::from_secs(1), self.link.receive()).await {
            panic!("{packet:?} instead of silence");
        }
    }

    pub async fn expect_puback(&mut self, packet_id: u16) {
        match self.receive().await {
            Packet::PublishAck(ack) => assert_eq!(ack.packet_id.get(), packet_id),
            other => panic!("{other:?} instead of PUBACK"),
        }
    }

    pub async fn puback(&mut self, packet_id: PacketId, reason: PublishAckReason) {
        self.send(Packet::PublishAck(publish_ack(packet_id, reason))).await;
    }

    pub async fn pubrec(&mut self, packet_id: PacketId, reason: PublishAckReason) {
        self.send(Packet::PublishReceived(publish_ack(packet_id, reason))).await;
    }

    pub async fn pubcomp(&mut self, packet_id: PacketId) {
        self.send(Packet::PublishComplete(publish_ack2(packet_id, PublishAck2Reason::Success))).await;
    }

    /// A message for the client; identifier 0 is QoS 0.
    pub async fn publish(&mut self, packet_id: u16) {
        let qos = if packet_id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let publish = message(qos).to_publish(qos, NonZeroU16::new(packet_id), false, false);
        self.send(Packet::Publish(Box::new(publish))).await;
    }
}

pub fn message(qos: QoS) -> Message {
    Message::new("d/t", "payload", qos)
}
