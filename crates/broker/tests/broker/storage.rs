//! What outlives the process: a keeper that is as slow as the test says, and a crash after any of its commits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tesaiot_broker::storage::{Change, Key, Progress, Storage};
use tesaiot_broker::{Broker, Config};
use tesaiot_mqtt::packet::{
    ConnectAckReason, DisconnectReasonCode, LastWill, Packet, Publish, PublishAck2Reason, PublishAckReason, Version,
    publish_ack, publish_ack2,
};
use tesaiot_mqtt::{Message, QoS};
use tokio::time::timeout;

use crate::host::{Mode, TestHost};
use crate::peer::{BOTH, Bench, Peer, connect, id, persistent, publish, publish_2, will};

/// The kind of the records which say that a message was sent.
const SENT: u8 = 4;

/// Keeps everything, and calls it durable up to a position.
struct Keeper {
    submitted: Mutex<Vec<Vec<Change>>>,
    durable_up_to: Mutex<u64>,
    progress: Progress,
}

impl Keeper {
    fn new(durable_up_to: u64) -> Arc<Self> {
        let (submitted, progress) = (Mutex::default(), Progress::default());
        Arc::new(Self { submitted, durable_up_to: Mutex::new(durable_up_to), progress })
    }

    /// What a crash now would leave.
    fn records(&self) -> HashMap<Key, Bytes> {
        after(HashMap::new(), self, 0)
    }

    fn allow(&self, up_to: u64) {
        *self.durable_up_to.lock().unwrap() = up_to;
        let submitted = self.submitted.lock().unwrap().len() as u64;
        self.progress.advance(submitted.min(up_to));
    }

    fn submitted(&self) -> u64 {
        self.submitted.lock().unwrap().len() as u64
    }
}

impl Storage for Keeper {
    fn submit(&self, position: u64, changes: Vec<Change>) {
        let mut submitted = self.submitted.lock().unwrap();
        submitted.push(changes);
        assert_eq!(submitted.len() as u64, position, "positions grow by one");
        drop(submitted);
        self.progress.advance(position.min(*self.durable_up_to.lock().unwrap()));
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// A broker on what a crash of the one before has left.
fn start(keeper: &Arc<Keeper>, before: HashMap<Key, Bytes>) -> Bench {
    start_with(Config::default(), keeper, before)
}

fn start_with(config: Config, keeper: &Arc<Keeper>, before: HashMap<Key, Bytes>) -> Bench {
    let host = TestHost::new();
    let storage: Arc<dyn Storage> = Arc::clone(keeper) as Arc<dyn Storage>;
    let broker = Broker::with_storage(host.clone(), config, storage);
    let restored = broker.restore(before);
    assert_eq!(restored.unreadable, 0);
    Bench { broker, host }
}

#[tokio::test(start_paused = true)]
async fn a_session_comes_back_with_subscriptions_and_messages_in_order() {
    for version in BOTH {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        let (mut reader, _) = bench.connect_as(version, persistent("app")).await;
        reader.subscribe("d/#", QoS::ExactlyOnce).await;
        drop(reader);
        bench.host.disconnected("app").await;
        let mut device = bench.connect(Version::V5, "d").await;
        for number in 1..=5 {
            let message = if number % 2 == 0 { publish_2("d/t", number) } else { publish("d/t", number) };
            device.publish(message).await;
            device.acknowledged().await;
        }
        device.publish(publish("d/t", 0)).await;
        device.ping().await;
        drop(bench);

        let keeper_2 = Keeper::new(u64::MAX);
        let bench = start(&keeper_2, keeper.records());
        let (mut reader, ack) = bench.connect_as(version, persistent("app")).await;
        assert!(ack.session_present);
        let mut received = Vec::new();
        for number in 1..=5 {
            let message = reader.expect_publish().await;
            assert_eq!(&message.payload[..], format!("payload {number}").as_bytes());
            assert_eq!(message.qos, if number % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce });
            assert!(!message.dup, "it was never sent");
            received.push((message.packet_id.unwrap(), message.qos));
        }
        for (packet_id, qos) in received {
            if qos == QoS::ExactlyOnce {
                reader.send(Packet::PublishReceived(publish_ack(packet_id, PublishAckReason::Success))).await;
                assert!(matches!(reader.receive().await, Packet::PublishRelease(_)));
                reader.send(Packet::PublishComplete(publish_ack2(packet_id, PublishAck2Reason::Success))).await;
            } else {
                reader.acknowledge(packet_id).await;
            }
        }
        reader.expect_silence().await;
        assert_eq!(bench.broker.publish(&Message::new("d/other", "m", QoS::AtLeastOnce)), 1, "subscribed as before");
    }
}

/// What was refused is known after a restart too, with its reason: it is kept aside once.
#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_accepted_again_after_a_restart() {
    const REASON: PublishAckReason = PublishAckReason::PayloadFormatInvalid;
    for (version, reason) in BOTH.into_iter().zip([PublishAckReason::Success, REASON]) {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        bench.host.set(Mode::Refuse(REASON));
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish("d/t", 1)).await;
        device.publish(publish_2("d/t", 2)).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, reason));
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 2, reason));
        drop(device);
        bench.host.disconnected("d").await;
        bench.broker.drain(Duration::from_secs(1)).await;

        let keeper_2 = Keeper::new(u64::MAX);
        let bench = start(&keeper_2, keeper.records());
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        device.publish(Publish { dup: true, ..publish("d/t", 1) }).await;
        device.publish(Publish { dup: true, ..publish_2("d/t", 2) }).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, reason));
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 2, reason));
        assert_eq!(bench.host.topics().len(), 0);
    }
}

/// Messages that were sent and not acknowledged wait beside those that fill the queue; after a crash that forgot they
/// were sent all of them wait in the queue.
#[tokio::test(start_paused = true)]
async fn what_was_promised_comes_back_also_when_it_is_more_than_may_wait() {
    let config = Config { max_queued: 3, ..Config::default() };
    let keeper = Keeper::new(u64::MAX);
    let bench = start_with(config.clone(), &keeper, HashMap::new());
    let (mut reader, _) = bench.connect_as(Version::V3, persistent("app")).await;
    reader.subscribe("d/#", QoS::AtLeastOnce).await;
    let mut device = bench.connect(Version::V5, "d").await;
    let window = u32::from(config.max_in_flight);
    for number in 1..=window + 3 {
        device.publish(publish("d/t", number as u16)).await;
        device.acknowledged().await;
    }
    for _ in 0..window {
        reader.expect_publish().await;
    }
    drop(bench);
    // The crash came after the copies and before the notes that they were sent.
    let mut left = keeper.records();
    left.retain(|key, _| key.kind != SENT);
    let keeper = Keeper::new(u64::MAX);
    let bench = start_with(config, &keeper, left);
    let (mut reader, _) = bench.connect_as(Version::V3, persistent("app")).await;
    for number in 1..=window + 3 {
        let message = reader.expect_publish().await;
        assert_eq!(&message.payload[..], format!("payload {number}").as_bytes());
        reader.acknowledge(message.packet_id.unwrap()).await;
    }
    reader.expect_silence().await;
}

/// A client that asks for a clean start, an expiry that is over, an eviction: nothing of it comes back.
#[tokio::test(start_paused = true)]
async fn a_session_that_ended_does_not_come_back() {
    let keeper = Keeper::new(u64::MAX);
    let bench = start(&keeper, HashMap::new());
    for name in ["clean", "evicted", "expired", "left"] {
        let (mut client, _) = bench.connect_as(Version::V5, persistent(name)).await;
        client.subscribe(&format!("{name}/#"), QoS::AtLeastOnce).await;
        client.disconnect(DisconnectReasonCode::NormalDisconnection).await;
        bench.host.disconnected(name).await;
        bench.broker.publish(&Message::new(format!("{name}/t"), "m", QoS::AtLeastOnce));
    }
    drop(bench.connect(Version::V5, "clean").await);
    bench.broker.disconnect("evicted", DisconnectReasonCode::NotAuthorized);
    let short = tesaiot_mqtt::packet::Connect { session_expiry_interval_secs: 1, ..persistent("expired") };
    drop(bench.connect_as(Version::V5, short).await);
    let (mut left, _) = bench.connect_as(Version::V5, persistent("left")).await;
    let goodbye = tesaiot_mqtt::packet::Disconnect {
        session_expiry_interval_secs: Some(0),
        ..tesaiot_mqtt::packet::Disconnect::default()
    };
    left.send(Packet::Disconnect(goodbye)).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(keeper.records().is_empty(), "{:?}", keeper.records().keys());
}

#[tokio::test(start_paused = true)]
async fn retained_messages_come_back_and_removed_ones_do_not() {
    let keeper = Keeper::new(u64::MAX);
    let bench = start(&keeper, HashMap::new());
    let mut device = bench.connect(Version::V5, "d").await;
    for (number, topic) in [(1, "d/a"), (2, "d/b"), (3, "d/a")] {
        let mut message = publish(topic, number);
        message.retain = true;
        device.publish(message).await;
        device.expect_puback(number).await;
    }
    let mut nothing = publish("d/b", 4);
    (nothing.retain, nothing.payload) = (true, Bytes::new());
    device.publish(nothing).await;
    device.expect_puback(4).await;
    drop(bench);
    let bench = start(&Keeper::new(u64::MAX), keeper.records());
    let mut reader = bench.connect(Version::V3, "app").await;
    reader.subscribe("d/#", QoS::AtLeastOnce).await;
    let message = reader.expect_publish().await;
    assert_eq!((&*message.topic, &message.payload[..], message.retain), ("d/a", &b"payload 3"[..], true));
    reader.expect_silence().await;
}

/// Limits that were lowered between two starts hold back what comes; they take nothing that was promised.
#[tokio::test(start_paused = true)]
async fn retained_messages_come_back_also_when_they_are_more_than_a_client_may_have() {
    let keeper = Keeper::new(u64::MAX);
    let bench = start(&keeper, HashMap::new());
    let retained = |topic: &str, number| Publish { retain: true, ..publish(topic, number) };
    let mut device = bench.connect(Version::V5, "d").await;
    for number in 1..=3 {
        device.publish(retained(&format!("d/{number}"), number)).await;
        device.expect_puback(number).await;
    }
    drop(bench);
    for config in [
        Config { max_retained_per_client: 1, ..Config::default() },
        Config { max_retained_bytes_per_client: 150, ..Config::default() },
        Config { max_retained: 1, ..Config::default() },
    ] {
        let later = Keeper::new(u64::MAX);
        let bench = start_with(config, &later, keeper.records());
        assert_eq!(later.submitted(), 0, "nothing is removed");
        let mut device = bench.connect(Version::V5, "d").await;
        device.publish(retained("d/2", 7)).await;
        device.acknowledged().await;
        device.publish(retained("d/4", 8)).await;
        device.acknowledged().await;
        let mut reader = bench.connect(Version::V3, "app").await;
        reader.subscribe("d/#", QoS::AtLeastOnce).await;
        let mut payloads = BTreeSet::new();
        for _ in 0..3 {
            let message = reader.expect_publish().await;
            payloads.insert(String::from_utf8(message.payload.to_vec()).unwrap());
            reader.acknowledge(message.packet_id.unwrap()).await;
        }
        reader.expect_silence().await;
        let expected = ["payload 1", "payload 3", "payload 7"].map(String::from);
        assert_eq!(payloads, BTreeSet::from(expected), "what there was may change, and nothing is added");
    }
}

/// The client is away when the process dies, and comes back in time, or too late.
#[tokio::test(start_paused = true)]
async fn a_delayed_will_comes_when_it_is_due_and_not_if_the_client_is_back() {
    for back_in_time in [true, false] {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        let mut connect = persistent("d");
        connect.last_will = will("d/status").map(|will| LastWill { will_delay_interval_sec: Some(60), ..will });
        drop(bench.connect_as(Version::V5, connect.clone()).await);
        bench.host.disconnected("d").await;
        drop(bench);
        let keeper_2 = Keeper::new(u64::MAX);
        let bench = start(&keeper_2, keeper.records());
        let mut reader = bench.connect(Version::V5, "app").await;
        reader.subscribe("d/#", QoS::AtLeastOnce).await;
        reader.expect_silence().await;
        if back_in_time {
            connect.last_will = None;
            let _device = bench.connect_as(Version::V5, connect).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
            reader.expect_silence().await;
        } else {
            assert_eq!(&*reader.expect_publish().await.topic, "d/status");
            assert_eq!(bench.host.topics(), ["d/status"], "stored like any other message");
        }
        assert!(!after(keeper.records(), &keeper_2, 0).keys().any(|key| key.kind == 7), "and it is forgotten");
    }
}

/// Each packet that promises something waits until it is true.
#[tokio::test(start_paused = true)]
async fn nothing_is_promised_before_it_is_durable() {
    for version in BOTH {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        let (mut reader, _) = bench.connect_as(version, persistent("app")).await;
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        let stall = || keeper.allow(keeper.submitted());
        let go = || keeper.allow(u64::MAX);

        stall();
        let topic_filters = vec![(
            "d/#".into(),
            tesaiot_mqtt::packet::SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() },
        )];
        let subscribe =
            tesaiot_mqtt::packet::Subscribe { packet_id: id(9), id: None, user_properties: Vec::new(), topic_filters };
        reader.send(Packet::Subscribe(subscribe)).await;
        reader.expect_silence().await;
        go();
        assert!(matches!(reader.receive().await, Packet::SubscribeAck(_)));

        stall();
        device.publish(publish("d/t", 1)).await;
        device.expect_silence().await;
        reader.expect_silence().await;
        go();
        device.expect_puback(1).await;
        let message = reader.expect_publish().await;
        reader.acknowledge(message.packet_id.unwrap()).await;
        reader.ping().await;

        stall();
        device.publish(publish_2("d/t", 2)).await;
        device.expect_silence().await;
        go();
        device.expect_pubrec(2).await;
        let message = reader.expect_publish().await;
        let packet_id = message.packet_id.unwrap();
        stall();
        reader.send(Packet::PublishReceived(publish_ack(packet_id, PublishAckReason::Success))).await;
        reader.expect_silence().await;
        device.send(Packet::PublishRelease(publish_ack2(id(2), PublishAck2Reason::Success))).await;
        device.expect_silence().await;
        go();
        assert!(matches!(reader.receive().await, Packet::PublishRelease(_)));
        assert!(matches!(device.receive().await, Packet::PublishComplete(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_stalls_for_too_long_costs_the_connection_and_no_promise_leaves() {
    for version in BOTH {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        keeper.allow(keeper.submitted());
        device.publish(publish_2("d/t", 1)).await;
        device.expect_goodbye(DisconnectReasonCode::ServerBusy).await;
    }
}

/// A drain waits for what is almost durable.
#[tokio::test(start_paused = true)]
async fn a_drain_keeps_what_it_promises() {
    let keeper = Keeper::new(u64::MAX);
    let bench = start(&keeper, HashMap::new());
    let (mut device, _) = bench.connect_as(Version::V5, persistent("d")).await;
    keeper.allow(keeper.submitted());
    device.publish(publish_2("d/t", 1)).await;
    device.expect_silence().await;
    let broker = bench.broker.clone();
    let drain = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    device.expect_silence().await;
    keeper.allow(u64::MAX);
    device.expect_pubrec(1).await;
    device.expect_goodbye(DisconnectReasonCode::ServerShuttingDown).await;
    assert!(drain.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_room_comes_back() {
    let keeper = Keeper::new(u64::MAX);
    let config = Config { max_stored_bytes: 1000, ..Config::default() };
    let bench = start_with(config, &keeper, HashMap::new());
    let (mut reader, _) = bench.connect_as(Version::V5, persistent("app")).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    drop(reader);
    bench.host.disconnected("app").await;
    let message = Message::new("d/t", vec![7; 100], QoS::AtLeastOnce);
    let taken: usize = (0..20).map(|_| bench.broker.publish(&message)).sum();
    assert!((5..10).contains(&taken), "{taken}");
    assert!(keeper.records().values().map(Bytes::len).sum::<usize>() < 1100);
    let (mut reader, _) = bench.connect_as(Version::V5, persistent("app")).await;
    for _ in 0..taken {
        let packet_id = reader.expect_publish().await.packet_id.unwrap();
        reader.acknowledge(packet_id).await;
    }
    reader.ping().await;
    drop(reader);
    bench.host.until("both ends", |inner| inner.seen.len() == 4).await;
    assert_eq!(bench.broker.publish(&message), 1);
}

/// What one publisher and one subscriber know, whatever becomes of the broker.
#[derive(Default)]
struct Clients {
    /// Messages the publisher has not brought to an end, and whether PUBREC came.
    unfinished: Vec<(u16, bool)>,
    /// What the subscriber's application was given.
    delivered: Vec<String>,
    /// QoS 2 identifiers the subscriber has taken and not seen released.
    taken: BTreeSet<u16>,
}

const MESSAGES: u16 = 4;
const IDLE: Duration = Duration::from_secs(1);

/// Both clients at work until the broker says nothing more.
async fn work(bench: &Bench, clients: &mut Clients) {
    let (mut device, ack) = connect_or_silence(bench, "d").await;
    let (mut reader, ack_2) = connect_or_silence(bench, "app").await;
    if !(ack && ack_2) {
        return;
    }
    for (number, received) in &clients.unfinished {
        if *received {
            device.send(Packet::PublishRelease(publish_ack2(id(*number), PublishAck2Reason::Success))).await;
        } else {
            let mut message = publish_2("d/t", *number);
            message.dup = true;
            device.publish(message).await;
        }
    }
    loop {
        tokio::select! {
            packet = device.link.receive() => match packet.unwrap() {
                Packet::PublishReceived(ack) => {
                    let number = ack.packet_id.get();
                    let known = clients.unfinished.iter_mut().find(|(known, _)| *known == number);
                    known.expect("a message of ours").1 = true;
                    device.send(Packet::PublishRelease(publish_ack2(ack.packet_id, PublishAck2Reason::Success))).await;
                }
                Packet::PublishComplete(ack) => clients.unfinished.retain(|(number, _)| *number != ack.packet_id.get()),
                other => panic!("{other:?}"),
            },
            packet = reader.link.receive() => match packet.unwrap() {
                Packet::Publish(message) => {
                    let packet_id = message.packet_id.unwrap();
                    if clients.taken.insert(packet_id.get()) {
                        clients.delivered.push(String::from_utf8(message.payload.to_vec()).unwrap());
                    } else {
                        assert!(message.dup, "a repetition says so");
                    }
                    reader.send(Packet::PublishReceived(publish_ack(packet_id, PublishAckReason::Success))).await;
                }
                Packet::PublishRelease(release) => {
                    clients.taken.remove(&release.packet_id.get());
                    reader.send(Packet::PublishComplete(publish_ack2(release.packet_id, PublishAck2Reason::Success))).await;
                }
                other => panic!("{other:?}"),
            },
            () = tokio::time::sleep(IDLE) => return,
        }
    }
}

fn subscription() -> tesaiot_mqtt::packet::Subscribe {
    let options = tesaiot_mqtt::packet::SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
    let topic_filters = vec![("d/#".into(), options)];
    tesaiot_mqtt::packet::Subscribe { packet_id: id(9), id: None, user_properties: Vec::new(), topic_filters }
}

/// Connects with a session; false when the broker does not answer in time.
async fn connect_or_silence(bench: &Bench, name: &str) -> (Peer, bool) {
    let mut peer = bench.peer(Version::V3);
    peer.send(Packet::Connect(Box::new(persistent(name)))).await;
    let answered = match timeout(IDLE, peer.link.receive()).await {
        Ok(Ok(Packet::ConnectAck(ack))) => ack.reason_code == ConnectAckReason::Success,
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    };
    (peer, answered)
}

/// The whole of QoS 2, from publisher to subscriber, with a crash after each of the keeper's commits in turn, heard of
/// or not, and a second one soon after the first: every message arrives exactly once.
#[tokio::test(start_paused = true)]
async fn qos_2_is_exactly_once_whenever_the_broker_dies() {
    let mut crashes = 0;
    for unheard in [0, 1, 2, 5] {
        for first in 0.. {
            crashes += 2;
            if dies_twice(first, unheard).await {
                break;
            }
        }
    }
    assert!(crashes > 100, "{crashes}");
}

/// Returns whether the broker had nothing left to do when it died first.
async fn dies_twice(first: u64, unheard: usize) -> bool {
    let unfinished = (1..=MESSAGES).map(|number| (number, false)).collect();
    let mut clients = Clients { unfinished, ..Clients::default() };
    // The subscription is made in good times: what is published before it is nobody's.
    let mut records = {
        let keeper = Keeper::new(u64::MAX);
        let bench = start(&keeper, HashMap::new());
        let (mut reader, _) = bench.connect_as(Version::V3, persistent("app")).await;
        reader.send(Packet::Subscribe(subscription())).await;
        reader.receive().await;
        keeper.records()
    };
    let mut is_complete = false;
    for (run, allowed) in [first, first % 7, u64::MAX].into_iter().enumerate() {
        let keeper = Keeper::new(allowed);
        let bench = start(&keeper, records.clone());
        work(&bench, &mut clients).await;
        is_complete |= run == 0 && keeper.submitted() <= first && clients.unfinished.is_empty();
        records = after(records, &keeper, unheard);
    }
    let mut delivered = clients.delivered;
    delivered.sort();
    let expected: Vec<_> = (1..=MESSAGES).map(|number| format!("payload {number}")).collect();
    assert_eq!(delivered, expected, "after {first} commits and {unheard} more");
    assert!(clients.unfinished.is_empty() && clients.taken.is_empty(), "after {first} commits and {unheard} more");
    is_complete
}

/// What is left of `records` and what the keeper made durable on top; `more`: commits that nobody heard of any more.
fn after(mut records: HashMap<Key, Bytes>, keeper: &Keeper, more: usize) -> HashMap<Key, Bytes> {
    for changes in keeper.submitted.lock().unwrap().iter().take(keeper.progress.durable() as usize + more) {
        for change in changes {
            match change.clone() {
                Change::Put(key, record) => drop(records.insert(key, record)),
                Change::Remove(key) => drop(records.remove(&key)),
                Change::RemoveOwner(owner) => records.retain(|key, _| key.owner != owner),
            }
        }
    }
    records
}

#[tokio::test(start_paused = true)]
async fn clean_sessions_write_nothing() {
    let keeper = Keeper::new(0);
    let bench = start(&keeper, HashMap::new());
    let mut reader = bench.connect_as(Version::V5, connect("app")).await.0;
    reader.subscribe("#", QoS::ExactlyOnce).await;
    let mut device = bench.connect(Version::V5, "d").await;
    for message in [publish("d/t", 1), publish_2("d/t", 2)] {
        device.publish(message).await;
        device.acknowledged().await;
        reader.expect_publish().await;
    }
    drop((device, reader));
    bench.host.disconnected("d").await;
    assert_eq!(keeper.submitted(), 0);
}
