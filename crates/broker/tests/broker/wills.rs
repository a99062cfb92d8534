//! The Last Will: checked at CONNECT, stored like any message, delivered when the client vanishes.

use std::time::Duration;

use tesaiot_broker::{Action, Outcome};
use tesaiot_mqtt::packet::{Connect, ConnectAckReason, DisconnectReasonCode, Packet, PublishAckReason};
use tesaiot_mqtt::{QoS, Version};

use crate::host::{Mode, Seen};
use crate::peer::{BOTH, Bench, Peer, connect, will};

fn mortal(client_id: &str) -> Connect {
    Connect { last_will: will("d/status"), keep_alive: 10, ..connect(client_id) }
}

async fn reader(bench: &Bench, version: Version) -> Peer {
    let mut reader = bench.connect(version, "app").await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    reader
}

#[tokio::test(start_paused = true)]
async fn a_will_on_the_topic_of_another_is_refused_at_connect() {
    for version in BOTH {
        let bench = Bench::new();
        let mut device = bench.peer(version);
        let ack = device.connect(Connect { last_will: will("other/status"), ..connect("d") }).await;
        assert_eq!(ack.reason_code, ConnectAckReason::NotAuthorized);
        device.expect_end().await;
        let denied = Seen::Denied { client_id: "d".into(), action: Action::Publish, topic: "other/status".into() };
        bench.host.until("the incident", |inner| inner.seen.contains(&denied)).await;
        assert_eq!(bench.host.topics().len(), 0);
        let wildcard = bench.peer(version).connect(Connect { last_will: will("d/#"), ..connect("d") }).await;
        assert_ne!(wildcard.reason_code, ConnectAckReason::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_delivered_once_it_is_stored() {
    for version in BOTH {
        let bench = Bench::new();
        let mut reader = reader(&bench, version).await;
        let (device, _) = bench.connect_as(version, mortal("d")).await;
        bench.host.set(Mode::Hold);
        drop(device);
        bench.host.accepted(1).await;
        reader.expect_silence().await;
        bench.host.resolve(&[0], Outcome::Stored);
        let message = reader.expect_publish().await;
        assert_eq!((&*message.topic, &*message.payload), ("d/status", &b"gone"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_that_is_not_stored_is_not_delivered() {
    for mode in [Mode::Drop, Mode::Refuse(PublishAckReason::PayloadFormatInvalid)] {
        let bench = Bench::new();
        let mut reader = reader(&bench, Version::V5).await;
        let (device, _) = bench.connect_as(Version::V5, mortal("d")).await;
        bench.host.set(mode);
        drop(device);
        bench.host.disconnected("d").await;
        reader.expect_silence().await;
    }
}

/// Everything but a DISCONNECT publishes the will.
#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_leaves_its_will() {
    for version in BOTH {
        for way in ["protocol error", "keep-alive", "take-over", "eviction", "denied"] {
            let bench = Bench::new();
            let mut reader = reader(&bench, version).await;
            let (mut device, _) = bench.connect_as(version, mortal("d")).await;
            let mut successor = None;
            match way {
                "protocol error" => device.send(Packet::PingResponse).await,
                "keep-alive" => tokio::time::sleep(Duration::from_secs(16)).await,
                "take-over" => successor = Some(bench.connect(version, "d").await),
                "eviction" => assert!(bench.broker.disconnect("d", DisconnectReasonCode::AdministrativeAction)),
                _ => device.publish(crate::peer::publish("other/t", 0)).await,
            }
            assert_eq!(reader.expect_publish().await.topic, "d/status", "{way}");
            reader.expect_silence().await;
            if let Some(mut successor) = successor {
                successor.ping().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_leaves_none() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, mortal("d")).await;
        device.disconnect(DisconnectReasonCode::NormalDisconnection).await;
        let (clean, ..) = bench.host.disconnected("d").await;
        assert!(clean);
        assert_eq!(bench.host.topics().len(), 0);
    }
}

/// MQTT-3.14.4-3: only the reason 0x00 discards the will.
#[tokio::test(start_paused = true)]
async fn an_mqtt_5_goodbye_with_a_reason_leaves_the_will() {
    for reason in [DisconnectReasonCode::DisconnectWithWillMessage, DisconnectReasonCode::ImplementationSpecificError] {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(Version::V5, mortal("d")).await;
        device.disconnect(reason).await;
        bench.host.disconnected("d").await;
        assert_eq!(bench.host.topics(), ["d/status"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_stored_after_what_the_client_sent() {
    let bench = Bench::new();
    let (mut device, _) = bench.connect_as(Version::V3, mortal("d")).await;
    device.publish(crate::peer::publish("d/last", 1)).await;
    drop(device);
    bench.host.accepted(2).await;
    assert_eq!(bench.host.topics(), ["d/last", "d/status"]);
    assert_eq!(bench.host.accepted_messages()[1].qos, QoS::AtLeastOnce);
}

fn patient(client_id: &str, delay: u32, expiry: u32) -> Connect {
    let mut will = will("d/status");
    will.as_mut().unwrap().will_delay_interval_sec = Some(delay);
    Connect { last_will: will, session_expiry_interval_secs: expiry, clean_start: false, ..connect(client_id) }
}

/// MQTT-3.1.3-9: the delay or the end of the session, whichever comes first.
#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_for_the_delay_or_the_end_of_the_session() {
    for (delay, expiry, expected) in [(60, 3600, 60), (3600, 60, 60), (60, 0, 0), (0, 3600, 0)] {
        let bench = Bench::new();
        let mut reader = reader(&bench, Version::V5).await;
        let (device, _) = bench.connect_as(Version::V5, patient("d", delay, expiry)).await;
        drop(device);
        let left = tokio::time::Instant::now();
        assert_eq!(reader.expect_publish().await.topic, "d/status");
        assert_eq!(left.elapsed().as_secs(), expected, "{delay} {expiry}");
        assert_eq!(bench.host.topics(), ["d/status"], "stored like any other");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_in_time_leaves_no_will() {
    let bench = Bench::new();
    let mut reader = reader(&bench, Version::V5).await;
    let (device, _) = bench.connect_as(Version::V5, patient("d", 60, 3600)).await;
    drop(device);
    bench.host.disconnected("d").await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    // A take-over is a come-back too, and each connection has a will of its own.
    let (first, _) = bench.connect_as(Version::V5, patient("d", 60, 3600)).await;
    let (mut second, ack) = bench.connect_as(Version::V5, patient("d", 60, 3600)).await;
    assert!(ack.session_present);
    drop(first);
    tokio::time::sleep(Duration::from_secs(200)).await;
    second.ping().await;
    second.disconnect(DisconnectReasonCode::NormalDisconnection).await;
    reader.expect_silence().await;
    assert_eq!(bench.host.topics().len(), 0);
}

/// MQTT-3.1.2-8: a session that is not resumed, an eviction and a drain: the session ends, and the will is due.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_ends_the_wait() {
    for way in ["clean start", "clean take-over", "eviction", "eviction while connected", "drain"] {
        let bench = Bench::new();
        let mut reader = reader(&bench, Version::V5).await;
        let (device, _) = bench.connect_as(Version::V5, patient("d", 600, 3600)).await;
        if matches!(way, "clean start" | "eviction" | "drain") {
            drop(device);
            bench.host.disconnected("d").await;
            reader.expect_silence().await;
        }
        match way {
            "clean start" | "clean take-over" => drop(bench.connect(Version::V5, "d").await),
            "drain" => assert!(bench.broker.drain(Duration::from_secs(5)).await),
            _ => drop(bench.broker.disconnect("d", DisconnectReasonCode::NotAuthorized)),
        }
        bench.host.accepted(1).await;
        assert_eq!(bench.host.topics(), ["d/status"], "{way}");
        if way != "drain" {
            assert_eq!(reader.expect_publish().await.topic, "d/status", "{way}");
            reader.expect_silence().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wills_that_wait_are_bounded() {
    let bench = Bench::with(tesaiot_broker::Config { max_delayed_will_bytes: 25, ..Default::default() });
    let mut reader = reader(&bench, Version::V5).await;
    for client in ["d", "e", "f"] {
        let mut connect = patient(client, 600, 3600);
        connect.last_will.as_mut().unwrap().topic = format!("{client}/status").into();
        let (device, _) = bench.connect_as(Version::V5, connect).await;
        drop(device);
        bench.host.disconnected(client).await;
    }
    assert_eq!(reader.expect_publish().await.topic, "f/status", "no room: at once");
    reader.expect_silence().await;
}
