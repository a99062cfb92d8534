//! A client that does exactly what the test says, packet by packet, over a stream in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tesaiot_broker::{Broker, Config, Peer as From};
use tesaiot_mqtt::link::LinkError;
use tesaiot_mqtt::packet::{
    Connect, ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, LastWill, Packet, PacketId, Publish,
    PublishAck2Reason, PublishAckReason, Subscribe, SubscribeAckReason, SubscriptionOptions, publish_ack, publish_ack2,
};
use tesaiot_mqtt::{Codec, Link, Message, QoS, Version};
use tokio::io::DuplexStream;
use tokio::time::timeout;

use crate::host::TestHost;

/// Longer than every deadline of the broker: what has not come by then does not come.
const NEVER: Duration = Duration::from_secs(600);

pub const BOTH: [Version; 2] = [Version::V3, Version::V5];

pub struct Bench {
    pub broker: Broker<TestHost>,
    pub host: TestHost,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let host = TestHost::new();
        Self { broker: Broker::new(host.clone(), config), host }
    }

    /// A stream into the broker, with a buffer of `bytes` in each direction.
    pub fn stream(&self, bytes: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(bytes);
        tokio::spawn(self.broker.serve(theirs, from()));
        ours
    }

    pub fn peer(&self, version: Version) -> Peer {
        Peer { link: Link::new(self.stream(64 * 1024), Codec::client(version, 16 * 1024 * 1024)), version }
    }

    /// The stream of a connected client, to say on it what no client says.
    pub async fn raw(&self, version: Version, connect: Connect) -> DuplexStream {
        let mut stream = self.stream(64 * 1024);
        let mut link = Link::new(&mut stream, Codec::client(version, 1024));
        link.send(Packet::Connect(Box::new(connect))).unwrap();
        link.flush().await.unwrap();
        assert!(matches!(link.receive().await, Ok(Packet::ConnectAck(_))));
        stream
    }

    /// A connected peer; panics when it is refused.
    pub async fn connect(&self, version: Version, client_id: &str) -> Peer {
        self.connect_as(version, connect(client_id)).await.0
    }

    pub async fn connect_as(&self, version: Version, connect: Connect) -> (Peer, Box<ConnectAck>) {
        let mut peer = self.peer(version);
        let ack = peer.connect(connect).await;
        assert_eq!(ack.reason_code, ConnectAckReason::Success);
        (peer, ack)
    }
}

pub fn from() -> From {
    From { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), listener: "test".into(), certificates: Vec::new() }
}

/// A clean session with good credentials.
pub fn connect(client_id: &str) -> Connect {
    Connect {
        clean_start: true,
        client_id: client_id.to_owned().into(),
        username: Some(client_id.to_owned().into()),
        password: Some("secret".into()),
        ..Connect::default()
    }
}

/// A session that outlives its connections, in both versions.
pub fn persistent(client_id: &str) -> Connect {
    Connect { clean_start: false, session_expiry_interval_secs: 3600, ..connect(client_id) }
}

pub fn will(topic: &str) -> Option<LastWill> {
    Some(Message::new(topic.to_owned(), "gone", QoS::AtLeastOnce).to_will())
}

pub fn id(value: u16) -> PacketId {
    NonZeroU16::new(value).unwrap()
}

/// A PUBLISH; packet identifier 0 is QoS 0, otherwise QoS 1.
pub fn publish(topic: &str, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos: if packet_id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
        topic: topic.to_owned().into(),
        packet_id: NonZeroU16::new(packet_id),
        payload: format!("payload {packet_id}").into(),
        properties: None,
    }
}

pub fn publish_2(topic: &str, packet_id: u16) -> Publish {
    Publish { qos: QoS::ExactlyOnce, ..publish(topic, packet_id) }
}

pub struct Peer {
    pub link: Link<DuplexStream>,
    pub version: Version,
}

impl Peer {
    pub async fn send(&mut self, packet: Packet) {
        self.link.send(packet).unwrap();
        self.link.flush().await.unwrap();
    }

    pub async fn connect(&mut self, connect: Connect) -> Box<ConnectAck> {
        self.send(Packet::Connect(Box::new(connect))).await;
        match self.receive().await {
            Packet::ConnectAck(ack) => ack,
            other => panic!("{other:?} instead of CONNACK"),
        }
    }

    pub async fn publish(&mut self, publish: Publish) {
        self.send(Packet::Publish(Box::new(publish))).await;
    }

    /// The next packet.
    pub async fn receive(&mut self) -> Packet {
        self.next().await.expect("a packet")
    }

    async fn next(&mut self) -> Result<Packet, LinkError> {
        timeout(NEVER, self.link.receive()).await.expect("nothing came")
    }

    /// The next packet, which is a PUBACK or PUBREC: its kind, identifier and reason.
    pub async fn acknowledged(&mut self) -> (QoS, u16, PublishAckReason) {
        match self.receive().await {
            Packet::PublishAck(ack) => (QoS::AtLeastOnce, ack.packet_id.get(), ack.reason_code),
            Packet::PublishReceived(ack) => (QoS::ExactlyOnce, ack.packet_id.get(), ack.reason_code),
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }

    /// The next packet is a plain PUBACK of this identifier.
    pub async fn expect_puback(&mut self, packet_id: u16) {
        assert_eq!(self.acknowledged().await, (QoS::AtLeastOnce, packet_id, PublishAckReason::Success));
    }

    /// The next packet is a PUBACK that refuses.
    pub async fn expect_refusal(&mut self, reason: PublishAckReason) -> Option<String> {
        match self.receive().await {
            Packet::PublishAck(ack) => {
                assert_eq!(ack.reason_code, reason);
                ack.reason_string.map(|words| words.to_string())
            }
            other => panic!("{other:?} instead of PUBACK"),
        }
    }

    pub async fn expect_pubrec(&mut self, packet_id: u16) {
        assert_eq!(self.acknowledged().await, (QoS::ExactlyOnce, packet_id, PublishAckReason::Success));
    }

    pub async fn expect_publish(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => *publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    pub async fn release(&mut self, packet_id: u16) -> PublishAck2Reason {
        self.send(Packet::PublishRelease(publish_ack2(id(packet_id), PublishAck2Reason::Success))).await;
        match self.receive().await {
            Packet::PublishComplete(complete) if complete.packet_id.get() == packet_id => complete.reason_code,
            other => panic!("{other:?} instead of PUBCOMP"),
        }
    }

    pub async fn acknowledge(&mut self, packet_id: PacketId) {
        self.send(Packet::PublishAck(publish_ack(packet_id, PublishAckReason::Success))).await;
    }

    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> SubscribeAckReason {
        self.subscribe_with(filter, SubscriptionOptions { qos, ..SubscriptionOptions::default() }).await
    }

    pub async fn subscribe_with(&mut self, filter: &str, options: SubscriptionOptions) -> SubscribeAckReason {
        let topic_filters = vec![(filter.to_owned().into(), options)];
        let (packet_id, user_properties) = (id(9), Vec::new());
        self.send(Packet::Subscribe(Subscribe { packet_id, id: None, user_properties, topic_filters })).await;
        match self.receive().await {
            Packet::SubscribeAck(ack) => ack.status[0],
            other => panic!("{other:?} instead of SUBACK"),
        }
    }

    /// A round trip: everything sent before it has been handled.
    pub async fn ping(&mut self) {
        self.send(Packet::PingRequest).await;
        match self.receive().await {
            Packet::PingResponse => {}
            other => panic!("{other:?} instead of PINGRESP"),
        }
    }

    pub async fn disconnect(&mut self, reason_code: DisconnectReasonCode) {
        self.send(Packet::Disconnect(Disconnect { reason_code, ..Disconnect::default() })).await;
        self.expect_end().await;
    }

    /// Nothing comes, and the connection stays.
    pub async fn expect_silence(&mut self) {
        if let Ok(packet) = timeout(Duration::from_secs(1), self.link.receive()).await {
            panic!("{packet:?} instead of silence");
        }
    }

    /// The stream ends without another packet.
    pub async fn expect_end(&mut self) {
        match self.next().await {
            Err(LinkError::Closed) => {}
            other => panic!("{other:?} instead of the end"),
        }
    }

    /// The broker closes: MQTT 5 hears why, 3.1.1 hears nothing.
    pub async fn expect_goodbye(&mut self, reason: DisconnectReasonCode) {
        if self.version == Version::V5 {
            match self.receive().await {
                Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason_code, reason),
                other => panic!("{other:?} instead of DISCONNECT"),
            }
        }
        self.expect_end().await;
    }
}
