//! Sessions outlive the process: what was acknowledged to a publisher reaches its subscriber, also when the platform is
//! killed in the next instant, and at QoS 2 it reaches it once.
//!
//! A device's own topics are the only ones it may use, so one device is both ends: it publishes where it also
//! subscribes, and takes nothing until it comes back as the subscriber. That one keeps what a session on the client's
//! side keeps, kills or not. A `mosquitto_sub` that leaves after a time would not do: it forgets the QoS 2 messages whose
//! PUBREL it has not seen, and acknowledges without a word what comes after its time.
//!
//! `TESAIOT_KILL_ROUNDS` says how many times the platform is killed under a publisher.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tesaiot_mqtt::Version;

use crate::support::device::Device;
use crate::support::platform_process::PlatformProcess;
use crate::support::wire::{Connect, Wire, body, packet};

/// How often the platform is killed unless `TESAIOT_KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 3;
/// Messages begun in each round: fewer in all than may wait for a session.
const MESSAGES: usize = 120;
/// Unacknowledged messages that the broker takes of one client (Receive Maximum of its CONNACK).
const UNACKNOWLEDGED: usize = 256;
/// The longest the platform lives after the first message.
const LONGEST: Duration = Duration::from_millis(70);

/// What the publisher knows.
#[derive(Default)]
struct Publisher {
    next: u64,
    /// QoS 2 messages under way: by packet identifier, the message and whether PUBREC came.
    unfinished: BTreeMap<u16, (u64, bool)>,
    acknowledged: BTreeSet<u64>,
}

impl Publisher {
    /// Publishes until the connection ends.
    fn work(&mut self, device: &Device, wire: &mut Wire) {
        // What was not finished before comes first, as it was (MQTT-4.4.0-1).
        for (packet_id, (number, received)) in &self.unfinished {
            let bytes = if *received { release(*packet_id) } else { message(device, *packet_id, *number, true) };
            if wire.try_send(&bytes).is_err() {
                return;
            }
        }
        let mut free = (1..=u16::MAX).filter(|packet_id| !self.unfinished.contains_key(packet_id)).collect::<Vec<_>>();
        let room = UNACKNOWLEDGED - self.unfinished.len();
        let mut qos_1 = BTreeMap::new();
        for packet_id in free.drain(..room.min(MESSAGES)) {
            let number = self.next;
            self.next += 1;
            if number.is_multiple_of(2) {
                self.unfinished.insert(packet_id, (number, false));
            } else {
                qos_1.insert(packet_id, number);
            }
            if wire.try_send(&message(device, packet_id, number, false)).is_err() {
                return;
            }
        }
        while let Ok(answer) = wire.try_packet() {
            let packet_id = || packet_id(&answer);
            // A refusal is no promise.
            let reason = body(&answer).get(2).copied().unwrap_or(0);
            match answer[0] & 0xf0 {
                0x40 | 0x50 if reason >= 0x80 => panic!("refused with {reason:02x}"),
                0x40 => drop(qos_1.remove(&packet_id()).map(|number| self.acknowledged.insert(number))),
                0x50 => {
                    if let Some((number, received)) = self.unfinished.get_mut(&packet_id()) {
                        *received = true;
                        self.acknowledged.insert(*number);
                    }
                    if wire.try_send(&release(packet_id())).is_err() {
                        return;
                    }
                }
                0x70 => drop(self.unfinished.remove(&packet_id())),
                // Messages for itself: they stay where they are until somebody takes them.
                0x30 => {}
                other => panic!("packet {other:02x}: {:?}", String::from_utf8_lossy(&answer)),
            }
        }
    }
}

/// What the subscriber knows: its side of the session.
#[derive(Default)]
struct Subscriber {
    /// How often each message came.
    received: BTreeMap<u64, u32>,
    /// QoS 2 messages whose PUBREL did not come yet.
    unreleased: BTreeSet<u16>,
}

impl Subscriber {
    /// Takes what comes, until the connection ends or `last` and all before it are done with. Returns whether they are.
    fn work(&mut self, device: &Device, wire: &mut Wire, last: u64) -> bool {
        while !self.received.contains_key(&last) || !self.unreleased.is_empty() {
            let Ok(came) = wire.try_packet() else { return false };
            let answer = match came[0] & 0xf6 {
                0x30 => panic!("QoS 0 was not asked for"),
                0x32 => {
                    let (packet_id, number) = publish_of(device, &came);
                    *self.received.entry(number).or_default() += 1;
                    packet(0x40, &packet_id.to_be_bytes())
                }
                0x34 => {
                    let (packet_id, number) = publish_of(device, &came);
                    if self.unreleased.insert(packet_id) {
                        *self.received.entry(number).or_default() += 1;
                    }
                    packet(0x50, &packet_id.to_be_bytes())
                }
                0x62 => {
                    self.unreleased.remove(&packet_id(&came));
                    packet(0x70, &packet_id(&came).to_be_bytes())
                }
                // The acknowledgement of the last message, which is its own.
                0x40 => continue,
                other => panic!("packet {other:02x}"),
            };
            if wire.try_send(&answer).is_err() {
                return false;
            }
        }
        true
    }
}

fn packet_id(packet: &[u8]) -> u16 {
    u16::from_be_bytes([body(packet)[0], body(packet)[1]])
}

/// Packet identifier and number of a message for the subscriber.
fn publish_of(device: &Device, packet: &[u8]) -> (u16, u64) {
    let body = &body(packet)[2 + device.topic("commands/ack").len()..];
    assert_eq!(body[2], 0, "it has no properties");
    let text = std::str::from_utf8(&body[3..]).expect("a number is text");
    (u16::from_be_bytes([body[0], body[1]]), text.parse().expect("a number"))
}

/// Even numbers at QoS 2, odd ones at QoS 1.
fn message(device: &Device, packet_id: u16, number: u64, dup: bool) -> Vec<u8> {
    let topic = device.topic("commands/ack");
    let mut body = u16::try_from(topic.len()).expect("a short topic").to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(packet_id.to_be_bytes());
    body.push(0);
    body.extend(number.to_string().as_bytes());
    let qos = if number.is_multiple_of(2) { 0x04 } else { 0x02 };
    packet(0x30 | qos | if dup { 0x08 } else { 0 }, &body)
}

fn release(packet_id: u16) -> Vec<u8> {
    packet(0x62, &packet_id.to_be_bytes())
}

#[test]
fn what_was_acknowledged_reaches_the_subscriber_after_kill_9_and_at_qos_2_once() {
    let rounds = std::env::var("TESAIOT_KILL_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut platform = PlatformProcess::start(&data);
    let device = platform.device("both-ends", "server-tls", directory.path());
    let mut connect = Connect::of(Version::V5, &device);
    connect.session_expiry = 3600;
    // Both sides of the session last as long as it does: who forgets an unfinished QoS 2 identifier and uses it again
    // publishes nothing, because the broker takes the message for the one it knows (MQTT-4.3.3-10).
    let (mut publisher, mut subscriber) = (Publisher::default(), Subscriber::default());
    // A few kills, then the session is emptied: what may wait for it is bounded.
    for first in (0..rounds).step_by(ROUNDS as usize) {
        for round in first..(first + ROUNDS).min(rounds) {
            let (mut wire, resumed) = Wire::session(platform.mqtt_tls(), &device, &connect);
            assert_eq!(resumed, round > 0, "the session outlives the process");
            if round == 0 {
                assert_eq!(subscribe(&mut wire, &device), 2);
            }
            platform = killed_while(platform, &data, round, || publisher.work(&device, &mut wire));
        }
        // It is killed while the subscriber takes what waits, too; then all of it comes, and then one more message.
        let last = publisher.next | 1;
        publisher.next = last + 1;
        let (mut wire, _) = Wire::session(platform.mqtt_tls(), &device, &connect);
        platform = killed_while(platform, &data, first / ROUNDS, || {
            assert!(!subscriber.work(&device, &mut wire, last), "nobody has sent it yet");
        });
        let (mut wire, _) = Wire::session(platform.mqtt_tls(), &device, &connect);
        wire.send(&message(&device, u16::MAX, last, false));
        assert!(subscriber.work(&device, &mut wire, last), "the connection ended");
        // What it answered last has been read when this is answered.
        wire.send(&packet(0xc0, &[]));
        while wire.packet()[0] != 0xd0 {}
        wire.send(&packet(0xe0, &[]));

        let received = &subscriber.received;
        let missing: Vec<_> = publisher.acknowledged.iter().filter(|number| !received.contains_key(number)).collect();
        assert!(missing.is_empty(), "acknowledged and never delivered: {missing:?}");
        let twice = |(number, count): &(&u64, &u32)| number.is_multiple_of(2) && **count > 1;
        let twice: Vec<_> = received.iter().filter(twice).collect();
        assert!(twice.is_empty(), "delivered twice at QoS 2: {twice:?}");
    }
    let total = publisher.acknowledged.len();
    println!("{rounds} rounds of kill -9, {total} messages acknowledged, none missing, none twice at QoS 2");
    assert!(total > 0);
    assert_eq!(platform.stop("TERM").code, Some(0));
}

/// Kills the platform while `work` is at it, at a moment that `round` chooses, and starts it again.
fn killed_while(platform: PlatformProcess, data: &Path, round: u64, work: impl FnOnce() + Send) -> PlatformProcess {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        std::thread::sleep(LONGEST.mul_f64(f64::from(u32::try_from(round % 7 + 1).expect("small")) / 7.0));
        platform.kill();
        working.join().expect("whoever works does not panic");
    });
    PlatformProcess::start(data)
}

/// Subscribes at QoS 2, and returns what was granted.
fn subscribe(wire: &mut Wire, device: &Device) -> u8 {
    let filter = device.topic("commands/#");
    let mut body = vec![0, 1, 0];
    body.extend(u16::try_from(filter.len()).expect("a short filter").to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(2);
    wire.send(&packet(0x82, &body));
    *wire.packet().last().expect("a SUBACK has a reason")
}

/// A restart in good order is no different, and a retained status is still there.
#[test]
fn a_restart_keeps_subscriptions_messages_and_what_is_retained() {
    let mut platform = crate::support::platform::TestPlatform::start();
    let device = platform.device("sleeper", tesaiot_store::registry::AuthMode::ServerTls);
    let mut connect = Connect::of(Version::V3, &device);
    connect.session_expiry = 3600;
    let (mut wire, resumed) = Wire::session(platform.mqtt_tls(), &device, &connect);
    assert!(!resumed);
    assert_eq!(wire.subscribed(1, &device.topic("commands/#")), 1);
    assert_eq!(wire.acknowledged(2, &device.topic("commands/ack"), b"one"), 0);
    // Its own copy came, and was not acknowledged.
    assert_eq!(wire.packet()[0], 0x32);
    drop(wire);
    platform.restart();
    let (mut wire, resumed) = Wire::session(platform.mqtt_tls(), &device, &connect);
    assert!(resumed);
    let again = wire.packet();
    assert_eq!((again[0], again.ends_with(b"one")), (0x3a, true), "sent again, marked: {again:02x?}");
}
