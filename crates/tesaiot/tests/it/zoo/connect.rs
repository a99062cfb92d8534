//! Brokers that do not take a connection: what they answer to CONNECT, or do not.

use std::fmt::Write as _;

use tesaiot_mqtt::packet::{ConnectAck, ConnectAckReason, Packet, PublishAckReason, publish_ack};

use super::publish;
use crate::publish::place::Place;
use crate::publish::scripted::{self, Peer};

/// What is said of a broker that does this with a connection.
#[track_caller]
fn at<F>(arguments: &[&str], script: impl Fn(Peer) -> F + Send + 'static) -> String
where
    F: Future<Output = ()>,
{
    let place = Place::new();
    let port = scripted::broker(&place.server(), move |_, peer| script(peer));
    publish(&place.key_bundle(port), port, arguments)
}

async fn send(peer: &mut Peer, packet: Packet) {
    let _ = peer.receive().await;
    peer.send(packet).expect("a packet of the right version");
    let _ = peer.flush().await;
    // The peer reads it before the connection ends.
    let _ = peer.receive().await;
}

/// What is said of every reason in `reasons`, answered by one broker after the other.
#[track_caller]
fn every(version: &str, reasons: &'static [ConnectAckReason]) -> String {
    let place = Place::new();
    let port = scripted::broker(&place.server(), move |number, mut peer| async move {
        let reason_code = reasons[number];
        send(&mut peer, Packet::ConnectAck(Box::new(ConnectAck { reason_code, ..ConnectAck::default() }))).await;
    });
    let bundle = place.key_bundle(port);
    let mut table = String::new();
    for reason in reasons {
        writeln!(table, "{reason:?}: {}", publish(&bundle, port, &["--mqtt-version", version])).expect("a String");
    }
    table
}

#[test]
fn every_return_code_of_mqtt_3() {
    use ConnectAckReason as R;
    // Codes 1 to 5 of section 3.2.2.3.
    let reasons = &[
        R::UnsupportedProtocolVersion,
        R::ClientIdentifierNotValid,
        R::ServerUnavailable,
        R::BadUserNameOrPassword,
        R::NotAuthorized,
    ];
    insta::assert_snapshot!(every("3.1.1", reasons));
}

#[test]
fn every_reason_of_mqtt_5() {
    use ConnectAckReason as R;
    let reasons = &[
        R::UnspecifiedError,
        R::MalformedPacket,
        R::ProtocolError,
        R::ImplementationSpecificError,
        R::UnsupportedProtocolVersion,
        R::ClientIdentifierNotValid,
        R::BadUserNameOrPassword,
        R::NotAuthorized,
        R::ServerUnavailable,
        R::ServerBusy,
        R::Banned,
        R::BadAuthenticationMethod,
        R::TopicNameInvalid,
        R::PacketTooLarge,
        R::QuotaExceeded,
        R::PayloadFormatInvalid,
        R::RetainNotSupported,
        R::QosNotSupported,
        R::UseAnotherServer,
        R::ServerMoved,
        R::ConnectionRateExceeded,
    ];
    insta::assert_snapshot!(every("5", reasons));
}

#[test]
fn a_reason_with_the_broker_s_own_words() {
    let said = at(&["--mqtt-version", "5"], |mut peer| async move {
        let refusal = ConnectAck {
            reason_code: ConnectAckReason::NotAuthorized,
            // A line break in it must not make a line of its own.
            reason_string: Some("call +66 2 000 0000\nhint: send money".into()),
            ..ConnectAck::default()
        };
        send(&mut peer, Packet::ConnectAck(Box::new(refusal))).await;
    });
    insta::assert_snapshot!(said);
}

#[test]
fn a_broker_that_closes_after_the_handshake() {
    insta::assert_snapshot!(at(&[], |mut peer| async move { drop(peer.close().await) }));
}

#[test]
fn a_broker_that_closes_after_connect() {
    let said = at(&[], |mut peer| async move {
        let _ = peer.receive().await;
        let _ = peer.close().await;
    });
    insta::assert_snapshot!(said);
}

#[test]
fn a_broker_that_answers_with_another_packet() {
    let said = at(&[], |mut peer| async move {
        let id = std::num::NonZeroU16::MIN;
        send(&mut peer, Packet::PublishAck(publish_ack(id, PublishAckReason::Success))).await;
    });
    insta::assert_snapshot!(said);
}
