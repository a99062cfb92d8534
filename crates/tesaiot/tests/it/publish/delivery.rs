//! What arrives at a broker, and the truth about it.

use std::fs;
use std::sync::mpsc;

use serde_json::Value;
use tesaiot_mqtt::packet::{ConnectAckReason, Packet, PublishAckReason, publish_ack};

use super::place::{DEVICE, Place, publish, tesaiot};
use super::scripted::{self, welcome};
use crate::support::PATIENCE;
use crate::support::process::{Outcome, Running, run};

fn summary(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

#[test]
fn a_sample_arrives_over_every_version_of_tls_and_mqtt() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let watcher = place.watcher(broker.port());
    let mut arrived = 0;
    for tls in ["tlsv1.2", "tlsv1.3"] {
        for mqtt in ["3.1.1", "5"] {
            let outcome = publish(&bundle, &["--tls-version", tls, "--mqtt-version", mqtt, "--json"]).expect_success();
            let summary = summary(&outcome);
            assert_eq!((&summary["tls_version"], &summary["mqtt_version"]), (&tls.into(), &mqtt.into()));
            assert_eq!((&summary["sent"], &summary["acknowledged"]), (&1.into(), &1.into()), "{outcome:#?}");
            assert_eq!(summary["auth"], "mtls");
            arrived += 1;
        }
    }
    let topic = format!("device/{DEVICE}/telemetry ");
    let payload = |line: &str| line.strip_prefix(&topic).map(str::to_owned);
    let payloads = watcher.stdout.wait_for(arrived, PATIENCE, payload).expect("every sample arrives");
    for payload in payloads {
        super::dry_run::check_payload(&payload);
    }
    let connected = format!("as {DEVICE} (p2, c1, k60)");
    assert!(broker.log().contains(&connected), "the client id is the device id: {}", broker.log());
}

#[test]
fn without_json_stdout_is_empty_and_a_line_for_people_is_on_stderr() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let outcome = publish(&bundle, &["--count", "2", "--interval", "0"]).expect_success();
    assert_eq!(outcome.stdout, "");
    let expected = format!(
        "2 messages to device/{DEVICE}/telemetry at 127.0.0.1:{} (mutual TLS, tlsv1.2, MQTT 3.1.1): 2 acknowledged in ",
        broker.port()
    );
    assert!(outcome.stderr.starts_with(&expected) && outcome.stderr.lines().count() == 1, "{outcome:#?}");
}

#[test]
fn a_bundle_with_a_key_logs_in_over_server_tls() {
    let place = Place::new();
    let broker = place.broker(false);
    let outcome = publish(&place.key_bundle(broker.port()), &["--json"]).expect_success();
    assert_eq!(summary(&outcome)["auth"], "server-tls");
    assert!(broker.log().contains(&format!("u'{DEVICE}'")), "the user name is the device id: {}", broker.log());
}

#[test]
fn the_interval_is_kept_and_a_run_of_many_is_pipelined() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let outcome = publish(&bundle, &["--count", "4", "--interval", "0.1", "--json"]).expect_success();
    let seconds = summary(&outcome)["publish_seconds"].as_f64().expect("a number");
    assert!((0.3..5.0).contains(&seconds), "three intervals lie between four samples: {seconds}");

    let outcome = publish(&bundle, &["--count", "5000", "--interval", "0", "--json"]).expect_success();
    assert_eq!(summary(&outcome)["acknowledged"], 5000, "{outcome:#?}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_bundle() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(1);
    let port = broker.port().to_string();
    run(tesaiot(&bundle, "publish").env("TESAIOT_MQTT_PORT", &port), PATIENCE).expect_success();
    run(tesaiot(&bundle, "publish").env("MQTT_PORT", "2").args(["--broker-port", &port]), PATIENCE).expect_success();
    fs::write(bundle.join(".env"), format!("TESAIOT_MQTT_PORT={port}\n")).expect("a .env file");
    publish(&bundle, &[]).expect_success();
    let outcome = run(tesaiot(&bundle, "publish").env("TESAIOT_MQTT_PORT", "2"), PATIENCE);
    assert_eq!(outcome.code, Some(4), "the process wins over the file: {outcome:#?}");
    let here = bundle.parent().expect("a parent").join(".env");
    fs::write(here, format!("TESAIOT_MQTT_PORT={port}\nTESAIOT_CERTS_DIR={}\n", bundle.display())).expect("a file");
    fs::remove_file(bundle.join(".env")).expect("it is there");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tesaiot"));
    command.env_clear().current_dir(bundle.parent().expect("a parent")).arg("publish");
    run(&mut command, PATIENCE).expect_success();
}

/// A broker that answers every PUBLISH as `answer` says; None ends the connection.
fn answering(place: &Place, answer: fn(u16) -> Option<PublishAckReason>) -> u16 {
    scripted::broker(&place.server(), move |_, mut peer| async move {
        if welcome(&mut peer, ConnectAckReason::Success).await.is_none() {
            return;
        }
        while let Ok(packet) = peer.receive().await {
            let Packet::Publish(publish) = packet else { continue };
            let Some(packet_id) = publish.packet_id else { return };
            let Some(reason) = answer(packet_id.get()) else { return };
            let sent = peer.send(Packet::PublishAck(publish_ack(packet_id, reason)));
            if sent.is_err() || peer.flush().await.is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_refused_message_is_told_and_the_others_are_still_sent() {
    let place = Place::new();
    let port = answering(&place, |id| {
        Some(if id == 2 { PublishAckReason::PayloadFormatInvalid } else { PublishAckReason::Success })
    });
    let arguments = ["--count", "3", "--interval", "0", "--mqtt-version", "5", "--json"];
    let outcome = publish(&place.key_bundle(port), &arguments);
    assert_eq!(outcome.code, Some(7), "{outcome:#?}");
    let summary = summary(&outcome);
    assert_eq!((&summary["acknowledged"], &summary["refused"], &summary["sent"]), (&2.into(), &1.into(), &3.into()));
    assert!(
        outcome.stderr.contains("error: the broker refused 1 of 3 messages: payload format invalid (0x99)"),
        "{outcome:#?}"
    );
}

#[test]
fn a_message_without_an_answer_is_not_a_success() {
    let place = Place::new();
    let port = answering(&place, |id| (id < 3).then_some(PublishAckReason::Success));
    let outcome = publish(&place.key_bundle(port), &["--count", "10", "--interval", "0", "--json"]);
    assert_eq!(outcome.code, Some(8), "{outcome:#?}");
    let summary = summary(&outcome);
    let number = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!(number("acknowledged"), 2, "{outcome:#?}");
    assert_eq!(number("acknowledged") + number("lost") + number("not_sent"), 10, "{outcome:#?}");
    assert!(outcome.stderr.contains("error: 8 of 10 messages were not acknowledged: "), "{outcome:#?}");
}

#[test]
fn an_interrupt_ends_a_run_in_good_order() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let watcher = place.watcher(broker.port());
    let mut command = tesaiot(&bundle, "publish");
    let running = Running::start(command.args(["--count", "1000", "--interval", "60", "--json"]));
    let arrived = |line: &str| line.contains("spo2").then_some(());
    watcher.stdout.wait_for(1, PATIENCE, arrived).expect("the first sample is sent at once");
    running.signal("INT");
    let outcome = running.wait(PATIENCE);
    assert_eq!(outcome.code, Some(130), "{outcome:#?}");
    let summary = summary(&outcome);
    assert_eq!((&summary["acknowledged"], &summary["not_sent"]), (&1.into(), &999.into()), "{outcome:#?}");
    assert!(outcome.stderr.contains("error: interrupted: 1 messages were acknowledged, 999 were not sent"));
    let gone = format!("Client {DEVICE} disconnected.");
    crate::support::wait_until("the goodbye", || broker.log().contains(&gone).then_some(()));
}

#[test]
fn an_interrupt_waits_for_what_is_in_flight_and_a_second_one_does_not() {
    let place = Place::new();
    let (received, sample) = mpsc::sync_channel(1);
    // One answer, so that the client is known to be at work; then none, and the connection stays.
    let port = scripted::broker(&place.server(), move |_, mut peer| {
        let received = received.clone();
        async move {
            let _ = welcome(&mut peer, ConnectAckReason::Success).await;
            let mut answered = false;
            while let Ok(Packet::Publish(publish)) = peer.receive().await {
                if answered {
                    let _ = received.try_send(());
                } else if let Some(packet_id) = publish.packet_id {
                    let acknowledged = publish_ack(packet_id, PublishAckReason::Success);
                    answered = peer.send(Packet::PublishAck(acknowledged)).is_ok() && peer.flush().await.is_ok();
                }
            }
        }
    });
    let bundle = place.key_bundle(port);
    let mut running = Running::start(tesaiot(&bundle, "publish").args(["--count", "1000", "--interval", "0.2"]));
    sample.recv_timeout(PATIENCE).expect("the second sample is sent");
    running.signal("INT");
    let heard = |line: &str| line.starts_with("Stopping once everything sent is acknowledged").then_some(());
    running.stderr.wait_for(1, PATIENCE, heard).expect("it says that it waits");
    assert!(!running.has_ended(), "{}", running.stderr.text());
    running.signal("INT");
    let outcome = running.wait(PATIENCE);
    assert_eq!((outcome.code, outcome.timed_out), (Some(130), false), "{outcome:#?}");
}
