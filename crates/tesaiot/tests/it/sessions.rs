//! Sessions outlive the process: what was acknowledged to a publisher reaches its subscriber, also when the platform is
//! killed in the next instant, and at QoS 2 it reaches it once.
//!
//! A device's own topics are the only ones it may use, so one device is both ends: it publishes where it also
//! subscribes, and takes nothing until `mosquitto_sub` comes for it.
//!
//! `TESAIOT_KILL_ROUNDS` says how many times the platform is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tesaiot_mqtt::Version;

use crate::support::PATIENCE;
use crate::support::device::Device;
use crate::support::platform_process::PlatformProcess;
use crate::support::process::run;
use crate::support::wire::{Connect, Wire, body, packet};

/// How often the platform is killed unless `TESAIOT_KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 3;
/// Messages begun in each round: fewer in all than may wait for a session.
const MESSAGES: u64 = 120;
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
        let mut qos_1 = BTreeMap::new();
        for packet_id in free.drain(..MESSAGES as usize) {
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
            let packet_id = || u16::from_be_bytes([body(&answer)[0], body(&answer)[1]]);
            match answer[0] & 0xf0 {
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
                other => panic!("packet {other:02x}"),
            }
        }
    }
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
    let mut total = 0;
    // A few kills for one session, then it is emptied: what may wait for it is bounded.
    for first in (0..rounds).step_by(ROUNDS as usize) {
        let mut publisher = Publisher { next: first * 1_000_000, ..Publisher::default() };
        for round in first..(first + ROUNDS).min(rounds) {
            let mut connect = Connect::of(Version::V5, &device);
            connect.session_expiry = 3600;
            let (mut wire, resumed) = Wire::session(platform.mqtt_tls(), &device, &connect);
            assert_eq!(resumed, round > 0, "the session outlives the process");
            if round == 0 {
                assert_eq!(subscribe(&mut wire, &device), 2);
            }
            std::thread::scope(|scope| {
                let working = scope.spawn(|| publisher.work(&device, &mut wire));
                std::thread::sleep(LONGEST.mul_f64(f64::from(u32::try_from(round % 7 + 1).expect("small")) / 7.0));
                platform.kill();
                working.join().expect("the publisher does not panic");
            });
            platform = PlatformProcess::start(&data);
        }
        let mut received: BTreeMap<u64, u32> = BTreeMap::new();
        // On a slow disk it takes more than one visit.
        loop {
            let mut command = device.mosquitto_at("mosquitto_sub", platform.mqtt_tls().port());
            command.args(["-c", "-q", "2", "-t", &device.topic("commands/#"), "-W", "2"]);
            let outcome = run(&mut command, PATIENCE);
            for line in outcome.stdout.lines() {
                *received.entry(line.parse().expect("a number")).or_default() += 1;
            }
            if outcome.stdout.is_empty() {
                break;
            }
        }
        let missing: Vec<_> = publisher.acknowledged.iter().filter(|number| !received.contains_key(number)).collect();
        assert!(missing.is_empty(), "acknowledged and never delivered: {missing:?}");
        let twice = |(number, count): &(&u64, &u32)| number.is_multiple_of(2) && **count > 1;
        let twice: Vec<_> = received.iter().filter(twice).collect();
        assert!(twice.is_empty(), "delivered twice at QoS 2: {twice:?}");
        total += publisher.acknowledged.len();
    }
    println!("{rounds} rounds of kill -9, {total} messages acknowledged, none missing, none twice at QoS 2");
    assert!(total > 0);
    assert_eq!(platform.stop("TERM").code, Some(0));
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
