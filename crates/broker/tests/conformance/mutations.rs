//! Bytes in: whatever they are, the broker does not panic, does not grow, lets go of the connection and serves on.
//!
//! Scripts are made of packets that belong to a conversation, then cut, flipped, repeated and spliced: bytes that get
//! past the first check. `MUTATION_CASES` sets the number of scripts (default 300); a script that fails is shrunk and
//! written down by `proptest`.

use std::time::Duration;

use proptest::prelude::*;
use tesaiot_broker::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{BOTH, Connect, Lab, V3, V5, packet, properties, text};

/// Something a client says, and what becomes of its bytes.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    fields: [u8; 3],
    damage: Option<(u8, u16, u8)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let damage = proptest::option::weighted(0.2, (0..5_u8, any::<u16>(), any::<u8>()));
    let step = (0..14_u8, any::<[u8; 3]>(), damage);
    proptest::collection::vec(step.prop_map(|(kind, fields, damage)| Step { kind, fields, damage }), 1..40)
}

const TOPICS: [&str; 8] = ["t", "a/b", "$SYS/x", "a", "a/b/c", "t", "denied/t", "a/b"];
const NO_TOPICS: [&str; 8] = ["", "a/+", "#", "\u{0}", "+", "", "#/", "a/#"];
const FILTERS: [&str; 8] = ["t", "#", "a/+", "$share/g/#", "$share/h/t", "+/b", "a/#/b", "denied/t"];
const PROPERTIES: [&[u8]; 8] = [
    &[],
    &[0x23, 0, 1],
    &[0x02, 0, 0, 0, 0],
    &[0x01, 1],
    &[0x26, 0, 1, b'k', 0, 1, b'v'],
    &[0x02, 0, 0, 0, 9, 0x03, 0, 1, b'x'],
    &[0x23, 0, 2],
    &[0x09, 0, 2, 1, 2, 0x08, 0, 1, b'r'],
];
const NO_PROPERTIES: [&[u8]; 8] = [
    &[0x0B, 5],
    &[0x23, 0, 11],
    &[0x23, 0, 0],
    &[0x11, 0, 0, 0, 1],
    &[0x7F],
    &[0x01, 2],
    &[0x26, 0, 9],
    &[0x08, 0, 1, b'#'],
];

fn pick<T: Copy>(from: &[T; 8], by: u8) -> T {
    from[usize::from(by % 8)]
}

impl Step {
    fn bytes(&self, level: u8) -> Vec<u8> {
        let [a, b, c] = self.fields;
        // Most of it is right: what is wrong ends the conversation.
        let id = [0, if a == 255 { 0 } else { 1 + a % 5 }];
        let topic = if b % 32 == 31 { pick(&NO_TOPICS, c) } else { pick(&TOPICS, b) };
        let given = |by: u8| properties(level, pick(if by % 32 == 31 { &NO_PROPERTIES } else { &PROPERTIES }, by / 32));
        let publish = |flags: u8| {
            let id: &[u8] = if flags & 6 == 0 { &[] } else { &id };
            packet(0x30 | flags, &[&text(topic), id, &given(c), &vec![c; usize::from(b)]])
        };
        let subscription = |options: &[u8]| {
            packet(
                0x82,
                &[
                    &id,
                    &properties(level, if c & 1 == 0 { &[] } else { &[0x0B, 9] }),
                    &text(pick(&FILTERS, b)),
                    options,
                ],
            )
        };
        let mut bytes = match self.kind {
            0 => publish(0),
            1 => publish(2 | (c & 9)),
            2 => publish(4 | (c & 9)),
            3 => packet(0x40, &[&id]),
            4 => packet(0x50, &[&id]),
            5 => packet(0x62, &[&id]),
            6 => packet(0x70, &[&id]),
            7 => subscription(&[c % 3]),
            8 => packet(0xA2, &[&id, &properties(level, &[]), &text(pick(&FILTERS, b))]),
            9 => vec![0xC0, 0],
            10 if level == V5 => packet(0x40, &[&id, &[0x80]]),
            11 if c % 8 == 0 => packet(0xE0, &[]),
            12 if c % 8 == 0 => Connect::new(level, "again").bytes(),
            13 if c % 8 == 0 => vec![a, b, c],
            _ => subscription(&[2]),
        };
        if let Some((how, at, byte)) = self.damage {
            let at = usize::from(at) % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, byte),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}

fn opening(level: u8, how: u8) -> Vec<u8> {
    match how % 4 {
        0 => Connect::new(level, "fuzz").bytes(),
        1 => Connect::lasting(level, "fuzz").bytes(),
        2 => {
            Connect::lasting(level, "fuzz").with_will(0x28, if level == V5 { &[0x18, 0, 0, 0, 9] } else { &[] }).bytes()
        }
        _ if level == V5 => Connect::new(V5, "").with(&[0x21, 0, 1, 0x22, 0, 3, 0x27, 0, 0, 0, 60]).bytes(),
        _ => Connect::new(V3, "").bytes(),
    }
}

/// Everything that may wait has room for little.
fn narrow() -> Config {
    Config {
        max_packet_size: 4096,
        max_queued: 20,
        max_retained: 20,
        max_offline_sessions: 10,
        receive_maximum: 10,
        acknowledge_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        ..Config::default()
    }
}

/// Says `bytes` on a connection of its own, in pieces, and waits until the broker has let go of it.
async fn endure(lab: &Lab, level: u8, bytes: &[u8], piece: usize) {
    let mut client = lab.open(level);
    let (mut reading, mut writing) = tokio::io::split(&mut client.stream);
    let say = async {
        for piece in bytes.chunks(piece) {
            if writing.write_all(piece).await.is_err() {
                return;
            }
        }
        let _ = writing.shutdown().await;
    };
    let mut answer = Vec::new();
    let (_, heard) =
        tokio::join!(say, tokio::time::timeout(Duration::from_secs(600), reading.read_to_end(&mut answer)));
    heard.expect("the broker lets go").unwrap();
    client.task.await.expect("no panic");
    // What it says to a client is in proportion to what the client said, and to what was kept for it.
    assert!(answer.len() <= 64 * 1024 + 64 * bytes.len(), "{} bytes of answer", answer.len());
}

fn cases() -> u32 {
    std::env::var("MUTATION_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn nothing_a_client_says_stops_the_broker(
        v5: bool,
        how: u8,
        script in steps(),
        again in steps(),
        piece in 1..200_usize,
    ) {
        let level = BOTH[usize::from(v5)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let lab = Lab::with(narrow());
            let mut healthy = lab.client(V5, "healthy").await;
            healthy.subscribe(&[("its/own", 1)]).await;
            for script in [script, again] {
                let said: Vec<u8> = script.iter().flat_map(|step| step.bytes(level)).collect();
                endure(&lab, level, &[opening(level, how), said].concat(), piece).await;
            }
            lab.say("its/own", 1);
            assert_eq!(healthy.publish().await.topic, "its/own");
            assert_eq!(lab.broker.counters().connections, 1);
            drop(healthy);
            assert!(lab.broker.drain(Duration::from_secs(60)).await, "every task has ended");
        });
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Twenty times the same storm: what it leaves behind is there after the first, and does not grow after it.
#[test]
fn what_clients_say_does_not_add_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let lab = Lab::with(narrow());
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut settled = 0;
        for storm in 0..20 {
            for _ in 0..100 {
                let level = BOTH[(next() % 2) as usize];
                let mut said = opening(level, next() as u8);
                for _ in 0..60 {
                    let [kind, a, b, c, how, low, high, byte] = next().to_le_bytes();
                    let damage = (next() % 40 == 0).then_some((how % 5, u16::from_le_bytes([low, high]), byte));
                    said.extend(Step { kind: kind % 14, fields: [a, b, c], damage }.bytes(level));
                }
                endure(&lab, level, &said, 1 + (next() % 300) as usize).await;
            }
            if storm == 4 {
                settled = resident();
            }
        }
        let grown = resident().saturating_sub(settled);
        assert!(grown < 8 * 1024, "{grown} KiB more than after the first storms");
        let counters = lab.broker.counters();
        assert_eq!(counters.connections, 0);
        // The storms went deep: conversations, not only first packets.
        assert!(counters.messages_acknowledged > 1000 && counters.messages_sent > 1000, "{counters:?}");
        assert!(counters.protocol_errors > 200, "{counters:?}");
    });
}
