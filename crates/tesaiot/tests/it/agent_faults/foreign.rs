//! The same agent at brokers that are not ours.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;
use tesaiot_mqtt::packet::{ConnectAck, ConnectAckReason, Packet, PublishAckReason, Version, publish_ack};

use crate::publish::place::{DEVICE, Place};
use crate::publish::scripted::{self, Peer};
use crate::support::PATIENCE;
use crate::support::agent::AgentPlan;
use crate::support::process::Running;
use crate::support::proxy::{Mode, Proxy};

fn plan(bundle: &Path, port: u16, more: &[&'static str]) -> AgentPlan {
    AgentPlan { bundle: bundle.to_owned(), data: bundle.with_extension("agent"), port, more: more.to_vec() }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The numbers of the samples that a watcher heard, by run.
fn heard(watcher: &Running) -> BTreeSet<(String, u64)> {
    let text = watcher.stdout.text();
    let samples = text.lines().filter_map(|line| line.strip_prefix(&format!("device/{DEVICE}/telemetry/environment ")));
    let samples = samples.map(|payload| serde_json::from_str::<Value>(payload).expect("JSON"));
    samples
        .map(|sample| (sample["boot"].as_str().expect("a run").to_owned(), sample["seq"].as_u64().expect("a number")))
        .collect()
}

/// Every number of the one run, and none is missing.
#[track_caller]
fn expect_all(watcher: &Running, taken: u64) {
    let heard = crate::support::wait_until("the last sample", || {
        let heard = heard(watcher);
        (heard.last().map(|last| last.1) == Some(taken)).then_some(heard)
    });
    assert_eq!(heard.len() as u64, taken, "each number from 1: {heard:?}");
}

#[test]
fn an_outage_of_mosquitto_s_network_loses_nothing() {
    let place = Place::new();
    let broker = place.broker(true);
    let watcher = place.watcher(broker.port());
    let network = Proxy::start(local(broker.port()));
    let agent = plan(&place.certificate_bundle(network.port()), network.port(), &[]).start();
    agent.deliver(20);
    for _ in 0..3 {
        network.set(Mode::Down);
        let before = agent.status().expect("an answer")["sampled"].as_u64().expect("a number");
        agent.until("samples", |status| status["sampled"].as_u64() > Some(before + 50) && status["connected"] == false);
        network.set(Mode::Up);
        agent.deliver(60);
    }
    let status = agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10));
    assert!(status["connections"].as_u64() >= Some(4) && status["lost"] == serde_json::json!({}), "{status}");
    let outcome = agent.stop();
    let said = outcome.stderr.lines().find_map(|line| line.strip_prefix("stopped: ")?.split(' ').next());
    let taken: u64 = said.and_then(|number| number.parse().ok()).expect("how many samples it took");
    expect_all(&watcher, taken);
}

#[test]
fn a_certificate_that_expires_in_the_middle_is_named_and_replaced_without_a_restart() {
    let place = Place::new();
    let broker = place.broker(true);
    let watcher = place.watcher(broker.port());
    let network = Proxy::start(local(broker.port()));
    let bundle = place.short_lived_bundle(network.port(), 4);
    let agent = plan(&bundle, network.port(), &["--interval", "0.05"]).start();
    agent.deliver(10);
    let status = agent.until("the end of the certificate", |status| status["certificate_days"].as_i64() < Some(0));
    assert_eq!(status["connected"], true, "{status}");
    network.cut();
    let named = |line: &str| (line.contains("expired") && line.contains("certificate")).then_some(());
    let said = agent.running.stderr.wait_for(1, PATIENCE, named);
    said.unwrap_or_else(|| panic!("it does not say why: {}", agent.running.stderr.text()));
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(30) && status["connected"] == false);
    // Whoever renews it writes it into the bundle.
    place.certificate_bundle(network.port());
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(5) && status["connected"] == true);
    let outcome = agent.stop();
    assert!(outcome.stderr.contains("the bundle holds another certificate or key"), "{outcome:#?}");
    let said = outcome.stderr.lines().find_map(|line| line.strip_prefix("stopped: ")?.split(' ').next());
    expect_all(&watcher, said.and_then(|number| number.parse().ok()).expect("how many samples it took"));
}

#[test]
fn an_agent_that_starts_with_an_expired_certificate_keeps_its_samples_until_there_is_another() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.short_lived_bundle(broker.port(), 0);
    let agent = plan(&bundle, broker.port(), &["--interval", "0.05"]).start();
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(10) && status["connected"] == false);
    let said = agent.running.stderr.text();
    assert!(said.contains("client_cert.pem expired at") && said.contains("kept until it is replaced"), "{said}");
    place.certificate_bundle(broker.port());
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(5) && status["connected"] == true);
    agent.stop();
}

/// Speaks 3.1.1 alone: answers a CONNECT of version 5 as `refuse` says, and everything of the other.
async fn old_broker(mut peer: Peer, refuse: bool, samples: mpsc::SyncSender<()>) -> Option<()> {
    let Ok(Packet::Connect(_)) = peer.receive().await else { return None };
    if peer.codec().version() == Some(Version::V5) {
        if refuse {
            let reason_code = ConnectAckReason::UnsupportedProtocolVersion;
            peer.send(Packet::ConnectAck(Box::new(ConnectAck { reason_code, ..ConnectAck::default() }))).ok()?;
            peer.flush().await.ok()?;
        }
        return None;
    }
    peer.send(Packet::ConnectAck(Box::default())).ok()?;
    peer.flush().await.ok()?;
    loop {
        let answer = match peer.receive().await.ok()? {
            Packet::Subscribe(subscribe) => Packet::SubscribeAck(tesaiot_mqtt::packet::SubscribeAck {
                packet_id: subscribe.packet_id,
                properties: Vec::new(),
                reason_string: None,
                status: vec![tesaiot_mqtt::packet::SubscribeAckReason::UnspecifiedError; subscribe.topic_filters.len()],
            }),
            Packet::Publish(publish) => {
                if publish.topic.contains("/telemetry/") {
                    samples.send(()).ok()?;
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
fn a_broker_that_knows_no_mqtt_5_is_spoken_to_in_3_1_1() {
    // One refuses by its return code, one closes the connection without a word.
    for refuse in [true, false] {
        let place = Place::new();
        let (heard, samples) = mpsc::sync_channel(1000);
        let port = scripted::broker(&place.server(), move |_, peer| {
            let heard = heard.clone();
            async move {
                let _ = old_broker(peer, refuse, heard).await;
            }
        });
        let agent = plan(&place.key_bundle(port), port, &[]).start();
        for _ in 0..20 {
            samples.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no sample: {}", agent.running.stderr.text()));
        }
        // The subscriptions are refused here: that is told, and stops nothing.
        let refused = |line: &str| line.contains("the broker refused the subscription to device/").then_some(());
        assert!(agent.running.stderr.wait_for(3, PATIENCE, refused).is_some(), "{}", agent.running.stderr.text());
        agent.deliver(10);
        agent.stop();
    }
}
