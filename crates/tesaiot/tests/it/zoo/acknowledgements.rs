//! Brokers that take the connection and not the message.

use std::fmt::Write as _;

use tesaiot_mqtt::packet::{
    ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, Packet, PublishAckReason, publish_ack,
};

use super::publish;
use crate::publish::place::Place;
use crate::publish::scripted::{self, Peer, welcome};

/// What is said of a broker that welcomes a device and answers its PUBLISH with these packets, one connection after
/// the other, and then closes.
#[track_caller]
fn every(version: &str, answers: Vec<(&'static str, Vec<Packet>)>) -> String {
    let names: Vec<_> = answers.iter().map(|(name, _)| *name).collect();
    let answers = std::sync::Mutex::new(answers.into_iter().map(|(_, packets)| packets));
    let place = Place::new();
    let port = scripted::broker(&place.server(), move |_, mut peer| {
        let packets = answers.lock().expect("one at a time").next().expect("an answer for each");
        async move {
            if welcome(&mut peer, ConnectAckReason::Success).await.is_some() {
                answer(&mut peer, packets).await;
            }
        }
    });
    let bundle = place.key_bundle(port);
    let mut table = String::new();
    for name in names {
        writeln!(table, "{name}: {}", publish(&bundle, port, &["--mqtt-version", version])).expect("a String");
    }
    table
}

async fn answer(peer: &mut Peer, packets: Vec<Packet>) {
    let Ok(Packet::Publish(_)) = peer.receive().await else { return };
    for packet in packets {
        peer.send(packet).expect("a packet of the right version");
    }
    let _ = peer.close().await;
}

fn acknowledged(reason: PublishAckReason) -> Vec<Packet> {
    vec![Packet::PublishAck(publish_ack(std::num::NonZeroU16::MIN, reason))]
}

fn goodbye(reason_code: DisconnectReasonCode) -> Vec<Packet> {
    vec![Packet::Disconnect(Disconnect { reason_code, ..Disconnect::default() })]
}

#[test]
fn every_refusal_of_a_message() {
    use PublishAckReason as R;
    let reasons = [
        ("unspecified", R::UnspecifiedError),
        ("implementation specific", R::ImplementationSpecificError),
        ("not authorized", R::NotAuthorized),
        ("topic name", R::TopicNameInvalid),
        ("identifier in use", R::PacketIdentifierInUse),
        ("quota", R::QuotaExceeded),
        ("payload format", R::PayloadFormatInvalid),
    ];
    let answers = reasons.map(|(name, reason)| (name, acknowledged(reason)));
    insta::assert_snapshot!(every("5", answers.into()));
}

#[test]
fn every_goodbye_before_the_acknowledgement() {
    use DisconnectReasonCode as R;
    let reasons = [
        ("unspecified", R::UnspecifiedError),
        ("not authorized", R::NotAuthorized),
        ("busy", R::ServerBusy),
        ("shutting down", R::ServerShuttingDown),
        ("taken over", R::SessionTakenOver),
        ("topic name", R::TopicNameInvalid),
        ("packet too large", R::PacketTooLarge),
        ("rate", R::MessageRateTooHigh),
        ("quota", R::QuotaExceeded),
        ("on purpose", R::AdministrativeAction),
        ("payload format", R::PayloadFormatInvalid),
        ("retain", R::RetainNotSupported),
        ("quality of service", R::QosNotSupported),
        ("another server", R::UseAnotherServer),
        ("moved", R::ServerMoved),
    ];
    let answers = reasons.map(|(name, reason)| (name, goodbye(reason)));
    insta::assert_snapshot!(every("5", answers.into()));
}

#[test]
fn a_connection_that_is_lost_before_the_acknowledgement() {
    for version in ["3.1.1", "5"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!("a_lost_connection", every(version, vec![("closed", Vec::new())]));
        }
    }
}

#[test]
fn a_broker_that_takes_no_packet_of_this_size() {
    let place = Place::new();
    let port = scripted::broker(&place.server(), |_, mut peer| async move {
        let _ = peer.receive().await;
        let ack = ConnectAck { max_packet_size: Some(64), ..ConnectAck::default() };
        peer.send(Packet::ConnectAck(Box::new(ack))).expect("CONNACK");
        let _ = peer.flush().await;
        while peer.receive().await.is_ok() {}
    });
    let said = publish(&place.key_bundle(port), port, &["--mqtt-version", "5"]);
    // One sample is not as long as the next.
    let (before, after) = said.split_once("packet too large: ").expect("what it is");
    let (bytes, after) = after.split_once(" bytes").expect("how large it is");
    assert!(bytes.parse::<u32>().is_ok_and(|bytes| bytes > 64), "{bytes}");
    insta::assert_snapshot!(format!("{before}packet too large: BYTES bytes{after}"));
}
