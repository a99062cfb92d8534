//! Each thing that can be broken: found by its own check, told by its own exit code.

use std::fs;

use tesaiot_mqtt::packet::{ConnectAckReason, Packet, SubscribeAck, SubscribeAckReason};
use tesaiot_store::registry::AuthMode;

use super::{check, doctor, masked, outcome, report, with, without_rest};
use crate::publish::place::{DEVICE, Place};
use crate::publish::scripted;
use crate::support::mosquitto::{Mosquitto, ServerTls, free_port};
use crate::support::platform::TestPlatform;
use crate::zoo::forge::{Authority, NOW, PAST};
use crate::zoo::raw;

#[test]
fn nobody_listens() {
    let place = Place::new();
    let port = free_port();
    let outcome = doctor(&without_rest(place.certificate_bundle(port), port), &[]);
    let words = crate::zoo::without_times(&outcome.stdout)
        .replace(&place.directory().display().to_string(), "PLACE")
        .replace(&format!(":{port}"), ":PORT");
    insta::assert_snapshot!(format!("exit {:?}\n{}\n---\n{}", outcome.code, masked(&words), outcome.stderr));
}

#[test]
fn there_is_no_bundle() {
    let place = Place::new();
    let (report, code) = report(&place.directory().join("nothing"), &[]);
    assert_eq!((code, with(&report, "failed")), (3, vec!["bundle"]), "{report:#}");
    assert!(with(&report, "passed").is_empty() && with(&report, "warned").is_empty(), "{report:#}");
}

#[test]
fn key_and_certificate_do_not_fit() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let other = Authority::root(place.directory(), "devices", NOW).client(DEVICE, NOW);
    fs::copy(other.key, bundle.join("client_key.pem")).expect("another key");
    let (report, code) = report(&bundle, &[]);
    assert_eq!((code, outcome(&report, "key-match")), (3, "failed"), "{report:#}");
    // The network is examined all the same.
    assert_eq!(outcome(&report, "tcp"), "passed");
    assert_eq!(outcome(&report, "connect"), "skipped");
}

#[test]
fn the_certificate_expired() {
    let place = Place::new();
    let devices = Authority::root(place.directory(), "devices", NOW);
    let tls = ServerTls { ca: devices.file(), server: place.server(), require_client_certificate: true };
    let broker = Mosquitto::start(Some(&tls));
    let (report, code) = report(&place.bundle(broker.port(), Some(&devices.client(DEVICE, PAST))), &[]);
    assert_eq!((code, outcome(&report, "expiry")), (3, "failed"), "{report:#}");
    let evidence = check(&report, "expiry")["evidence"].as_str().expect("evidence");
    assert!(evidence.contains("expired 10 days ago"), "{evidence}");
}

#[test]
fn the_server_is_a_stranger() {
    let place = Place::new();
    let stranger = Authority::root(place.directory(), "stranger", NOW);
    let tls = ServerTls { ca: stranger.file(), server: stranger.server(NOW), require_client_certificate: false };
    let broker = Mosquitto::start(Some(&tls));
    let (report, code) = report(&place.key_bundle(broker.port()), &[]);
    assert_eq!((code, with(&report, "failed")), (5, vec!["server-certificate"]), "{report:#}");
    assert_eq!(report["ncsa"]["level"], 0);
}

#[test]
fn the_broker_knows_another_authority() {
    let place = Place::new();
    let broker = place.broker(true);
    let stranger = Authority::root(place.directory(), "stranger", NOW);
    let (report, code) = report(&place.bundle(broker.port(), Some(&stranger.client(DEVICE, NOW))), &[]);
    assert_eq!(code, 6, "{report:#}");
    assert_eq!(outcome(&report, "chain"), "warned", "{report:#}");
    assert_eq!(outcome(&report, "connect"), "failed", "{report:#}");
}

#[test]
fn the_device_is_disabled() {
    let platform = TestPlatform::start();
    for (id, mode) in [("pump-7", AuthMode::Mtls), ("pump-8", AuthMode::ServerTls)] {
        let device = platform.device(id, mode);
        platform.operator().post(&format!("/devices/{id}/disable"), b"").expect(200);
        let (report, code) = report(&device.file(""), &[]);
        assert_eq!((code, outcome(&report, "connect")), (6, "failed"), "{report:#}");
        assert_eq!(outcome(&report, "publish"), "skipped", "{report:#}");
    }
}

/// mosquitto with an access list that lets a device do nothing.
#[test]
fn the_device_may_do_nothing() {
    let place = Place::new();
    let list = place.directory().join("acl");
    fs::write(&list, "user nobody\ntopic readwrite nothing\n").expect("an access list");
    let tls = ServerTls {
        ca: place.directory().join("authority/ca.pem"),
        server: place.server(),
        require_client_certificate: true,
    };
    let broker = Mosquitto::start_with(Some(&tls), &format!("acl_file {}\n", list.display()));
    let (report, code) = report(&place.certificate_bundle(broker.port()), &[]);
    assert_eq!((code, outcome(&report, "publish")), (7, "failed"), "{report:#}");
    let evidence = check(&report, "publish")["evidence"].as_str().expect("evidence");
    assert!(evidence.ends_with("refused: not authorized (0x87)"), "{evidence}");
}

#[test]
fn silence_ends_within_the_time_of_each_step() {
    let place = Place::new();
    // Accepts, reads, never answers; both versions of TLS run into it.
    let port = raw::server(std::mem::forget);
    let outcome = doctor(&place.certificate_bundle(port), &["--timeout", "0.3"]);
    assert_eq!(outcome.code, Some(4), "{outcome:#?}");
    assert!(outcome.stdout.contains("did not answer in time"), "{outcome:#?}");
}

/// Every reason of MQTT 5 for refusing a subscription, by its name.
#[test]
fn a_refused_subscription_is_told_by_its_reason() {
    use SubscribeAckReason as R;
    let reasons = [
        (R::UnspecifiedError, "unspecified error (0x80)"),
        (R::ImplementationSpecificError, "implementation specific error (0x83)"),
        (R::NotAuthorized, "not authorized (0x87)"),
        (R::TopicFilterInvalid, "topic filter invalid (0x8f)"),
        (R::PacketIdentifierInUse, "packet identifier in use (0x91)"),
        (R::QuotaExceeded, "quota exceeded (0x97)"),
        (R::SharedSubscriptionNotSupported, "shared subscriptions not supported (0x9e)"),
        (R::SubscriptionIdentifiersNotSupported, "subscription identifiers not supported (0xa1)"),
        (R::WildcardSubscriptionsNotSupported, "wildcard subscriptions not supported (0xa2)"),
    ];
    let examine = |(reason, words): (R, &str)| {
        let place = Place::new();
        let port = scripted::broker(&place.server(), move |_, mut peer| async move {
            if scripted::welcome(&mut peer, ConnectAckReason::Success).await.is_none() {
                return;
            }
            while let Ok(packet) = peer.receive().await {
                let Packet::Subscribe(asked) = packet else { continue };
                let status = vec![reason; asked.topic_filters.len()];
                let answer =
                    SubscribeAck { packet_id: asked.packet_id, properties: Vec::new(), reason_string: None, status };
                let sent = peer.send(Packet::SubscribeAck(answer));
                if sent.is_err() || peer.flush().await.is_err() {
                    return;
                }
            }
        });
        let (report, code) = report(&place.key_bundle(port), &["--timeout", "1", "--no-publish"]);
        assert_eq!((code, outcome(&report, "subscribe")), (7, "failed"), "{report:#}");
        let expected = format!("device/{DEVICE}/commands/doctor: refused: {words}");
        assert_eq!(check(&report, "subscribe")["evidence"], expected.as_str());
    };
    // Side by side: each waits for answers that do not come to its other questions.
    std::thread::scope(|threads| {
        for reason in reasons {
            threads.spawn(move || examine(reason));
        }
    });
}
