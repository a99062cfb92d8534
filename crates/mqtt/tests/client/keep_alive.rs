//! Noticing that the other end is gone, and only then.

use std::time::Duration;

use tesaiot_mqtt::client::{Lost, Published};
use tesaiot_mqtt::packet::{ConnectAck, Packet};
use tesaiot_mqtt::{Message, QoS, Version};
use tokio::time::{Instant, sleep, timeout};

use crate::server::{BOTH, message, options, pair, pair_with};

const KEEP_ALIVE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_pings_and_the_connection_lives() {
    for version in BOTH {
        let (connected, mut server) = pair(options(version)).await;
        let before = Instant::now();
        for _ in 0..10 {
            assert!(matches!(server.receive().await, Packet::PingRequest));
            server.send(Packet::PingResponse).await;
        }
        assert_eq!(before.elapsed().as_secs(), 600);
        assert!(timeout(Duration::from_secs(1), connected.client.ended()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_without_an_answer_ends_the_connection() {
    for version in BOTH {
        let (connected, _server) = pair(options(version)).await;
        let pending = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
        let before = Instant::now();
        assert!(matches!(pending.outcome().await, Published::Lost(Lost::KeepAlive)));
        assert!(matches!(connected.client.ended().await, Lost::KeepAlive));
        assert_eq!(before.elapsed(), 2 * KEEP_ALIVE);
    }
}

/// The line is cut, nobody says so, and the kernel takes what is written: a busy sender must notice all the same.
#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_publishing_notices_that_nobody_answers() {
    for version in BOTH {
        let (connected, _server) = pair(options(version)).await;
        let client = connected.client.clone();
        let publishing = tokio::spawn(async move {
            while client.publish(message(QoS::AtLeastOnce)).await.is_ok() {
                sleep(Duration::from_secs(10)).await;
            }
        });
        let lost = timeout(3 * KEEP_ALIVE, connected.client.ended()).await;
        assert!(matches!(lost, Ok(Lost::KeepAlive)));
        publishing.await.unwrap();
    }
}

/// As above, and the kernel takes nothing any more.
#[tokio::test(start_paused = true)]
async fn a_client_whose_writes_are_stuck_notices_too() {
    for version in BOTH {
        let (connected, _server) = pair_with(options(version), ConnectAck::default(), 256).await;
        let large = Message::new("d/t", vec![0; 10_000], QoS::AtLeastOnce);
        let pending = connected.client.publish(large).await.unwrap();
        let lost = timeout(3 * KEEP_ALIVE, connected.client.ended()).await;
        assert!(matches!(lost, Ok(Lost::KeepAlive)));
        assert!(matches!(pending.outcome().await, Published::Lost(Lost::KeepAlive)));
    }
}

/// The answer to the ping lies behind messages that this side does not take: the broker is not to blame.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_behind_does_not_end_the_connection() {
    for version in BOTH {
        let mut short = options(version);
        short.queue = 1;
        let (mut connected, mut server) = pair(short).await;
        for _ in 0..5 {
            server.publish(0).await;
        }
        // The broker answers every ping for an hour, and is not read.
        let before = Instant::now();
        while before.elapsed() < Duration::from_secs(3600) {
            assert!(matches!(server.receive().await, Packet::PingRequest));
            server.send(Packet::PingResponse).await;
        }
        for _ in 0..5 {
            connected.messages.recv().await.unwrap();
        }
        assert!(timeout(Duration::from_secs(1), connected.client.ended()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_brokers_keep_alive_counts_and_zero_turns_it_off() {
    let ack = ConnectAck { server_keepalive_sec: Some(5), ..ConnectAck::default() };
    let (_connected, mut server) = pair_with(options(Version::V5), ack, 1024).await;
    let before = Instant::now();
    assert!(matches!(server.receive().await, Packet::PingRequest));
    assert_eq!(before.elapsed().as_secs(), 5);

    let mut never = options(Version::V3);
    never.keep_alive = Duration::ZERO;
    let (_connected, mut server) = pair(never).await;
    assert!(timeout(Duration::from_secs(500), server.next()).await.is_err());
}
