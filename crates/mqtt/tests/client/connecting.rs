//! CONNECT and what comes of it.

use std::time::Duration;

use tesaiot_mqtt::client::direct::Direct;
use tesaiot_mqtt::client::{ConnectError, connect};
use tesaiot_mqtt::packet::{ConnectAck, ConnectAckReason, Packet, PublishAckReason};
use tesaiot_mqtt::{Message, QoS, Version};

use crate::direct::{outcomes, outgoing};
use crate::server::{BOTH, Server, options};

async fn answered_with(version: Version, packet: Packet) -> ConnectError {
    let (ours, theirs) = tokio::io::duplex(1024);
    let mut server = Server::new(theirs);
    let answer = async {
        server.connect().await;
        server.send(packet).await;
    };
    tokio::join!(connect(ours, options(version)), answer).0.expect_err("refused")
}

#[tokio::test(start_paused = true)]
async fn everything_a_client_may_say_is_said() {
    for version in BOTH {
        let mut options = options(version);
        options.username = Some("name".into());
        options.password = Some("secret".into());
        options.clean_start = false;
        options.session_expiry = Duration::from_secs(3600);
        options.keep_alive = Duration::from_secs(30);
        options.will = Some(Message::new("d/status", "gone", QoS::AtLeastOnce).retained());
        assert!(!format!("{options:?}").contains("secret"));
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut server = Server::new(theirs);
        let _connecting = tokio::spawn(connect(ours, options));
        let connect = server.connect().await;
        assert_eq!(server.link.codec().version(), Some(version));
        assert_eq!((&*connect.client_id, connect.keep_alive, connect.clean_start), ("d", 30, false));
        assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (Some("name"), Some(&b"secret"[..])));
        let will = connect.last_will.unwrap();
        assert_eq!(
            (&*will.topic, &*will.message, will.qos, will.retain),
            ("d/status", &b"gone"[..], QoS::AtLeastOnce, true)
        );
        if version == Version::V5 {
            assert_eq!(connect.session_expiry_interval_secs, 3600);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_with_its_reason() {
    for version in BOTH {
        for reason_code in [ConnectAckReason::BadUserNameOrPassword, ConnectAckReason::NotAuthorized] {
            let ack = ConnectAck { reason_code, reason_string: Some("no".into()), ..ConnectAck::default() };
            match answered_with(version, Packet::ConnectAck(Box::new(ack))).await {
                ConnectError::Refused { reason, text } => {
                    assert_eq!(reason, reason_code);
                    assert_eq!(text.is_some(), version == Version::V5);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_packet_that_is_not_connack_is_an_error() {
    for version in BOTH {
        let error = answered_with(version, Packet::PingResponse).await;
        assert!(matches!(error, ConnectError::Unexpected("PINGRESP")), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_connack_is_an_error() {
    let (ours, theirs) = tokio::io::duplex(1024);
    drop(theirs);
    assert!(matches!(connect(ours, options(Version::V3)).await, Err(ConnectError::Link(_))));
}

#[tokio::test(start_paused = true)]
async fn a_first_message_leaves_before_the_broker_answers_connect() {
    for version in BOTH {
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut server = Server::new(theirs);
        let answer = async {
            server.connect().await;
            let publish = server.expect_publish().await;
            assert_eq!(&*publish.topic, "t");
            server.send(Packet::ConnectAck(Box::default())).await;
            server.puback(publish.packet_id.unwrap(), PublishAckReason::Success).await;
            server
        };
        let first = Message::new("t", "payload", QoS::AtLeastOnce);
        let options = options(version);
        let (direct, mut server) = tokio::join!(Direct::connect(ours, &options, Some(first)), answer);
        let mut direct = direct.unwrap();
        assert_eq!(outcomes(&mut direct).await, [(0, true)]);
        // Its packet identifier is taken into account from then on.
        direct.publish(1, outgoing(QoS::AtLeastOnce)).unwrap();
        let answer = async {
            let packet_id = server.expect_publish().await.packet_id.unwrap();
            server.puback(packet_id, PublishAckReason::Success).await;
        };
        assert_eq!(tokio::join!(outcomes(&mut direct), answer).0, [(1, true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_is_not_taken_by_a_broker_that_refuses_connect() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let mut server = Server::new(theirs);
    let answer = async {
        server.connect().await;
        let reason_code = ConnectAckReason::NotAuthorized;
        server.send(Packet::ConnectAck(Box::new(ConnectAck { reason_code, ..ConnectAck::default() }))).await;
    };
    let (first, options) = (Message::new("t", "payload", QoS::AtLeastOnce), options(Version::V5));
    let (refused, ()) = tokio::join!(Direct::connect(ours, &options, Some(first)), answer);
    assert!(matches!(refused.map(|_| ()), Err(ConnectError::Refused { reason: ConnectAckReason::NotAuthorized, .. })));
}
