//! A client that connects again: the old connection ends first, and loses nothing.

use std::time::Duration;

use tesaiot_broker::{Config, Outcome};
use tesaiot_mqtt::packet::{ConnectAckReason, DisconnectReasonCode, Publish};
use tesaiot_mqtt::{Codec, Link, Message, Packet, QoS, Version};

use crate::host::{Mode, Seen};
use crate::peer::{BOTH, Bench, connect, persistent, publish, publish_2};

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_closed_and_its_session_handed_over() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut old, _) = bench.connect_as(version, persistent("d")).await;
        old.subscribe("d/#", QoS::AtLeastOnce).await;
        let (mut new, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        old.expect_goodbye(DisconnectReasonCode::SessionTakenOver).await;
        assert_eq!(bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce)), 1);
        new.expect_publish().await;
        assert_eq!(bench.broker.counters().taken_over, 1);
        assert!(bench.broker.is_connected("d"));
        let presence: Vec<_> = bench.host.seen();
        let cause = "taken over by a new connection of the same client".into();
        let expected = [
            Seen::Connected("d".into()),
            Seen::Disconnected { client_id: "d".into(), clean: false, taken_over: true, cause },
            Seen::Connected("d".into()),
        ];
        assert_eq!(presence, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_takes_over_and_forgets() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut old, _) = bench.connect_as(version, persistent("d")).await;
        old.subscribe("d/#", QoS::AtLeastOnce).await;
        let (_new, ack) = bench.connect_as(version, connect("d")).await;
        assert!(!ack.session_present);
        assert_eq!(bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce)), 0);
    }
}

/// The next connection must not be told less than the truth about what arrived on the one before.
#[tokio::test(start_paused = true)]
async fn outstanding_outcomes_resolve_first() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let (mut old, _) = bench.connect_as(version, persistent("d")).await;
        old.publish(publish("d/t", 1)).await;
        old.publish(publish_2("d/t", 2)).await;
        bench.host.accepted(2).await;
        let mut new = bench.peer(version);
        new.send(Packet::Connect(Box::new(persistent("d")))).await;
        new.expect_silence().await;
        old.expect_goodbye(DisconnectReasonCode::SessionTakenOver).await;
        bench.host.resolve(&[0, 1], Outcome::Stored);
        match new.receive().await {
            Packet::ConnectAck(ack) => assert!(ack.session_present),
            other => panic!("{other:?} instead of CONNACK"),
        }
        new.publish(Publish { dup: true, ..publish("d/t", 1) }).await;
        new.publish(Publish { dup: true, ..publish_2("d/t", 2) }).await;
        new.expect_puback(1).await;
        new.expect_pubrec(2).await;
        assert_eq!(bench.host.topics().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_survives_a_take_over_that_gave_up_waiting() {
    for version in BOTH {
        let bench = Bench::with(Config { acknowledge_timeout: Duration::from_secs(30), ..Config::default() });
        bench.host.set(Mode::Hold);
        let (mut old, _) = bench.connect_as(version, persistent("d")).await;
        old.subscribe("d/#", QoS::AtLeastOnce).await;
        // The store stalls: neither the message nor, after it, the Last Will gets an answer.
        old.publish(publish("d/t", 1)).await;
        bench.host.accepted(1).await;
        let mut peer = bench.peer(version);
        let ack = peer.connect(persistent("d")).await;
        if ack.reason_code != ConnectAckReason::Success {
            bench.host.disconnected("d").await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce)), 1, "the session is kept");
            let (_, ack) = bench.connect_as(version, persistent("d")).await;
            assert!(ack.session_present);
        } else {
            assert!(ack.session_present);
        }
    }
}

/// The program that serves the streams may drop one at any time; nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_take_over_that_is_abandoned_leaves_the_session_to_others() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let (mut old, _) = bench.connect_as(version, persistent("d")).await;
        old.publish(publish("d/t", 1)).await;
        bench.host.accepted(1).await;
        let (ours, theirs) = tokio::io::duplex(1024);
        let serving = tokio::spawn(bench.broker.serve(theirs, crate::peer::from()));
        let mut waiting = crate::peer::Peer { link: Link::new(ours, Codec::client(version, 1024)), version };
        waiting.send(Packet::Connect(Box::new(persistent("d")))).await;
        waiting.expect_silence().await;
        serving.abort();
        assert!(serving.await.is_err());
        bench.host.resolve(&[0], Outcome::Stored);
        bench.host.disconnected("d").await;
        assert!(!bench.broker.is_connected("d"));
        let (mut third, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        third.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_that_race_one_remains() {
    for version in BOTH {
        let bench = Bench::new();
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let mut peer = bench.peer(version);
            racers.spawn(async move {
                let accepted = peer.connect(persistent("d")).await.reason_code == ConnectAckReason::Success;
                (accepted, peer)
            });
        }
        let finished = racers.join_all().await;
        let mut alive = 0;
        for (accepted, mut peer) in finished {
            if accepted && tokio::time::timeout(Duration::from_secs(1), peer.link.receive()).await.is_err() {
                peer.ping().await;
                alive += 1;
            }
        }
        assert_eq!(alive, 1);
        assert_eq!(bench.broker.counters().connections, 1);
        assert!(bench.broker.is_connected("d"));
    }
}

/// Real threads: the same, with nothing to keep the racers in step.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn take_overs_on_many_threads_leave_one() {
    let bench = Bench::new();
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mut peer = bench.peer(BOTH[number % 2]);
        racers.spawn(async move {
            let accepted = peer.connect(persistent("d")).await.reason_code == ConnectAckReason::Success;
            (accepted, peer)
        });
    }
    let mut peers = racers.join_all().await;
    // Once the losers are told, one connection is open.
    while bench.broker.counters().connections > 1 {
        tokio::task::yield_now().await;
    }
    assert!(bench.broker.is_connected("d"));
    peers.clear();
    while bench.broker.counters().connections > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!bench.broker.is_connected("d"));
    let (_, ack) = bench.connect_as(Version::V5, persistent("d")).await;
    assert!(ack.session_present);
}
