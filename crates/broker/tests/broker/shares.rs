//! Shared subscriptions: each message to one member, in turn, and to another one when that one dies.

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{Connect, DisconnectReasonCode, Packet, PublishAckReason, Version, publish_ack};
use tesaiot_mqtt::{Message, QoS};

use crate::peer::{BOTH, Bench, Peer, connect, persistent};

const SHARE: &str = "$share/workers/d/#";

async fn member(bench: &Bench, version: Version, connect: Connect, qos: QoS) -> Peer {
    let (mut member, _) = bench.connect_as(version, connect).await;
    member.subscribe(SHARE, qos).await;
    member
}

fn message(number: usize, qos: QoS) -> Message {
    Message::new(format!("d/{number}"), "m", qos)
}

/// What a member has received, acknowledged or not, until nothing comes.
async fn topics(member: &mut Peer, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(member.expect_publish().await.topic.to_string());
    }
    topics
}

#[tokio::test(start_paused = true)]
async fn the_members_take_turns_and_others_get_everything() {
    for version in BOTH {
        let bench = Bench::new();
        let mut members = Vec::new();
        for name in ["app1", "app2", "app3"] {
            members.push(member(&bench, version, connect(name), QoS::AtMostOnce).await);
        }
        let mut own = bench.connect(version, "app4").await;
        own.subscribe("d/#", QoS::AtMostOnce).await;
        for number in 0..9 {
            assert_eq!(bench.broker.publish(&message(number, QoS::AtLeastOnce)), 2, "a member and the other one");
        }
        assert_eq!(topics(&mut own, 9).await.len(), 9);
        for (first, member) in members.iter_mut().enumerate() {
            let expected: Vec<_> = (first..9).step_by(3).map(|number| format!("d/{number}")).collect();
            assert_eq!(topics(member, 3).await, expected);
            member.expect_silence().await;
        }
    }
}

/// MQTT 5 section 4.8.2: nothing that is retained.
#[tokio::test(start_paused = true)]
async fn a_share_gets_nothing_that_is_retained() {
    let bench = Bench::new();
    bench.broker.publish(&message(0, QoS::AtLeastOnce).retained());
    let mut member = member(&bench, Version::V5, connect("app"), QoS::AtMostOnce).await;
    member.expect_silence().await;
}

/// What a member owed an acknowledgement for goes to another one, sent or not, and in order.
#[tokio::test(start_paused = true)]
async fn what_a_dying_member_has_not_acknowledged_goes_to_another() {
    for (version, persists) in BOTH.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        let bench = Bench::with(Config { max_in_flight: 2, ..Config::default() });
        let leaving = if persists { persistent("app1") } else { connect("app1") };
        let mut dying = member(&bench, version, leaving.clone(), QoS::AtLeastOnce).await;
        for number in 0..4 {
            bench.broker.publish(&message(number, QoS::AtLeastOnce));
        }
        assert_eq!(topics(&mut dying, 2).await, ["d/0", "d/1"], "two sent, two wait");
        let mut other = member(&bench, version, connect("app2"), QoS::AtLeastOnce).await;
        drop(dying);
        for number in 0..4 {
            let message = other.expect_publish().await;
            assert_eq!((&*message.topic, message.dup), (&*format!("d/{number}"), false));
            other.acknowledge(message.packet_id.unwrap()).await;
        }
        other.expect_silence().await;
        if persists {
            let (mut back, ack) = bench.connect_as(version, leaving).await;
            assert!(ack.session_present);
            back.expect_silence().await;
        }
        assert_eq!(bench.broker.counters().messages_dropped, 0);
    }
}

/// With nobody else there the messages wait for the member; when its session ends they go to whoever came since.
#[tokio::test(start_paused = true)]
async fn what_nobody_takes_waits() {
    let bench = Bench::new();
    let mut only = member(&bench, Version::V5, persistent("app1"), QoS::AtLeastOnce).await;
    bench.broker.publish(&message(0, QoS::AtLeastOnce));
    only.expect_publish().await;
    drop(only);
    bench.host.disconnected("app1").await;
    bench.broker.publish(&message(1, QoS::AtLeastOnce));
    let mut other = member(&bench, Version::V5, connect("app2"), QoS::AtLeastOnce).await;
    other.expect_silence().await;
    bench.broker.publish(&message(2, QoS::AtLeastOnce));
    assert_eq!(topics(&mut other, 1).await, ["d/2"], "one that is connected comes first");
    // Clean: the old session ends.
    let _back = bench.connect(Version::V5, "app1").await;
    assert_eq!(topics(&mut other, 2).await, ["d/0", "d/1"]);
}

/// MQTT-4.8.2-4, MQTT-4.8.2-5: a QoS 2 message stays with the member that was sent it, and ends with its session.
#[tokio::test(start_paused = true)]
async fn a_qos_2_message_that_was_sent_goes_to_nobody_else() {
    for clean in [false, true] {
        let bench = Bench::new();
        let mut dying = member(&bench, Version::V5, persistent("app1"), QoS::ExactlyOnce).await;
        bench.broker.publish(&message(0, QoS::ExactlyOnce));
        let sent = dying.expect_publish().await;
        let mut other = member(&bench, Version::V5, connect("app2"), QoS::ExactlyOnce).await;
        drop(dying);
        bench.host.disconnected("app1").await;
        other.expect_silence().await;
        if clean {
            let _back = bench.connect(Version::V5, "app1").await;
        } else {
            let (mut back, _) = bench.connect_as(Version::V5, persistent("app1")).await;
            let again = back.expect_publish().await;
            assert!(again.dup);
            assert_eq!(again.packet_id, sent.packet_id);
        }
        other.expect_silence().await;
    }
}

/// MQTT-4.8.2-6: a negative acknowledgement is one too.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_by_a_member_is_discarded() {
    let bench = Bench::new();
    let mut first = member(&bench, Version::V5, connect("app1"), QoS::AtLeastOnce).await;
    bench.broker.publish(&message(0, QoS::AtLeastOnce));
    let mut second = member(&bench, Version::V5, connect("app2"), QoS::AtLeastOnce).await;
    let refused = first.expect_publish().await.packet_id.unwrap();
    first.send(Packet::PublishAck(publish_ack(refused, PublishAckReason::UnspecifiedError))).await;
    first.ping().await;
    drop(first);
    second.expect_silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_with_a_full_queue_is_passed_over_and_not_closed() {
    let bench = Bench::with(Config { max_queued: 5, max_in_flight: 5, ..Config::default() });
    let mut stuck = member(&bench, Version::V3, connect("app1"), QoS::AtLeastOnce).await;
    let mut working = member(&bench, Version::V3, connect("app2"), QoS::AtLeastOnce).await;
    for number in 0..40 {
        assert_eq!(bench.broker.publish(&message(number, QoS::AtLeastOnce)), 1);
        if number % 2 == 1 || number >= 20 {
            let message = working.expect_publish().await;
            working.acknowledge(message.packet_id.unwrap()).await;
            working.ping().await;
        } else if number < 10 {
            stuck.expect_publish().await;
        }
    }
    assert!(bench.broker.is_connected("app1"));
    assert_eq!(bench.broker.counters().messages_dropped, 0);
    // Nobody has room: dropped, counted, and nobody is closed for it.
    assert!(bench.broker.disconnect("app2", DisconnectReasonCode::AdministrativeAction));
    bench.host.disconnected("app2").await;
    assert_eq!(bench.broker.publish(&message(40, QoS::AtLeastOnce)), 0);
    assert_eq!(bench.broker.counters().messages_dropped, 1);
    assert!(bench.broker.is_connected("app1"));
}
