//! Who is online: a device that connects for every sample is, all the while, and nobody hears of each connection.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tesaiot_mqtt::Version;
use tesaiot_store::registry::Registry;

use crate::support::device::Device;
use crate::support::platform_process::{PlatformProcess, arguments, tesaiot};
use crate::support::process::{Running, run};
use crate::support::wire::{Connect, Wire};
use crate::support::{PATIENCE, wait_until};

/// Connections in a row.
const TIMES: u64 = 100;

/// A platform that logs as it does in the field, and a place for bundles.
fn platform(place: &TempDir, settings: &[&str]) -> PlatformProcess {
    let data = place.path().join("data");
    let mut command = Command::new(tesaiot());
    command.args(arguments(&data)).args(settings);
    PlatformProcess::start_logging(&mut command, &data, "info")
}

fn show(platform: &PlatformProcess, device: &Device) -> Value {
    platform.operator().get(&format!("/devices/{}", device.id())).expect(200)
}

fn points(platform: &PlatformProcess, device: &Device) -> u64 {
    let path = format!("/devices/{}/telemetry?metric=n", device.id());
    platform.operator().get(&path).expect(200)["points"].as_array().expect("points").len() as u64
}

/// How often a device came online and went offline, as Prometheus reads it.
fn changes(platform: &PlatformProcess) -> [u64; 2] {
    let page = platform.operator().get("/../../metrics").text;
    ["online", "offline"].map(|to| {
        let line = format!("tesaiot_presence_changes_total{{to=\"{to}\"}} ");
        let value = page.lines().find_map(|found| found.strip_prefix(&line));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {line} in {page}"))
    })
}

/// One connection for each sample, a hundred times: by a program that says goodbye, by one that vanishes without
/// DISCONNECT or close_notify, and by one that is killed. The device is online all the while; that is one event, and no
/// line of the log.
#[test]
fn a_device_that_connects_for_every_sample_is_online_and_fills_no_log() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let platform = platform(&place, &[]);
    let polite = platform.device("polite", "mtls", place.path());
    let rude = platform.device("rude", "server-tls", place.path());
    let killed = platform.device("killed", "server-tls", place.path());
    let done = AtomicBool::new(false);
    let flapped = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = [false; 2];
            while !done.load(Ordering::Relaxed) {
                for (device, seen) in [&polite, &rude].into_iter().zip(&mut seen) {
                    let online = show(&platform, device)["online"] == true;
                    if *seen && !online {
                        return true;
                    }
                    *seen |= online;
                }
                // A look is a program that is started: not so many that they are the load.
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(seen, [true; 2], "they were watched");
            false
        });
        for number in 1..=TIMES {
            let mut command = polite.mosquitto("mosquitto_pub");
            command.args(["-q", "1", "-t", &polite.topic("telemetry/n"), "-m", &number.to_string()]);
            run(&mut command, PATIENCE).expect_success();
        }
        for number in 1..=TIMES {
            let version = if number % 2 == 0 { Version::V5 } else { Version::V3 };
            let mut wire = Wire::login(platform.mqtt_tls(), &rude, version);
            assert_eq!(wire.acknowledged(1, &rude.topic("telemetry/n"), number.to_string().as_bytes()), 0);
            // Its socket closes here, and TLS is not told.
        }
        for number in 1..=5 {
            let mut command = killed.mosquitto("mosquitto_pub");
            let mut program = Running::start(command.args(["-q", "1", "-l", "-t", &killed.topic("telemetry/n")]));
            program.write_line(&number.to_string());
            wait_until("its sample is stored", || (points(&platform, &killed) == number).then_some(()));
            program.signal("KILL");
            program.wait(PATIENCE);
        }
        done.store(true, Ordering::Relaxed);
        watching.join().expect("the watcher ends")
    });
    assert!(!flapped, "one of them was offline for a moment");
    for (device, times) in [(&polite, TIMES), (&rude, TIMES), (&killed, 5)] {
        assert_eq!(points(&platform, device), times, "{}: every sample is stored", device.id());
        wait_until("the registry hears of it", || (show(&platform, device)["online"] == true).then_some(()));
    }
    assert_eq!(changes(&platform), [3, 0], "three devices came, and none has left");

    let log = platform.stop("TERM").stderr;
    let told: Vec<_> = log
        .lines()
        .filter(|line| ["polite", "rude", "killed", "127.0.0.1"].iter().any(|name| line.contains(name)))
        .collect();
    assert_eq!(
        told.iter().filter(|line| !line.contains("device.create") && !line.contains("operator")).count(),
        0,
        "{log}"
    );
    let registry = Registry::open(&place.path().join("data/registry.db")).expect("the registry");
    let refusals = registry.list_audit(None, 10_000).expect("the audit log");
    let refusals: Vec<_> = refusals.iter().filter(|record| record.event.outcome != "allowed").collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
}

/// One that opens TLS and says nothing, or half of CONNECT, is named once.
#[test]
fn a_device_that_never_gets_as_far_as_connect_is_named_once() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let platform = platform(&place, &[]);
    let device = platform.device("pump-7", "server-tls", place.path());
    let connect = Connect::of(Version::V5, &device).packet();
    for number in 0..TIMES {
        let mut wire = Wire::tls(platform.mqtt_tls(), device.tls(), Version::V5).expect("a TLS handshake");
        if number % 2 == 0 {
            wire.send(&connect[..connect.len() / 2]);
        }
    }
    let refused = || platform.rest().get("/health").expect(200)["broker"]["connects_refused"].as_u64();
    wait_until("all of them are counted", || (refused() == Some(TIMES)).then_some(()));
    let log = platform.stop("TERM").stderr;
    let lines = log.lines().filter(|line| line.contains("connection refused")).count();
    assert!((1..=3).contains(&lines), "{log}");
}

/// Away for longer than the grace: one event, at the time it left, with how; and back is one more.
#[test]
fn a_device_that_stays_away_is_offline_once_and_says_how_it_left() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let settings = ["--offline-after", "1s"];
    let mut running = platform(&place, &settings);
    let device = running.device("pump-7", "server-tls", place.path());
    for (cause, vanish) in [("disconnected by the client", false), ("connection", true)] {
        let mut wire = Wire::login(running.mqtt_tls(), &device, Version::V5);
        wait_until("it is online", || (show(&running, &device)["online"] == true).then_some(()));
        assert_eq!(show(&running, &device)["connected"], true);
        if !vanish {
            wire.send(&[0xe0, 0]);
        }
        drop(wire);
        let left = Instant::now();
        let shown = wait_until("it is offline", || {
            let shown = show(&running, &device);
            (shown["online"] == false && shown["offline_cause"].is_string()).then_some(shown)
        });
        assert!(left.elapsed() >= Duration::from_millis(900), "{:?}", left.elapsed());
        assert!(shown["offline_cause"].as_str().is_some_and(|said| said.contains(cause)), "{shown}");
        assert!(shown["presence_changed_at"].is_string(), "{shown}");
    }
    assert_eq!(changes(&running), [2, 2]);

    // Online when the platform dies: it has the grace to come back, and is offline when it does not.
    let wire = Wire::login(running.mqtt_tls(), &device, Version::V5);
    // How it left before is forgotten once the registry knows that it is back.
    wait_until("the registry has it", || show(&running, &device)["offline_cause"].is_null().then_some(()));
    running.kill();
    drop(wire);
    running = platform(&place, &settings);
    let shown = wait_until("it is offline", || {
        let shown = show(&running, &device);
        (shown["online"] == false && shown["offline_cause"].is_string()).then_some(shown)
    });
    assert_eq!(shown["offline_cause"], "the platform was restarted");
    assert_eq!(changes(&running), [0, 1]);
}
