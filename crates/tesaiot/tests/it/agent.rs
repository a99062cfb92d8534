//! `tesaiot agent` from outside: what it says to a broker, and what it does when the broker goes away.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc;

use serde_json::Value;
use tesaiot_mqtt::packet::{ConnectAckReason, Packet, PublishAckReason, QoS, publish_ack};

use crate::publish::place::{DEVICE, Place, tesaiot};
use crate::publish::scripted::{self, Peer, welcome};
use crate::support::process::{Running, run};
use crate::support::{PATIENCE, wait_until};

fn agent(bundle: &std::path::Path) -> Command {
    let mut command = tesaiot(bundle, "agent");
    command.args(["--sensor", "environment", "--interval", "0.05", "--data-dir"]).arg(bundle.with_file_name("agent"));
    command
}

/// The payload of a line that the watcher heard on this topic of the device.
fn heard(line: &str, topic: &str) -> Option<Value> {
    let payload = line.strip_prefix(&format!("device/{DEVICE}/{topic} "))?;
    Some(serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {line}")))
}

#[test]
fn it_publishes_answers_and_says_when_it_comes_and_goes() {
    let place = Place::new();
    let broker = place.broker(true);
    let watcher = place.watcher(broker.port());
    let agent = Running::start(&mut agent(&place.certificate_bundle(broker.port())));
    let talk = agent.stderr.clone();
    let hear = |topic: &str, count| {
        let found = watcher.stdout.wait_for(count, PATIENCE, |line| heard(line, topic));
        found.unwrap_or_else(|| panic!("nothing on {topic}: {}\n{}", watcher.stdout.text(), talk.text()))
    };
    assert_eq!(hear("status", 1)[0]["status"], "online");
    let samples = hear("telemetry/environment", 4);
    let numbers: Vec<_> = samples.iter().map(|sample| sample["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for sample in &samples {
        assert_eq!((&sample["device_id"], &sample["boot"]), (&DEVICE.into(), &samples[0]["boot"]));
        assert!((-10.0..=45.0).contains(&sample["data"]["temperature"].as_f64().expect("a number")), "{sample}");
    }

    place.send(broker.port(), &format!("device/{DEVICE}/commands/ping"), r#"{"id":"c-7"}"#).expect_success();
    let pong = hear("commands/ping/response", 1).remove(0);
    assert_eq!((&pong["command"], &pong["id"], &pong["status"]), (&"ping".into(), &"c-7".into(), &"done".into()));
    place.send(broker.port(), &format!("device/{DEVICE}/commands/dance"), "now").expect_success();
    assert_eq!(hear("commands/dance/response", 1)[0]["status"], "unknown");

    agent.signal("TERM");
    let outcome = agent.wait(PATIENCE);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(hear("status", 2)[1]["status"], "offline");
    let words = ["connected to 127.0.0.1:", "(mutual TLS, tlsv1.3)", "acknowledged after", "command ping answered"];
    for word in words.iter().chain(&["unknown command dance", "stopped: "]) {
        assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome:#?}");
    }
    assert_eq!(outcome.stdout, "");
    let responses = watcher.stdout.text().lines().filter(|line| line.contains("/response")).count();
    assert_eq!(responses, 2, "its own answers are not taken for commands");
}

#[test]
fn a_killed_agent_is_reported_offline_by_its_last_will() {
    let place = Place::new();
    let broker = place.broker(true);
    let watcher = place.watcher(broker.port());
    let agent = Running::start(&mut agent(&place.certificate_bundle(broker.port())));
    let status = |count| watcher.stdout.wait_for(count, PATIENCE, |line| heard(line, "status"));
    status(1).expect("it says online");
    agent.signal("KILL");
    assert_eq!(status(2).expect("the broker says offline")[1]["status"], "offline");
}

/// Answers whatever comes, samples only when told, and gives every sample to `samples`. None: the peer went away.
async fn serve(peer: &mut Peer, acknowledge: bool, samples: &mpsc::SyncSender<Vec<u8>>) -> Option<()> {
    loop {
        let answer = match peer.receive().await.ok()? {
            Packet::Subscribe(subscribe) => Packet::SubscribeAck(tesaiot_mqtt::packet::SubscribeAck {
                packet_id: subscribe.packet_id,
                properties: Vec::new(),
                reason_string: None,
                status: vec![tesaiot_mqtt::packet::SubscribeAckReason::GrantedQos1; subscribe.topic_filters.len()],
            }),
            Packet::Publish(publish) => {
                let sample = publish.topic.contains("/telemetry/");
                if sample {
                    samples.send(publish.payload.to_vec()).ok()?;
                }
                if publish.qos == QoS::AtMostOnce || (sample && !acknowledge) {
                    continue;
                }
                Packet::PublishAck(publish_ack(publish.packet_id?, PublishAckReason::Success))
            }
            _ => continue,
        };
        peer.send(answer).ok()?;
        peer.flush().await.ok()?;
    }
}

#[test]
fn samples_that_were_not_acknowledged_are_sent_again_as_the_same_bytes() {
    let place = Place::new();
    let (heard, samples) = mpsc::sync_channel(1000);
    let (close, closing) = tokio::sync::mpsc::channel(1);
    let closing = std::sync::Arc::new(tokio::sync::Mutex::new(closing));
    let port = scripted::broker(&place.server(), move |number, mut peer| {
        let (heard, closing) = (heard.clone(), std::sync::Arc::clone(&closing));
        async move {
            if welcome(&mut peer, ConnectAckReason::Success).await.is_none() {
                return;
            }
            let mut closing = closing.lock().await;
            tokio::select! {
                _ = closing.recv() => {}
                _ = serve(&mut peer, number > 0, &heard) => {}
            }
        }
    });
    let agent = Running::start(&mut agent(&place.key_bundle(port)));
    let next = || samples.recv_timeout(PATIENCE).expect("a sample");
    let before: Vec<_> = (0..3).map(|_| next()).collect();
    close.blocking_send(()).expect("the broker listens");
    let talk = agent.stderr.clone();
    let connections = || talk.text().matches("connected to").count();
    wait_until("the second connection", || (connections() == 2).then_some(()));
    let mut again = BTreeSet::new();
    while !before.iter().all(|sample| again.contains(sample)) {
        again.insert(next());
    }
    assert!(agent.stderr.text().contains("connecting again in"), "{}", agent.stderr.text());
    agent.signal("INT");
    let outcome = agent.wait(PATIENCE);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stderr.contains("(server TLS, tlsv1.3)"), "{outcome:#?}");
}

#[test]
fn undelivered_samples_are_told_at_the_end() {
    let place = Place::new();
    let bundle = place.key_bundle(1);
    let ends = |durability: &str| {
        let agent = Running::start(agent(&bundle).args(["--durability", durability]));
        let refused = |line: &str| line.contains("Connection refused: 127.0.0.1:1").then_some(());
        // The second attempt comes long after the first sample.
        agent.stderr.wait_for(2, PATIENCE, refused).expect("it says why it is not connected");
        agent.signal("TERM");
        agent.wait(PATIENCE)
    };
    let outcome = ends("every");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stderr.contains(" wait on disk for the next run"), "{outcome:#?}");
    let outcome = ends("memory");
    assert_eq!(outcome.code, Some(8), "{outcome:#?}");
    assert!(outcome.stderr.contains("were not delivered and are gone, 0 dropped, 0 refused"), "{outcome:#?}");
}

#[test]
fn what_is_not_built_is_refused_and_a_simulator_must_be_asked_for() {
    let place = Place::new();
    let bundle = place.key_bundle(1);
    for (arguments, says) in [
        (&[][..], "hint: choose: --config FILE, --sensor host, or a simulator: --sensor environment"),
        (
            &["--sensor", "medical", "--interval", "0"],
            "error:   interval_seconds: expected a number of seconds from 0.01 to 604800",
        ),
    ] {
        let outcome = run(tesaiot(&bundle, "agent").args(arguments), PATIENCE);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(says), "{outcome:#?}");
    }
    let outcome = run(tesaiot(&bundle, "agent").args(["--sensor", "medical", "--auth", "mtls"]), PATIENCE);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("File not readable: "), "{outcome:#?}");
}
