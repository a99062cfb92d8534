//! What a client may have unacknowledged, and what happens beyond it.

use std::num::NonZeroU16;
use std::time::Duration;

use tesaiot_broker::{Config, Outcome};
use tesaiot_mqtt::Version;
use tesaiot_mqtt::packet::{DisconnectReasonCode, Packet, PublishAck2Reason};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, connect, publish, publish_2};

fn narrow() -> Config {
    Config { receive_maximum: 3, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_is_told_its_receive_maximum_and_closed_beyond_it() {
    let bench = Bench::with(narrow());
    bench.host.set(Mode::Hold);
    let (mut device, ack) = bench.connect_as(Version::V5, connect("d")).await;
    assert_eq!(ack.receive_max, NonZeroU16::new(3).unwrap());
    for packet_id in 1..=4 {
        device.publish(publish("d/t", packet_id)).await;
    }
    device.expect_goodbye(DisconnectReasonCode::ReceiveMaximumExceeded).await;
    assert_eq!(bench.broker.counters().protocol_errors, 1);
    assert_eq!(bench.host.topics().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_1_is_not_read_beyond_it() {
    let bench = Bench::with(narrow());
    bench.host.set(Mode::Hold);
    let mut device = bench.connect(Version::V3, "d").await;
    for packet_id in 1..=5 {
        device.publish(publish("d/t", packet_id)).await;
    }
    device.expect_silence().await;
    assert_eq!(bench.host.topics().len(), 3);
    bench.host.resolve(&[0, 1], Outcome::Stored);
    device.expect_puback(1).await;
    device.expect_puback(2).await;
    bench.host.accepted(5).await;
    bench.host.resolve(&[2, 3, 4], Outcome::Stored);
    for packet_id in 3..=5 {
        device.expect_puback(packet_id).await;
    }
}

/// The PUBRELs of a 3.1.1 client stand behind its next PUBLISHes: a broker that waits for them must read on.
#[tokio::test(start_paused = true)]
async fn mqtt_3_1_1_may_pipeline_any_number_of_qos_2_messages() {
    let bench = Bench::with(narrow());
    let mut device = bench.connect(Version::V3, "d").await;
    for packet_id in 1..=10 {
        device.publish(publish_2("d/t", packet_id)).await;
    }
    for packet_id in 1..=10 {
        device.expect_pubrec(packet_id).await;
    }
    for packet_id in 1..=10 {
        assert_eq!(device.release(packet_id).await, PublishAck2Reason::Success);
    }
    assert_eq!(bench.host.topics().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn held_bytes_are_bounded() {
    for version in BOTH {
        let bench = Bench::with(Config { max_held_bytes: 1000, ..Config::default() });
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        for packet_id in 1..=4 {
            let mut publish = publish("d/t", packet_id);
            publish.payload = vec![0; 600].into();
            device.publish(publish).await;
        }
        device.expect_silence().await;
        assert_eq!(bench.host.topics().len(), 2, "one may pass the limit, no more");
        bench.host.resolve(&[0, 1], Outcome::Stored);
        bench.host.accepted(4).await;
    }
}

/// The host's queue is full: the store is stalled, the sender waits, and in the end keeps its message.
#[tokio::test(start_paused = true)]
async fn a_host_without_room_costs_the_connection_after_the_deadline() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Full);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.expect_silence().await;
        let before = tokio::time::Instant::now();
        device.expect_goodbye(DisconnectReasonCode::ServerBusy).await;
        assert!(before.elapsed() <= Duration::from_secs(60));
        bench.host.disconnected("d").await;
        assert_eq!(bench.host.topics().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_finds_room_again_goes_on_where_it_stopped() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Full);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.publish(publish("d/t", 2)).await;
        device.send(Packet::PingRequest).await;
        device.expect_silence().await;
        bench.host.set(Mode::Store);
        device.expect_puback(1).await;
        device.expect_puback(2).await;
        assert!(matches!(device.receive().await, Packet::PingResponse));
    }
}
