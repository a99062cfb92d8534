//! A connection that its one user drives.

use std::num::NonZeroU16;
use std::time::Duration;

use tesaiot_mqtt::client::direct::{Direct, Outgoing, Progress};
use tesaiot_mqtt::client::{Lost, Options};
use tesaiot_mqtt::packet::{ConnectAck, Packet, PublishAckReason, SubscribeAck, SubscribeAckReason};
use tesaiot_mqtt::{ProtocolError, QoS, Version};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use crate::server::{BOTH, Server, options};

const STORED: PublishAckReason = PublishAckReason::Success;

pub fn outgoing(qos: QoS) -> Outgoing<'static> {
    Outgoing { topic: "d/t", payload: b"payload", qos, retain: false }
}

/// The outcomes of one progress: number, and whether it was acknowledged.
pub async fn outcomes(direct: &mut Direct<DuplexStream>) -> Vec<(u64, bool)> {
    let mut outcomes = Vec::new();
    let report = |progress| match progress {
        Progress::Published(number, outcome) => outcomes.push((number, outcome.is_acknowledged())),
        other => panic!("{other:?}"),
    };
    direct.progress(report).await.unwrap();
    outcomes
}

async fn pair(options: &Options, ack: ConnectAck) -> (Direct<DuplexStream>, Server) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut server = Server::new(theirs);
    let answer = async {
        server.connect().await;
        server.send(Packet::ConnectAck(Box::new(ack))).await;
    };
    let (direct, ()) = tokio::join!(Direct::connect(ours, options, None), answer);
    (direct.unwrap(), server)
}

#[tokio::test(start_paused = true)]
async fn the_window_is_the_brokers_and_each_answer_finds_its_message() {
    let narrow = ConnectAck { receive_max: NonZeroU16::new(3).unwrap(), ..ConnectAck::default() };
    let (mut direct, mut server) = pair(&options(Version::V5), narrow).await;
    for number in 10..13 {
        assert!(direct.has_room());
        direct.publish(number, outgoing(QoS::AtLeastOnce)).unwrap();
    }
    assert!(!direct.has_room());
    assert!(matches!(direct.publish(13, outgoing(QoS::AtLeastOnce)), Err(ProtocolError::ReceiveMaximumExceeded)));
    let answer = async {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(server.expect_publish().await.packet_id.unwrap());
        }
        server.puback(NonZeroU16::new(999).unwrap(), STORED).await;
        server.puback(ids[2], STORED).await;
        server.puback(ids[0], PublishAckReason::NotAuthorized).await;
    };
    let work = async {
        let mut all = outcomes(&mut direct).await;
        while all.len() < 2 {
            all.extend(outcomes(&mut direct).await);
        }
        all
    };
    assert_eq!(tokio::join!(work, answer).0, [(12, true), (10, false)]);
    assert_eq!(direct.in_flight(), 1);
    drop(server);
    let lost = direct.progress(|progress| panic!("{progress:?}")).await;
    assert!(matches!(lost, Err(Lost::Link(_))), "{lost:?}");
    assert!(direct.progress(|_| ()).await.is_err(), "it stays ended");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_is_released_before_it_is_done_and_one_of_qos_0_is_written() {
    for version in BOTH {
        let (mut direct, mut server) = pair(&options(version), ConnectAck::default()).await;
        direct.publish(0, outgoing(QoS::AtMostOnce)).unwrap();
        direct.publish(1, outgoing(QoS::ExactlyOnce)).unwrap();
        assert_eq!(direct.in_flight(), 2);
        let mut written = 0;
        direct
            .progress(|progress| match progress {
                Progress::Written(count) => written += count,
                other => panic!("{other:?}"),
            })
            .await
            .unwrap();
        assert_eq!((written, direct.in_flight()), (1, 1));
        let answer = async {
            assert_eq!(server.expect_publish().await.packet_id, None);
            let packet_id = server.expect_publish().await.packet_id.unwrap();
            server.pubrec(packet_id, STORED).await;
            assert!(matches!(server.receive().await, Packet::PublishRelease(_)));
            server.pubcomp(packet_id).await;
        };
        assert_eq!(tokio::join!(outcomes(&mut direct), answer).0, [(1, true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_brings_messages_and_they_are_acknowledged() {
    for version in BOTH {
        let (mut direct, mut server) = pair(&options(version), ConnectAck::default()).await;
        direct.subscribe("d/receipts").unwrap();
        let answer = async {
            let Packet::Subscribe(subscribe) = server.receive().await else { panic!("no SUBSCRIBE") };
            let status = vec![SubscribeAckReason::GrantedQos1];
            let ack =
                SubscribeAck { packet_id: subscribe.packet_id, properties: Vec::new(), reason_string: None, status };
            server.send(Packet::SubscribeAck(ack)).await;
            server.publish(9).await;
            server.expect_puback(9).await;
        };
        let work = async {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                direct
                    .progress(|progress| match progress {
                        Progress::Subscribed(status) => seen.push(format!("{status:?}")),
                        Progress::Message(message) => seen.push(message.topic.to_string()),
                        other => panic!("{other:?}"),
                    })
                    .await
                    .unwrap();
            }
            // The acknowledgement left already, or leaves with the next poll.
            let _ = tokio::time::timeout(Duration::from_millis(1), direct.progress(|_| ())).await;
            seen
        };
        assert_eq!(tokio::join!(work, answer).0, ["[GrantedQos1]", "d/t"]);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_a_dead_broker_is_noticed() {
    let options = Options { keep_alive: Duration::from_secs(20), ..options(Version::V5) };
    let (mut direct, mut server) = pair(&options, ConnectAck::default()).await;
    let started = Instant::now();
    let answer = async {
        assert!(matches!(server.receive().await, Packet::PingRequest));
        assert_eq!(started.elapsed().as_secs(), 20);
        server.send(Packet::PingResponse).await;
        assert!(matches!(server.receive().await, Packet::PingRequest));
    };
    let (lost, ()) = tokio::join!(direct.progress(|progress| panic!("{progress:?}")), answer);
    assert!(matches!(lost, Err(Lost::KeepAlive)), "{lost:?}");
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_does_not_take_is_refused_and_the_connection_lives_on() {
    let small = ConnectAck { max_packet_size: Some(60), ..ConnectAck::default() };
    let (mut direct, mut server) = pair(&options(Version::V5), small).await;
    let large = Outgoing { payload: &[b'x'; 100], ..outgoing(QoS::AtLeastOnce) };
    assert!(matches!(direct.publish(0, large), Err(ProtocolError::TooLarge { .. })));
    direct.publish(1, outgoing(QoS::AtLeastOnce)).unwrap();
    let answer = async {
        let packet_id = server.expect_publish().await.packet_id.unwrap();
        server.puback(packet_id, STORED).await;
        assert!(matches!(server.receive().await, Packet::Disconnect(_)));
    };
    let work = async {
        assert_eq!(outcomes(&mut direct).await, [(1, true)]);
        direct.disconnect().await.unwrap();
    };
    tokio::join!(work, answer);
}
