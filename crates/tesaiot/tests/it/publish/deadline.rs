//! `--timeout` holds whatever the command waits for, and `--wait-stored` believes nobody who does not say it.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tesaiot_mqtt::packet::{ConnectAckReason, Packet};
use tesaiot_store::registry::AuthMode;

use super::place::{DEVICE, Place, publish, tesaiot};
use super::scripted::{self, welcome};
use crate::support::PATIENCE;
use crate::support::platform::TestPlatform;
use crate::support::process::{Outcome, Running, run};

/// Fails unless the command ended by itself soon after the second it had.
#[track_caller]
fn in_time(outcome: &Outcome, code: i32) {
    assert_eq!((outcome.code, outcome.timed_out), (Some(code), false), "{outcome:#?}");
    assert!(outcome.took < Duration::from_millis(3_500), "{outcome:#?}");
    assert!(outcome.took >= Duration::from_millis(900), "{outcome:#?}");
}

#[test]
fn a_port_that_accepts_and_says_nothing() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let outcome = publish(&place.certificate_bundle(port), &["--timeout", "1"]);
    in_time(&outcome, 4);
    assert!(outcome.stderr.contains("did not answer in time (step: hello)"), "{outcome:#?}");
}

#[test]
fn a_broker_that_does_not_answer_connect() {
    let place = Place::new();
    let port = scripted::broker(&place.server(), |_, mut peer| async move { while peer.receive().await.is_ok() {} });
    let outcome = publish(&place.key_bundle(port), &["--timeout", "1"]);
    in_time(&outcome, 4);
    assert!(outcome.stderr.contains("did not answer CONNECT"), "{outcome:#?}");
}

#[test]
fn a_broker_that_does_not_acknowledge() {
    let place = Place::new();
    let port = scripted::broker(&place.server(), |_, mut peer| async move {
        let _ = welcome(&mut peer, ConnectAckReason::Success).await;
        while let Ok(Packet::Publish(_)) = peer.receive().await {}
    });
    let outcome = publish(&place.key_bundle(port), &["--timeout", "1", "--count", "3", "--interval", "0", "--json"]);
    in_time(&outcome, 8);
    let summary: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&summary["timed_out"], &summary["lost"]), (&true.into(), &3.into()));
    insta::assert_snapshot!(outcome.stderr, @r"
    error: 3 of 3 messages were not acknowledged within the time of --timeout
    hint: give it more time; what was not acknowledged may or may not have arrived
    ");
}

#[test]
fn a_run_that_is_longer_than_its_time_and_an_input_that_never_ends() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let outcome = publish(&bundle, &["--timeout", "1", "--count", "100", "--interval", "0.3"]);
    in_time(&outcome, 8);
    assert!(outcome.stderr.contains("of 100 messages were not acknowledged within the time"), "{outcome:#?}");

    let mut running = Running::start(tesaiot(&bundle, "publish").args(["--stdin-lines", "--timeout", "1"]));
    running.write_line("one");
    // The input stays open until the program has ended.
    let started = std::time::Instant::now();
    while !running.has_ended() {
        assert!(started.elapsed() < PATIENCE, "{}", running.stderr.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    in_time(&running.wait(PATIENCE), 8);
}

#[test]
fn a_close_that_nobody_answers() {
    let place = Place::new();
    // Everything is acknowledged, and the goodbye is not read: the other end of the line is deaf.
    let port = scripted::broker(&place.server(), |_, mut peer| async move {
        let _ = welcome(&mut peer, ConnectAckReason::Success).await;
        let Ok(Packet::Publish(publish)) = peer.receive().await else { return };
        peer.send_puback(publish.packet_id.expect("QoS 1"));
        let _ = peer.flush().await;
        std::future::pending::<()>().await;
    });
    let outcome = publish(&place.key_bundle(port), &["--timeout", "5"]).expect_success();
    assert!(outcome.took < Duration::from_secs(3), "{outcome:#?}");
}

#[test]
fn stored_is_what_our_platform_says_and_no_other_broker() {
    let place = Place::new();
    let broker = place.broker(true);
    let outcome = publish(&place.certificate_bundle(broker.port()), &["--wait-stored"]);
    assert_eq!(outcome.code, Some(8), "{outcome:#?}");
    let end = outcome.stderr.split_once('\n').expect("two lines").1;
    insta::assert_snapshot!(end, @r"
    error: 1 messages were acknowledged, and this broker does not say that they are stored
    hint: publish to the platform itself, or leave --wait-stored out: acknowledged is all this broker says
    ");

    let platform = TestPlatform::start();
    let device = platform.device(DEVICE, AuthMode::Mtls);
    let bundle = device.file("device_id.txt").parent().expect("a directory").to_owned();
    let outcome =
        run(tesaiot(&bundle, "publish").args(["--wait-stored", "--json", "--count", "5", "--interval", "0"]), PATIENCE);
    let summary: Value = serde_json::from_str(&outcome.expect_success().stdout).expect("JSON");
    assert_eq!(summary["acknowledged"], 5);
    for phase in ["dns", "tcp", "tls", "connect", "first_acknowledgement", "stored", "total"] {
        assert!(summary["phases"][format!("{phase}_seconds")].is_number(), "{phase}: {summary}");
    }
}
