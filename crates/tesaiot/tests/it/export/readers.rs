//! Readers that are slow, leave in the middle, or stop reading; and an export that cannot be read to its end.

use std::fs::OpenOptions;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};
use tesaiot_store::Telemetry;
use tesaiot_store::registry::AuthMode;
use tesaiot_store::telemetry::{Entry, Options};

use crate::support::https::Https;
use crate::support::platform::TestPlatform;
use crate::support::platform_process::PlatformProcess;
use crate::support::wait_until;
use crate::support::wire::SHORT;

const EXPORT: &str = "/devices/pump-7/telemetry?format=ndjson";
/// Exports that are served at a time.
const PLACES: usize = 16;
/// Samples of the device, each of [`METRICS`] metrics: some 25 MB of lines, more than sockets hold.
const SAMPLES: usize = 30_000;
const METRICS: usize = 6;

/// Stores the samples of `pump-7`, while no platform runs.
fn fill(data: &Path) {
    let (_telemetry, mut appender) =
        Telemetry::open(&data.join("telemetry.db"), Options::default()).expect("the store opens");
    let device = DeviceId::new("pump-7").expect("an id");
    let names: Vec<String> = (0..METRICS).map(|n| format!("metric_{n}")).collect();
    for start in (0..SAMPLES).step_by(1000) {
        let entries: Vec<Entry> = (start..start + 1000)
            .map(|n| {
                let time = Timestamp::from_second(1_765_000_000 + n as i64).expect("a time");
                let metric =
                    |name: &String| Metric { name: name.as_str().into(), value: Value::Integer(n as i64), unit: None };
                let sample = Sample { time: Some(time), id: None, metrics: names.iter().map(metric).collect() };
                Entry::Sample { device: device.clone(), kind: None, received_at: time, sample }
            })
            .collect();
        appender.append(&entries).expect("the samples are stored");
        while appender.maintain().expect("the samples are sealed").more {}
    }
    appender.close().expect("the store closes");
}

/// An export that has begun, and of which nothing more is read.
#[track_caller]
fn begun(platform: &TestPlatform) -> Https {
    let mut export = platform.operator().open(EXPORT);
    assert_eq!(export.status(), 200);
    export
}

fn filled(setting: impl Fn(&mut tesaiot_platform::Config) + 'static) -> TestPlatform {
    let mut platform = TestPlatform::start_with(setting);
    platform.device("pump-7", AuthMode::ServerTls);
    platform.stop();
    fill(&platform.data_directory());
    platform.start_again();
    platform
}

#[test]
fn a_reader_that_leaves_gives_its_place_to_the_next() {
    let platform = filled(|_| {});
    let mut reading: Vec<Https> = (0..PLACES).map(|_| begun(&platform)).collect();
    let operator = platform.operator();
    operator.get(EXPORT).expect_problem(503, "too_many_exports");
    // Other requests go on, and so does what is written.
    assert_eq!(operator.get("/devices/pump-7/telemetry/latest").expect(200)["latest"][0]["value"], SAMPLES - 1);
    reading.pop();
    wait_until("the place is free", || (operator.open(EXPORT).status() == 200).then_some(()));
    // Who is slow gets everything all the same.
    let mut slow = reading.remove(0);
    let (text, ended) = slow.rest();
    ended.expect("a complete answer");
    assert_eq!(String::from_utf8_lossy(&text).matches("\"metric\"").count(), SAMPLES * METRICS);
    assert!(text.ends_with(b"\r\n0\r\n\r\n"), "the last chunk says that it was the last");
}

#[test]
fn a_reader_that_stops_reading_is_given_up() {
    let platform = filled(|config| config.https_write_timeout = SHORT);
    let mut reading: Vec<Https> = (0..PLACES).map(|_| begun(&platform)).collect();
    let operator = platform.operator();
    wait_until("all places are free again", || {
        operator.get("/../../metrics").text.lines().any(|line| line == "tesaiot_exports 0").then_some(())
    });
    // What came was cut, and says so: no last chunk.
    let (text, _) = reading.remove(0).rest();
    assert!(!text.ends_with(b"\r\n0\r\n\r\n") && !text.is_empty());
}

#[test]
fn slow_readers_cost_the_platform_little_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let platform = PlatformProcess::start(&data);
    let device = platform.device("pump-7", "server-tls", directory.path());
    assert_eq!(platform.stop("TERM").code, Some(0));
    fill(&data);
    let platform = PlatformProcess::start(&data);
    let operator = platform.operator();
    let before = resident(platform.id());
    let reading: Vec<Https> = (0..16)
        .map(|_| {
            let mut export = operator.open(EXPORT);
            assert_eq!(export.status(), 200);
            export
        })
        .collect();
    // Messages are stored, and read, while they wait.
    let own = platform.rest().with_header("X-API-KEY", device.api_key());
    for n in 0..5 {
        own.post("/telemetry", json!({"live": n}).to_string().as_bytes()).expect(201);
        assert_eq!(operator.get("/devices/pump-7/telemetry?metric=live").expect(200)["points"][n]["value"], n);
    }
    let grown = resident(platform.id()).saturating_sub(before);
    drop(reading);
    // All of it is 25 MB for each.
    assert!(grown < 96 << 20, "sixteen slow readers cost {} MiB", grown >> 20);
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn an_export_that_fails_in_the_middle_does_not_look_complete() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let platform = PlatformProcess::start(&data);
    platform.device("pump-7", "server-tls", directory.path());
    assert_eq!(platform.stop("TERM").code, Some(0));
    fill(&data);
    let file = data.join("telemetry.db");
    let whole = std::fs::read(&file).expect("the store");
    for format in ["ndjson", "csv", "arrow"] {
        // The same store, whole: a platform that worked on a broken one is not to be the next one's witness.
        std::fs::write(&file, &whole).expect("the store is whole");
        for log in ["telemetry.db-wal", "telemetry.db-shm"] {
            let _ = std::fs::remove_file(data.join(log));
        }
        let platform = PlatformProcess::start(&data);
        let mut export = platform.operator().open(&format!("/devices/pump-7/telemetry?format={format}"));
        assert_eq!(export.status(), 200);
        let begun = export.some(64 * 1024);
        // The disk fails under the reader, who has not read on.
        let truncated = OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(4096));
        truncated.expect("the store is cut");
        let (text, _) = export.rest();
        let length = begun.len() + text.len();
        assert!(!text.ends_with(b"\r\n0\r\n\r\n"), "{format}: {length} bytes that end well");
        platform.kill();
    }
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}
