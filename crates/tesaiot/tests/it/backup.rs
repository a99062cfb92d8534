//! `tesaiot backup` and `tesaiot store`, against a platform at work and against damage.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tesaiot_mqtt::Version;

use crate::support::PATIENCE;
use crate::support::platform_process::{PlatformProcess, tesaiot};
use crate::support::process::{Outcome, run};
use crate::support::wire::Wire;

fn tesaiot_run(words: &[&dyn AsRef<OsStr>]) -> Outcome {
    let mut command = Command::new(tesaiot());
    for word in words {
        command.arg(word.as_ref());
    }
    run(&mut command, PATIENCE)
}

#[track_caller]
fn refused(words: &[&dyn AsRef<OsStr>], reason: &str) {
    let outcome = tesaiot_run(words);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains(reason) && outcome.stderr.contains("hint:"), "{reason}: {outcome:#?}");
}

fn stored(platform: &PlatformProcess) -> Vec<u64> {
    let answer = platform.operator().get("/devices/pump-7/telemetry?metric=n&limit=100000").expect(200);
    let points = answer["points"].as_array().expect("points").clone();
    points.iter().map(|point| point["value"].as_u64().expect("a number")).collect()
}

#[test]
fn a_backup_of_a_platform_at_work_is_that_platform() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| directory.path().join(name);
    let (data, restored) = (place("data"), place("restored"));
    let platform = PlatformProcess::start(&data);
    let device = platform.device("pump-7", "mtls", directory.path());
    let (address, stop, acknowledged) = (platform.mqtt(), AtomicBool::new(false), AtomicU64::new(0));
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut wire = Wire::login(address, &device, Version::V5);
            for n in 1_u64.. {
                let payload = json!({"boot": "a", "seq": n, "data": {"n": n}}).to_string();
                let id = u16::try_from(n % 60_000 + 1).expect("below 60001");
                assert_eq!(wire.acknowledged(id, &device.topic("telemetry"), payload.as_bytes()), 0);
                acknowledged.store(n, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 100 {
            std::thread::yield_now();
        }
        let before = acknowledged.load(Ordering::SeqCst);
        let made = tesaiot_run(&[&"backup", &place("backup"), &"--data-dir", &data]).expect_success();
        assert_eq!(made.stdout, place("backup").display().to_string());
        tesaiot_run(&[&"store", &"check", &"--data-dir", &data]).expect_success();
        stop.store(true, Ordering::SeqCst);
        before
    });
    let mode = |name: &str| fs::metadata(place("backup").join(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("telemetry.db"), mode("ca/intermediate.key.pem")), (0o700, 0o600, 0o600));
    assert!(!place("backup").join("operator.json").exists(), "no token in plain text");
    assert!(acknowledged.load(Ordering::SeqCst) > before, "it went on storing");
    refused(&[&"backup", &place("backup"), &"--data-dir", &data], "is there already");
    refused(&[&"backup", &"restore", &place("backup"), &"--data-dir", &data], "is there already");
    platform.kill();

    let words: [&dyn AsRef<OsStr>; 6] = [&"backup", &"restore", &place("backup"), &"--data-dir", &restored, &"--json"];
    let said: Value = serde_json::from_str(&tesaiot_run(&words).expect_success().stdout).expect("JSON");
    assert_eq!(said["findings"], json!([]));
    let platform = PlatformProcess::start(&restored);
    let numbers = stored(&platform);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "a whole number of commits");
    assert!(numbers.len() as u64 >= before, "{} of {before}", numbers.len());
    // The device is known, its certificate holds, and what it sends again is known too.
    let mut wire = Wire::login(platform.mqtt(), &device, Version::V5);
    let again = json!({"boot": "a", "seq": 1, "data": {"n": 1}}).to_string();
    assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), again.as_bytes()), 0);
    assert_eq!(stored(&platform).len(), numbers.len());
}

#[test]
fn a_damaged_backup_is_not_put_in_place() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| directory.path().join(name);
    let (data, backup, restored) = (place("data"), place("backup"), place("restored"));
    refused(&[&"backup", &backup, &"--data-dir", &data], "there is no platform");
    let platform = PlatformProcess::start(&data);
    assert_eq!(platform.stop("TERM").code, Some(0));
    tesaiot_run(&[&"backup", &backup, &"--data-dir", &data]).expect_success();
    let restore = |reason: &str| {
        refused(&[&"backup", &"restore", &backup, &"--data-dir", &restored], reason);
        assert!(!restored.exists() && !place("restored.partial").exists(), "nothing is left: {reason}");
    };

    for name in ["telemetry.db", "registry.db", "ca/root.pem", "server.key"] {
        let path = backup.join(name);
        let sound = fs::read(&path).expect("a file of the backup");
        let mut flipped = sound.clone();
        flipped[sound.len() / 2] ^= 1;
        fs::write(&path, flipped).expect("written");
        restore("its contents are not what was written");
        fs::write(&path, &sound[..sound.len() - 1]).expect("written");
        restore("it has another size");
        fs::remove_file(&path).expect("removed");
        restore("cannot read");
        fs::write(&path, sound).expect("written");
    }
    let manifest = backup.join("backup.json");
    let sound = fs::read_to_string(&manifest).expect("backup.json");
    fs::write(&manifest, sound.replace("server.pem", "../server.pem")).expect("written");
    restore("it names the file");
    fs::write(&manifest, &sound[..sound.len() / 2]).expect("written");
    restore("backup.json is damaged");
    fs::remove_file(&manifest).expect("removed");
    restore("it has no backup.json");
    fs::write(&manifest, sound).expect("written");
    fs::create_dir(&restored).expect("an empty directory is no obstacle");
    tesaiot_run(&[&"backup", &"restore", &backup, &"--data-dir", &restored]).expect_success();
}

#[test]
fn the_store_is_checked_measured_and_compacted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let store = |verb: &str, json: bool| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"store", &verb, &"--data-dir", &data];
        if json {
            words.push(&"--json");
        }
        tesaiot_run(&words)
    };
    assert_eq!(store("check", false).code, Some(3), "there is none");
    assert!(!data.exists(), "and none was made");
    let platform = PlatformProcess::start(&data);
    let device = platform.device("pump-7", "server-tls", directory.path());
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    for n in 1..=30 {
        assert_eq!(wire.acknowledged(n, &device.topic("telemetry"), format!(r#"{{"n":{n}}}"#).as_bytes()), 0);
    }
    let compacted = store("compact", false);
    assert_eq!(compacted.code, Some(3), "{compacted:#?}");
    assert!(compacted.stderr.contains("in use by another process"), "{compacted:#?}");
    assert_eq!(platform.stop("TERM").code, Some(0));

    store("compact", false).expect_success();
    let stats = store("stats", true).expect_success();
    let stats: Value = serde_json::from_str(&stats.stdout).expect("JSON");
    assert_eq!((&stats["sealed_samples"], &stats["devices"], &stats["free_bytes"]), (&json!(30), &json!(1), &json!(0)));
    assert!(store("stats", false).expect_success().stdout.contains("30 samples, 30 values of 1 devices"));
    let report = store("check", true).expect_success();
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!((&report["sound"], &report["sealed_samples"]), (&json!(true), &json!(30)));

    break_a_chunk(&data.join("telemetry.db"));
    let report = store("check", true);
    assert_eq!(report.code, Some(3), "{report:#?}");
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!((&report["sound"], &report["findings"][0]["what"]), (&json!(false), &json!("chunk 1")));
    // A backup of what is damaged is better than none, and says so; so does its way back.
    let backup = directory.path().join("backup");
    let made = tesaiot_run(&[&"backup", &backup, &"--data-dir", &data]).expect_success();
    assert!(made.stderr.contains("damaged: telemetry: chunk 1"), "{made:#?}");
    let restored = directory.path().join("restored");
    refused(&[&"backup", &"restore", &backup, &"--data-dir", &restored], "chunk 1");
    let words: [&dyn AsRef<OsStr>; 6] = [&"backup", &"restore", &backup, &"--data-dir", &restored, &"--accept-damage"];
    tesaiot_run(&words).expect_success();
}

/// Flips a bit in the one chunk, and nowhere else.
fn break_a_chunk(path: &Path) {
    let mut bytes = fs::read(path).expect("the database");
    // A chunk names its metric; so do snapshots and rollups, which are changed back when they were hit.
    let places: Vec<usize> = (0..bytes.len() - 2).filter(|place| bytes[*place..].starts_with(b"\x01n")).collect();
    for place in places {
        bytes[place + 1] ^= 0x10;
        fs::write(path, &bytes).expect("written");
        let data = path.parent().expect("a directory");
        let said = tesaiot_run(&[&"store", &"check", &"--data-dir", &data]);
        if said.stdout.starts_with("chunk 1:") && said.stdout.lines().count() == 1 {
            return;
        }
        bytes[place + 1] ^= 0x10;
    }
    panic!("no chunk found");
}
