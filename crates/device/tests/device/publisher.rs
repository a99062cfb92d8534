//! A run of messages against a broker that a test plays, under a paused clock.

use std::future::pending;
use std::time::Duration;

use tesaiot_device::publisher::{Envelope, Made, Plan, Report, WINDOW, goodbye, publish};
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::client::direct::Direct;
use tesaiot_mqtt::packet::{Packet, PublishAckReason, publish_ack};
use tesaiot_mqtt::{Codec, Link, QoS, Version};
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

type Peer = Link<DuplexStream>;

/// A client, and the broker's end of its connection.
async fn connected() -> (Direct<DuplexStream>, Peer) {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let mut peer = Link::new(theirs, Codec::server(1024 * 1024));
    let mut options = Options::new("pump-7");
    (options.version, options.receive_maximum) = (Version::V5, WINDOW);
    // Silence is part of these tests: the broker says nothing for minutes.
    options.keep_alive = Duration::ZERO;
    let connecting = tokio::spawn(async move { Direct::connect(ours, &options, None).await });
    assert!(matches!(peer.receive().await, Ok(Packet::Connect(_))));
    peer.send(Packet::ConnectAck(Box::default())).unwrap();
    peer.flush().await.unwrap();
    (connecting.await.unwrap().unwrap(), peer)
}

/// The next message, as its payload, and its identifier. None when the client said goodbye.
async fn message(peer: &mut Peer) -> Option<(String, std::num::NonZeroU16)> {
    match peer.receive().await {
        Ok(Packet::Publish(publish)) => {
            Some((String::from_utf8(publish.payload.to_vec()).unwrap(), publish.packet_id.unwrap()))
        }
        Ok(Packet::Disconnect(_)) => None,
        other => panic!("{other:?}"),
    }
}

async fn answer(peer: &mut Peer, packet_id: std::num::NonZeroU16, reason: PublishAckReason) {
    peer.send(Packet::PublishAck(publish_ack(packet_id, reason))).unwrap();
    peer.flush().await.unwrap();
}

async fn run(mut direct: Direct<DuplexStream>, plan: Plan, stop: impl Future<Output = ()>) -> Report {
    let envelope = Envelope { topic: "device/pump-7/telemetry".into(), qos: QoS::AtLeastOnce, retain: false };
    let mut source = Made::new(|number| number.to_string());
    let report = publish(&mut direct, &envelope, plan, &mut source, false, stop, |_| ()).await;
    if report.ended.is_none() && !report.stalled {
        goodbye(&mut direct, None).await;
    }
    report
}

#[tokio::test(start_paused = true)]
async fn the_schedule_counts_from_the_first_message_and_a_slow_answer_does_not_shift_it() {
    let (direct, mut peer) = connected().await;
    let started = Instant::now();
    let broker = tokio::spawn(async move {
        let mut times = Vec::new();
        while let Some((_, packet_id)) = message(&mut peer).await {
            times.push(started.elapsed().as_millis());
            sleep(Duration::from_millis(700)).await;
            answer(&mut peer, packet_id, PublishAckReason::Success).await;
        }
        times
    });
    let report = run(direct, Plan::new(4, Duration::from_secs(2)), pending()).await;
    assert!(report.is_complete() && report.acknowledged == 4, "{report:?}");
    let times = broker.await.unwrap();
    // The timer of the runtime has a resolution of a millisecond.
    for (time, expected) in times.iter().zip([0, 2000, 4000, 6000]) {
        assert!((expected..expected + 3).contains(time), "{times:?}");
    }
    assert_eq!(times.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn messages_do_not_wait_for_one_another_and_the_window_holds() {
    let (direct, mut peer) = connected().await;
    let count = u64::from(WINDOW) + 10;
    let broker = tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..WINDOW {
            held.push(message(&mut peer).await.unwrap().1);
        }
        let more = tokio::time::timeout(Duration::from_secs(1), message(&mut peer)).await;
        assert!(more.is_err(), "the window is full");
        // Answers in any order do.
        for packet_id in held.into_iter().rev() {
            answer(&mut peer, packet_id, PublishAckReason::Success).await;
        }
        let mut rest = Vec::new();
        while let Some((payload, packet_id)) = message(&mut peer).await {
            answer(&mut peer, packet_id, PublishAckReason::Success).await;
            rest.push(payload);
        }
        rest
    });
    let report = run(direct, Plan::new(count, Duration::ZERO), pending()).await;
    assert_eq!((report.sent, report.acknowledged), (count, count), "{report:?}");
    let expected: Vec<_> = (u64::from(WINDOW)..count).map(|number| number.to_string()).collect();
    assert_eq!(broker.await.unwrap(), expected, "every message is sent once, in order");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_acknowledging_is_given_up() {
    let (direct, mut peer) = connected().await;
    let broker = tokio::spawn(async move {
        let (_, packet_id) = message(&mut peer).await.unwrap();
        answer(&mut peer, packet_id, PublishAckReason::Success).await;
        while peer.receive().await.is_ok() {}
    });
    let started = Instant::now();
    let report = run(direct, Plan::new(5, Duration::ZERO), pending()).await;
    assert!(report.stalled, "{report:?}");
    assert_eq!((report.acknowledged, report.lost, report.not_sent), (1, 4, 0), "{report:?}");
    assert!((30..35).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    broker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_long_interval_is_not_a_stall() {
    let (direct, mut peer) = connected().await;
    let broker = tokio::spawn(async move {
        while let Some((_, packet_id)) = message(&mut peer).await {
            sleep(Duration::from_secs(20)).await;
            answer(&mut peer, packet_id, PublishAckReason::Success).await;
        }
    });
    let report = run(direct, Plan::new(3, Duration::from_secs(600)), pending()).await;
    assert!(report.is_complete() && report.acknowledged == 3, "{report:?}");
    broker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_in_flight_and_sends_nothing_more() {
    let (direct, mut peer) = connected().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let broker = tokio::spawn(async move {
        let (_, packet_id) = message(&mut peer).await.unwrap();
        stop.send(()).unwrap();
        sleep(Duration::from_secs(7)).await;
        answer(&mut peer, packet_id, PublishAckReason::Success).await;
        assert_eq!(message(&mut peer).await, None);
    });
    let stop = async { stopped.await.unwrap() };
    let report = run(direct, Plan::new(9, Duration::from_secs(2)), stop).await;
    assert!(report.interrupted, "{report:?}");
    assert_eq!((report.acknowledged, report.lost, report.not_sent), (1, 0, 8), "{report:?}");
    broker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_no_message_unaccounted_for() {
    let (direct, mut peer) = connected().await;
    let broker = tokio::spawn(async move {
        for number in 0..5 {
            let (_, packet_id) = message(&mut peer).await.unwrap();
            let reason = if number == 1 { PublishAckReason::NotAuthorized } else { PublishAckReason::Success };
            if number < 3 {
                answer(&mut peer, packet_id, reason).await;
            }
        }
    });
    let report = run(direct, Plan::new(1000, Duration::from_millis(100)), pending()).await;
    broker.await.unwrap();
    assert_eq!((report.acknowledged, report.refused), (2, 1), "{report:?}");
    assert_eq!(report.first_refusal, Some(PublishAckReason::NotAuthorized));
    assert!(report.lost >= 2 && report.ended.is_some(), "{report:?}");
    assert_eq!(report.acknowledged + report.refused + report.lost + report.not_sent, 1000, "{report:?}");
    assert!(!report.is_complete());
}
