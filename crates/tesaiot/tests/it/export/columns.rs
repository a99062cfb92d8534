//! The columns of an Arrow stream, as pyarrow reads them.

use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use serde_json::{Value, json};
use tesaiot_store::registry::AuthMode;

use crate::support::PATIENCE;
use crate::support::paho::environment;
use crate::support::platform::TestPlatform;
use crate::support::process::run;

/// What Arrow's own library reads from a file.
#[track_caller]
fn read(file: &Path) -> Value {
    let mut command = Command::new(environment("TESAIOT_TEST_READERS_PYTHON", "readers"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/export/columns.py")).arg(file);
    let outcome = run(&mut command, PATIENCE).expect_success();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

/// The program's export of `pump-7`, in a file.
#[track_caller]
fn export(platform: &TestPlatform, arguments: &[&str]) -> std::path::PathBuf {
    let file = platform.scratch("export").join("readings.arrows");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
    command.args(["telemetry", "get", "pump-7", "--format", "arrow"]).args(arguments);
    command.arg("--data-dir").arg(platform.data_directory());
    command.stdout(std::fs::File::create(&file).expect("a file"));
    let output = command.stderr(std::process::Stdio::piped()).spawn().and_then(|child| child.wait_with_output());
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

#[test]
fn every_value_stands_in_the_column_of_its_type() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let own = platform.rest_of(&device);
    let samples = [
        json!({"timestamp": "2025-12-09T10:30:45.123456789Z", "data": {"t": 36.85, "t_unit": "°C"}}),
        json!({"timestamp": "2025-12-09T10:30:46Z", "data": {"n": 9_007_199_254_740_993_i64}}),
        json!({"timestamp": "2025-12-09T10:30:47Z", "data": {"on": true}}),
        json!({"timestamp": "2025-12-09T10:30:48Z", "data": {"on": false}}),
        json!({"timestamp": "2025-12-09T10:30:49Z", "data": {"note": "ปกติ, \"quoted\"\nline"}}),
        json!({"timestamp": "2025-12-09T10:30:50Z", "data": {"note": ""}}),
        json!({"timestamp": "1999-12-31T23:59:59Z", "data": {"early": -1}}),
    ];
    for sample in &samples[..6] {
        own.post("/telemetry", sample.to_string().as_bytes()).expect(201);
    }
    own.post("/telemetry", samples[6].to_string().as_bytes()).expect_problem(400, "timestamp_too_early");

    let found = read(&export(&platform, &[]));
    assert_eq!((&found["rows"], &found["about"]), (&json!(6), &json!({"device_id": "pump-7"})));
    let columns = found["columns"].as_object().expect("columns");
    let types: Vec<_> = columns.iter().map(|(name, column)| (name.as_str(), &column["type"])).collect();
    let mut expected = [
        ("time", json!("timestamp[ns, tz=UTC]")),
        ("metric", json!("string")),
        ("value", json!("double")),
        ("value_integer", json!("int64")),
        ("value_boolean", json!("bool")),
        ("value_text", json!("string")),
        ("unit", json!("string")),
        ("type", json!("string")),
        ("received_at", json!("timestamp[ns, tz=UTC]")),
    ];
    expected.sort_by_key(|(name, _)| *name);
    assert_eq!(types, expected.iter().map(|(name, kind)| (*name, kind)).collect::<Vec<_>>());
    let values = |name: &str| columns[name]["values"].clone();
    let start: Timestamp = "2025-12-09T10:30:45.123456789Z".parse().expect("a time");
    assert_eq!(values("time")[0], json!(i64::try_from(start.as_nanosecond()).expect("in range")));
    assert_eq!(values("metric"), json!(["t", "n", "on", "on", "note", "note"]));
    assert_eq!(values("value"), json!([36.85, 9_007_199_254_740_992_f64, 1.0, 0.0, null, null]));
    assert_eq!(values("value_integer"), json!([null, 9_007_199_254_740_993_i64, null, null, null, null]));
    assert_eq!(values("value_boolean"), json!([null, null, true, false, null, null]));
    assert_eq!(values("value_text"), json!([null, null, null, null, "ปกติ, \"quoted\"\nline", ""]));
    assert_eq!(values("unit"), json!(["°C", null, null, null, null, null]));
    assert_eq!(values("type"), json!([null, null, null, null, null, null]));
    assert!(values("received_at").as_array().is_some_and(|times| times.iter().all(|time| time.as_i64() > Some(0))));

    // No points: the columns are there all the same.
    let nothing = read(&export(&platform, &["--from", "2100-01-01"]));
    assert_eq!((&nothing["rows"], &nothing["columns"]["value"]["type"]), (&json!(0), &json!("double")));
    let operator = platform.operator();
    let newest = operator.get("/devices/pump-7/telemetry?format=arrow&order=desc&limit=1");
    assert_eq!((newest.status, newest.content_type.as_str()), (200, "application/vnd.apache.arrow.stream"));
    for question in ["metric=t&bucket=1m", "metric=t&points=5"] {
        let path = format!("/devices/pump-7/telemetry?format=arrow&{question}");
        operator.get(&path).expect_problem(400, "invalid_request");
    }
    operator.get("/telemetry/aggregate?metric=t&format=arrow").expect_problem(400, "invalid_request");
}

#[test]
fn columns_say_what_lines_say_over_many_batches() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let own = platform.rest_of(&device);
    // More rows than one record batch holds, and a length that fills no byte of a bitmap.
    let samples: Vec<Value> = (0..997_u64)
        .map(|n| {
            let time = Timestamp::from_second(1_765_000_000 + n as i64).expect("a time").to_string();
            let mut data: serde_json::Map<_, _> = (0..9).map(|m| (format!("m{m}"), json!(n * m))).collect();
            if n % 3 == 0 {
                data.insert("flag".into(), (n % 2 == 0).into());
            }
            json!({"timestamp": time, "data": data})
        })
        .collect();
    own.post("/telemetry/batch", json!({"telemetry": samples}).to_string().as_bytes()).expect(201);
    let found = read(&export(&platform, &[]));
    let lines = platform.operator().get("/devices/pump-7/telemetry?format=ndjson").text;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found["rows"], lines.len());
    assert_eq!(lines.len(), 997 * 9 + 333);
    let columns = &found["columns"];
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(columns["metric"]["values"][row], line["metric"], "row {row}");
        let exact = if line["value"].is_boolean() { "value_boolean" } else { "value_integer" };
        assert_eq!(columns[exact]["values"][row], line["value"], "row {row}");
    }
}

#[test]
fn what_has_no_columns_is_refused_with_what_to_do() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let get = ["telemetry", "get", "pump-7", "--format", "arrow", "--url", "https://127.0.0.1:1", "--token", "t"];
    for more in [&["--limit", "3"][..], &["--metric", "m", "--bucket", "1m"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
        let ca = home.path().join("ca.pem");
        std::fs::write(&ca, rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate").cert.pem())
            .expect("a file");
        command.args(get).args(more).arg("--ca").arg(ca).env_clear().env("HOME", home.path());
        let outcome = run(&mut command, PATIENCE);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains("hint: leave --limit, --bucket and --points out"), "{outcome:#?}");
    }
}
