//! What one address, and one client, may take.

use std::time::Duration;

use tesaiot_broker::{Config, Listener, Rate, Transport};
use tesaiot_mqtt::packet::{ConnectAckReason, DisconnectReasonCode, Version};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::peer::{BOTH, Bench, connect, publish};

#[tokio::test]
async fn an_address_with_enough_connections_gets_no_more_until_one_ends() {
    let bench = Bench::with(Config { max_connections_per_address: 2, ..Config::default() });
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    bench.broker.listen(Listener { name: "tcp".into(), socket, tls: None, transport: Transport::Stream });
    let closed = async |mut stream: TcpStream| {
        timeout(Duration::from_millis(300), stream.read(&mut [0; 1])).await.is_ok_and(|read| read.unwrap_or(0) == 0)
    };
    let one = TcpStream::connect(address).await.unwrap();
    let two = TcpStream::connect(address).await.unwrap();
    let mut three = TcpStream::connect(address).await.unwrap();
    let ended = timeout(Duration::from_secs(10), three.read(&mut [0; 1])).await.unwrap();
    assert_eq!(ended.unwrap_or(0), 0, "one too many");
    assert_eq!(bench.broker.counters().connections_over_limit, 1);
    drop(one);
    // The end of the first is noticed in its own time.
    let deadline = Instant::now() + Duration::from_secs(10);
    while closed(TcpStream::connect(address).await.unwrap()).await {
        assert!(Instant::now() < deadline, "room comes back");
    }
    drop(two);
}

/// Right or wrong is not looked at: a guess that would succeed does not.
#[tokio::test(start_paused = true)]
async fn a_client_that_fails_again_and_again_pauses_and_others_do_not() {
    for version in BOTH {
        let bench = Bench::new();
        let wrong = || tesaiot_mqtt::packet::Connect { password: Some("guess".into()), ..connect("d") };
        for _ in 0..5 {
            let ack = bench.peer(version).connect(wrong()).await;
            assert_eq!(ack.reason_code, ConnectAckReason::BadUserNameOrPassword);
        }
        let asked = bench.host.asked();
        let ack = bench.peer(version).connect(connect("d")).await;
        let paused = match version {
            Version::V5 => ConnectAckReason::ConnectionRateExceeded,
            Version::V3 => ConnectAckReason::ServerUnavailable,
        };
        assert_eq!(ack.reason_code, paused);
        assert_eq!(bench.host.asked(), asked, "the host has no work with it");
        assert_eq!(bench.broker.counters().logins_paused, 1);
        bench.connect(version, "neighbour").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.connect(version, "d").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_of_its_rate_is_held_back_and_loses_nothing() {
    for version in BOTH {
        let rate = Some(Rate { per_second: 10, burst: 10 });
        let bench = Bench::with(Config { publish_rate: rate, ..Config::default() });
        let mut device = bench.connect(version, "d").await;
        let started = Instant::now();
        for number in 1..=30 {
            device.publish(publish("d/t", number)).await;
        }
        for number in 1..=30 {
            device.expect_puback(number).await;
        }
        let took = started.elapsed();
        assert!((1900..2300).contains(&took.as_millis()), "{took:?}");
        assert_eq!(bench.host.topics().len(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_have_a_rate_too_and_a_message_larger_than_the_burst_passes() {
    let rate = Some(Rate { per_second: 1000, burst: 1000 });
    let bench = Bench::with(Config { publish_bytes_rate: rate, ..Config::default() });
    let mut device = bench.connect(Version::V5, "d").await;
    let started = Instant::now();
    for number in 1..=2 {
        let mut large = publish("d/t", number);
        large.payload = vec![0; 5000].into();
        device.publish(large).await;
        device.expect_puback(number).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_stops_is_let_go() {
    for version in BOTH {
        let rate = Some(Rate { per_second: 10, burst: 10 });
        let patience = Duration::from_secs(5);
        let bench = Bench::with(Config { publish_rate: rate, publish_patience: patience, ..Config::default() });
        let mut device = bench.connect(version, "d").await;
        let mut acknowledged = 0;
        for number in 1..=100 {
            device.publish(publish("d/t", number)).await;
        }
        while let Ok(tesaiot_mqtt::packet::Packet::PublishAck(_)) = device.link.receive().await.inspect(|packet| {
            if let tesaiot_mqtt::packet::Packet::Disconnect(goodbye) = packet {
                assert_eq!(goodbye.reason_code, DisconnectReasonCode::QuotaExceeded);
            }
        }) {
            acknowledged += 1;
        }
        assert!((50..70).contains(&acknowledged), "{acknowledged}");
        assert_eq!(bench.host.topics().len(), acknowledged, "what was not acknowledged is with the client");
        assert_eq!(bench.broker.counters().publish_abused, 1);
    }
}

/// What it owes waits for it: beginning again is no way around.
#[tokio::test(start_paused = true)]
async fn a_new_connection_owes_what_the_one_before_did() {
    for version in BOTH {
        let rate = Some(Rate { per_second: 10, burst: 10 });
        let bench = Bench::with(Config { publish_rate: rate, ..Config::default() });
        let started = Instant::now();
        for number in 1..=30 {
            let mut device = bench.connect(version, "d").await;
            device.publish(publish("d/t", number)).await;
            device.expect_puback(number).await;
            drop(device);
        }
        let took = started.elapsed();
        assert!((1900..2300).contains(&took.as_millis()), "{took:?}");
        let started = Instant::now();
        let mut neighbour = bench.connect(version, "e").await;
        neighbour.publish(publish("e/t", 1)).await;
        neighbour.expect_puback(1).await;
        assert!(started.elapsed() < Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_too_often_is_refused_and_others_are_not() {
    for version in BOTH {
        let rate = Some(Rate { per_second: 1, burst: 3 });
        let bench = Bench::with(Config { connect_rate_per_client: rate, ..Config::default() });
        for _ in 0..3 {
            bench.connect(version, "d").await;
        }
        let asked = bench.host.asked();
        let ack = bench.peer(version).connect(connect("d")).await;
        let refused = match version {
            Version::V5 => ConnectAckReason::ConnectionRateExceeded,
            Version::V3 => ConnectAckReason::ServerUnavailable,
        };
        assert_eq!(ack.reason_code, refused);
        assert_eq!(bench.host.asked(), asked, "the host has no work with it");
        assert_eq!(bench.broker.counters().connects_too_often, 1);
        bench.connect(version, "neighbour").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.connect(version, "d").await;
    }
}
