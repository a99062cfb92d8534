//! The life of a device, from an operator's chair: every verb of `device` and `telemetry get`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::tesaiot_run;
use super::up::Up;
use crate::support::process::Outcome;

#[track_caller]
fn ok(home: &Path, line: &str) -> Outcome {
    tesaiot_run(home, &line.split_whitespace().collect::<Vec<_>>()).expect_success()
}

#[track_caller]
fn refused(home: &Path, line: &str, code: i32, reason: &str) {
    let outcome = tesaiot_run(home, &line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(code), "{line}: {outcome:#?}");
    assert!(outcome.stderr.contains(reason), "{line}: {outcome:#?}");
}

#[track_caller]
fn json(home: &Path, line: &str) -> Value {
    let outcome = ok(home, line);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {outcome:#?}"))
}

#[test]
fn a_certificate_from_issue_to_revocation() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    assert!(ok(home, "device list").stderr.contains("No devices yet"));
    assert_eq!(json(home, "device list --json"), serde_json::json!([]));

    let added = ok(home, "device add pump-7 --name Seven");
    assert_eq!(added.stdout, "./pump-7", "the directory, for a script");
    assert!(added.stderr.contains("Next: tesaiot publish --certs-dir ./pump-7"), "{added:#?}");
    let mode =
        |name: &str| std::fs::metadata(home.join("pump-7").join(name)).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode("client_key.pem"), mode("client_cert.pem")), (0o600, 0o644));
    refused(home, "device add pump-7", 7, "pump-7");
    refused(home, "device show pump-8", 7, "pump-8");
    let device = json(home, "device show pump-7 --json");
    assert_eq!(
        (&device["name"], &device["auth_mode"], &device["enabled"]),
        (&"Seven".into(), &"mtls".into(), &true.into())
    );

    let publish = "publish --certs-dir pump-7 --count 3 --interval 0.01";
    ok(home, publish);
    assert!(ok(home, "device list").stdout.contains("pump-7  Seven  mtls"));

    ok(home, "device disable pump-7");
    refused(home, publish, 6, "hint:");
    assert!(ok(home, "device show pump-7").stdout.contains("State           disabled"));
    ok(home, "device enable pump-7");
    ok(home, publish);

    ok(home, "device revoke pump-7");
    refused(home, publish, 6, "hint:");
    assert_eq!(json(home, "device bundle pump-7 --out pump-7 --json")["bundle_dir"], "pump-7");
    ok(home, publish);

    // The bundle of another device is not written over.
    ok(home, "device add pump-9 --out elsewhere");
    refused(home, "device bundle pump-9 --out pump-7", 3, "pump-7");
    ok(home, publish);

    ok(home, "device remove pump-7");
    refused(home, publish, 6, "hint:");
    refused(home, "device show pump-7", 7, "pump-7");
    assert_eq!(json(home, "device list --json").as_array().map(Vec::len), Some(1));
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn a_key_from_issue_to_rotation() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    let added = json(home, "device add pi-1 --auth server-tls --out pi-1 --json");
    assert_eq!((&added["device"]["auth_mode"], &added["bundle_dir"]), (&"server-tls".into(), &"pi-1".into()));
    ok(home, "publish --certs-dir pi-1");

    let key = ok(home, "device rotate-key pi-1").stdout;
    assert!(key.starts_with("tesa_dak_pi1_"), "{key}");
    // Nothing of the bundle from before lets anybody in: neither key nor MQTT password.
    refused(home, "publish --certs-dir pi-1", 6, "Bad username or password");
    let old_key = home.join("pi-1/api_key.txt");
    std::fs::rename(&old_key, home.join("old")).expect("a file");
    refused(home, "publish --certs-dir pi-1", 6, "Bad username or password");
    std::fs::write(old_key, &key).expect("a file");
    ok(home, "publish --certs-dir pi-1");

    // There is no certificate to take back, and that is said.
    refused(home, "device revoke pi-1", 7, "has no certificate to revoke");
    ok(home, "publish --certs-dir pi-1");
    // A device with a certificate does not get a second way in.
    ok(home, "device add pump-1 --auth mtls");
    refused(home, "device rotate-key pump-1", 7, "logs in with a certificate");
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn stored_readings_in_every_format() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    ok(home, "device add pump-7");
    assert!(ok(home, "telemetry get pump-7").stderr.contains("No readings"));
    ok(home, "publish --certs-dir pump-7 --count 5 --interval 0");

    let points = json(home, "telemetry get pump-7 --metric spo2 --json");
    let points = points.as_array().expect("an array");
    assert_eq!(points.len(), 5);
    assert!(points.iter().all(|point| point["metric"] == "spo2" && point["unit"] == "%"), "{points:?}");
    let lines = ok(home, "telemetry get pump-7 --metric spo2 --format ndjson --since 15m").stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(&lines, points);
    let csv = ok(home, "telemetry get pump-7 --metric spo2 --format csv").stdout;
    assert_eq!(csv.lines().count(), 6);
    assert!(csv.starts_with("time,metric,value,unit,type,received_at"), "{csv}");
    let table = ok(home, "telemetry get pump-7 --limit 2").stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    let truncated = ok(home, "telemetry get pump-7 --limit 2").stderr;
    assert!(truncated.contains("the newest 2"), "{truncated}");

    assert_eq!(json(home, "telemetry get pump-7 --from 2100-01-01 --json"), serde_json::json!([]));
    assert_eq!(json(home, "telemetry get pump-7 --to 2020-01-01T00:00:00+07:00 --json"), serde_json::json!([]));
    let all = json(home, "telemetry get pump-7 --from 2020-01-01 --to 2100-01-01 --metric spo2 --json");
    assert_eq!(all.as_array(), Some(points));
    refused(home, "telemetry get nobody", 7, "nobody");
    refused(home, "telemetry get pump-7 --token wrong", 6, "does not accept the token");
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn stored_readings_in_buckets_and_plots() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    ok(home, "device add pump-7");
    ok(home, "publish --certs-dir pump-7 --count 7 --interval 0");
    let points = json(home, "telemetry get pump-7 --metric spo2 --json");
    let values: Vec<f64> =
        points.as_array().expect("an array").iter().filter_map(|point| point["value"].as_f64()).collect();
    assert_eq!(values.len(), 7);

    // A bucket wider than the test is long, unless midnight comes between.
    let buckets = json(home, "telemetry get pump-7 --metric spo2 --bucket 7d --json");
    let count: u64 = buckets.as_array().expect("an array").iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    assert_eq!(count, 7);
    let highest = buckets.as_array().expect("an array").iter().filter_map(|bucket| bucket["max"].as_f64());
    assert_eq!(highest.reduce(f64::max), values.iter().copied().reduce(f64::max));
    let table = ok(home, "telemetry get pump-7 --metric spo2 --bucket 7d --aggregate avg,count").stdout;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header, ["START", "AVG", "COUNT"]);
    let csv = ok(home, "telemetry get pump-7 --metric spo2 --bucket 7d --aggregate min,last --format csv").stdout;
    assert!(csv.starts_with("start,min,last"), "{csv}");
    // Readings have whole seconds: a bucket for each is at most as many as the readings.
    let filled = ok(home, "telemetry get pump-7 --metric spo2 --bucket 1s --fill previous --format ndjson").stdout;
    for line in filled.lines() {
        let bucket: Value = serde_json::from_str(line).expect("JSON");
        assert!(bucket["avg"].is_number(), "{line}");
    }

    let plot = json(home, "telemetry get pump-7 --metric spo2 --points 3 --json");
    let plot = plot.as_array().expect("an array");
    assert_eq!(plot.len(), 3);
    assert!(plot.iter().all(|point| values.contains(&point["value"].as_f64().expect("a number"))), "{plot:?}");

    refused(home, "telemetry get pump-7 --bucket 1m", 2, "--metric");
    refused(home, "telemetry get pump-7 --metric spo2 --bucket 1m --points 3", 2, "--points");
    refused(home, "telemetry get pump-7 --metric spo2 --fill zero", 2, "--bucket");
    assert_eq!(platform.stop("TERM").code, Some(0));
}
