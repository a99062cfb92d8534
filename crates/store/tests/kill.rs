//! A process that stores samples, messages and dead letters, and replays dead letters, is killed at any moment, again
//! and again: nothing that was acknowledged is lost, and nothing is there twice.
//!
//! `TESAIOT_KILL_ROUNDS` asks for more rounds than usual; the figures are printed at the end.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{DeadLetterQuery, Entry, MessageQuery, Options, RangeQuery, Replay};
use tesaiot_store::{Appender, Telemetry};

const ROUNDS: u64 = 20;
/// A database is followed through so many kills, then a new one is begun: each is read completely after each kill.
const ROUNDS_PER_DATABASE: u64 = 25;
const DEVICES: u64 = 3;
/// Set for the child, to the database's path.
const DATABASE: &str = "TESAIOT_STORE_KILL_TEST_DATABASE";

/// Small bounds, so that sealing, trimming and moving the log happen all the time.
fn options() -> Options {
    Options { chunk_samples: 9, seals_per_call: 2, write_ahead_log_bytes: 100_000, ..Options::default() }
}

fn device(number: u64) -> DeviceId {
    DeviceId::new(format!("device-{number}")).unwrap()
}

/// The device of samples that were dead letters first.
fn replayed() -> DeviceId {
    DeviceId::new("replayed").unwrap()
}

fn sample(device: DeviceId, seq: u64) -> Entry {
    let time = Timestamp::new(1_764_000_000 + seq.cast_signed(), 0).unwrap();
    let metrics = vec![Metric { name: "seq".into(), value: Value::Integer(seq.cast_signed()), unit: None }];
    let sample = Sample { time: Some(time), id: Some(MessageId { boot: "boot".into(), seq }), metrics };
    Entry::Sample { device, kind: None, received_at: time, sample }
}

/// What is stored together: a sample of each device, and, when it is new, a message and a dead letter.
fn entries(seq: u64, is_new: bool) -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..DEVICES).map(|number| sample(device(number), seq)).collect();
    if is_new {
        let (received_at, payload) = (Timestamp::UNIX_EPOCH, bytes::Bytes::from(seq.to_string()));
        let topic: Box<str> = "device/device-0/events".into();
        entries.push(Entry::Message { device: device(0), topic: topic.clone(), received_at, payload: payload.clone() });
        let (code, reason) = ("not_json".into(), "it is not".into());
        entries.push(Entry::DeadLetter { device: None, topic, received_at, payload, code, reason });
    }
    entries
}

fn stored(telemetry: &Telemetry, device: &DeviceId) -> Vec<u64> {
    let points = telemetry.range(device, &RangeQuery::default()).unwrap();
    points
        .iter()
        .map(|point| match point.value {
            Value::Integer(value) => value.unsigned_abs(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn letters(telemetry: &Telemetry) -> Vec<(u64, u64)> {
    let query = DeadLetterQuery { limit: usize::MAX, ..DeadLetterQuery::default() };
    let numbers = telemetry.dead_letter_numbers(0, &query).unwrap();
    let letter = |number| telemetry.dead_letter(number).unwrap().unwrap();
    numbers.into_iter().map(|number| (number, text(&letter(number).payload))).collect()
}

fn text(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

/// Stores samples until it is killed, and says after each append what is stored.
#[test]
fn child() {
    let Some(path) = std::env::var_os(DATABASE).map(PathBuf::from) else {
        return;
    };
    let (telemetry, mut appender) = Telemetry::open(&path, options()).unwrap();
    let next = stored(&telemetry, &device(0)).last().map_or(1, |last| last + 1);
    let mut output = std::io::stdout().lock();
    // What was sent just before the kill is sent again, as a device does.
    for seq in next.saturating_sub(5).max(1).. {
        appender.append(&entries(seq, seq >= next)).unwrap();
        // The parent reads it from the pipe even when this process is gone.
        writeln!(output, "acknowledged {seq}").unwrap();
        output.flush().unwrap();
        appender.maintain().unwrap();
        if seq % 8 == 0 {
            replay(&telemetry, &mut appender);
        }
    }
}

/// Replays half of the dead letters.
fn replay(telemetry: &Telemetry, appender: &mut Appender) {
    let replays = letters(telemetry).into_iter().step_by(2);
    let replays: Vec<Replay> =
        replays.map(|(letter, seq)| Replay { letter, entries: vec![sample(replayed(), seq)] }).collect();
    assert!(appender.replay(&replays).unwrap().iter().all(Option::is_some));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds = std::env::var("TESAIOT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let directory = tempfile::tempdir().unwrap();
    let mut figures = Figures::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let path = directory.path().join(format!("telemetry-{}.db", round / ROUNDS_PER_DATABASE));
        if round % ROUNDS_PER_DATABASE == 0 {
            figures.acknowledged += acknowledged;
            acknowledged = 0;
        }
        let moment = RandomState::new().hash_one(round);
        acknowledged = acknowledged.max(kill_after(&path, moment % 60, Duration::from_micros(moment >> 32 & 0xfff)));
        let log = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |metadata| metadata.len());
        let (telemetry, _appender) = Telemetry::open(&path, options()).unwrap();
        let last = verify(&telemetry, acknowledged, round);
        figures.rounds += 1;
        figures.unanswered += u64::from(last > acknowledged);
        figures.with_log += u64::from(log > 0);
        figures.with_tail += u64::from(telemetry.counts().tail_batches > 0);
        // What was stored and not acknowledged is there for good.
        acknowledged = last;
    }
    figures.acknowledged += acknowledged;
    println!("{figures:?}");
    assert!(figures.acknowledged > rounds);
}

/// What happened in all rounds.
#[derive(Debug, Default)]
struct Figures {
    rounds: u64,
    /// Commits that were there after the kill, over all databases.
    acknowledged: u64,
    /// Kills between a commit and its acknowledgement.
    unanswered: u64,
    /// Kills that left a write-ahead log.
    with_log: u64,
    /// Kills that left samples which were in the tail only.
    with_tail: u64,
}

/// Checks everything in the store, and returns the last sequence number stored.
#[track_caller]
fn verify(telemetry: &Telemetry, acknowledged: u64, round: u64) -> u64 {
    let last = stored(telemetry, &device(0)).last().copied().unwrap_or(0);
    assert!(last >= acknowledged, "round {round}: {last} of {acknowledged}");
    let all: Vec<u64> = (1..=last).collect();
    for number in 0..DEVICES {
        assert_eq!(stored(telemetry, &device(number)), all, "round {round}");
    }
    let mut events = Vec::new();
    let mut before = None;
    loop {
        let page = telemetry.messages(&MessageQuery { before, limit: 1000, ..MessageQuery::default() }).unwrap();
        let Some(oldest) = page.last() else { break };
        before = Some(oldest.number);
        events.extend(page.iter().map(|message| text(&message.payload)));
    }
    events.reverse();
    assert_eq!(events, all, "messages; round {round}");
    // Each dead letter is one, or was replayed: never both, never neither.
    let letters: Vec<u64> = letters(telemetry).into_iter().map(|(_, seq)| seq).collect();
    let samples = stored(telemetry, &replayed());
    let each: HashSet<u64> = letters.iter().chain(&samples).copied().collect();
    assert_eq!((each.len(), letters.len() + samples.len()), (all.len(), all.len()), "dead letters; round {round}");
    let report = telemetry.check().unwrap();
    assert!(report.is_sound(), "round {round}: {report:?}");
    last
}

/// Lets a child store, kills it some time after its first `lines` acknowledgements, and returns
/// the last number it acknowledged.
fn kill_after(path: &Path, lines: u64, then: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut last = 0;
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(seq) = line.unwrap().strip_prefix("acknowledged ") {
            last = seq.parse().unwrap();
            seen += 1;
        }
        // The child goes on storing while it is being killed: the moment is any, and nothing waits for it.
        if seen == lines + 1 {
            std::thread::sleep(then);
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen > lines, "the child ended by itself");
    last
}
