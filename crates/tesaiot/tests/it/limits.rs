//! What a client may take, as an operator sets it: flags and a configuration file of `tesaiot up`, seen from outside.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tesaiot_mqtt::Version;

use crate::support::PATIENCE;
use crate::support::device::Device;
use crate::support::platform_process::{PlatformProcess, arguments, tesaiot};
use crate::support::process::{Outcome, run};
use crate::support::wire::{Connect, VERSIONS, Wire, body, publish, reason};

/// A platform that was told `settings`, and a place for bundles.
fn platform(settings: &[&str]) -> (PlatformProcess, TempDir) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().join("data");
    let mut command = Command::new(tesaiot());
    command.args(arguments(&data)).args(settings);
    (PlatformProcess::start_as(&mut command, &data), place)
}

/// A counter of the broker, as an operator's dashboard reads it.
fn counter(platform: &PlatformProcess, name: &str) -> u64 {
    platform.rest().get("/health").expect(200)["broker"][name].as_u64().expect("a counter")
}

/// `tesaiot up` that is not to start.
fn refused(settings: &[&str]) -> Outcome {
    let place = tempfile::tempdir().expect("a temporary directory");
    let outcome = run(Command::new(tesaiot()).args(arguments(&place.path().join("data"))).args(settings), PATIENCE);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(!place.path().join("data").exists(), "nothing was begun");
    outcome
}

fn sample(sequence: u64) -> Vec<u8> {
    json!({"boot": "b", "seq": sequence, "data": {"n": sequence}}).to_string().into_bytes()
}

/// Publishes without a pause, a hundred in flight, until it is let go. Returns how many were acknowledged, when the last
/// was, and what it was told.
fn flood(address: SocketAddr, device: &Device, version: Version) -> (u64, Duration, Vec<u8>) {
    let mut wire = Wire::login(address, device, version);
    let topic = device.topic("telemetry");
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    let (started, mut last) = (Instant::now(), Duration::ZERO);
    loop {
        while sent < acknowledged + 100 {
            sent += 1;
            let id = u16::try_from(sent).expect("not so many");
            if wire.try_send(&publish(version, id, false, &topic, &sample(sent))).is_err() {
                break;
            }
        }
        match wire.try_packet() {
            Ok(packet) if packet[0] == 0x40 => {
                acknowledged += 1;
                last = started.elapsed();
            }
            Ok(goodbye) => return (acknowledged, last, goodbye),
            Err(_) => return (acknowledged, last, Vec::new()),
        }
    }
}

/// Back-pressure first: what it sends is taken at its rate, and nothing is lost. Then the word for it. Nobody else notices.
#[test]
fn a_device_above_its_rate_is_held_back_then_let_go_and_others_are_unharmed() {
    let (platform, place) = platform(&["--publish-rate", "50/s,50", "--publish-patience", "2s"]);
    let address = platform.mqtt_tls();
    for version in VERSIONS {
        let name = format!("wild-{version:?}");
        let wild = platform.device(&name, "server-tls", place.path());
        let tame = platform.device(&name.replace("wild", "tame"), "server-tls", place.path());
        let mut neighbour = Wire::login(address, &tame, version);
        let (acknowledged, last, goodbye) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| flood(address, &wild, version));
            // At a pace of its own, below the rate.
            for number in 1..=20 {
                let asked = Instant::now();
                assert_eq!(neighbour.acknowledged(number, &tame.topic("telemetry"), &sample(number.into())), 0);
                assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
                std::thread::sleep(Duration::from_millis(100));
            }
            flood.join().expect("it ends")
        });
        // Fifty at once, and fifty a second for two seconds.
        assert!(
            (120..=250).contains(&acknowledged) && last >= Duration::from_millis(1500),
            "{acknowledged} in {last:?}"
        );
        match version {
            Version::V5 => assert_eq!((goodbye[0], body(&goodbye)[0]), (0xe0, 0x97), "{goodbye:02x?}"),
            Version::V3 => assert!(goodbye.is_empty(), "{goodbye:02x?}"),
        }
        assert_eq!(neighbour.acknowledged(100, &tame.topic("telemetry"), &sample(100)), 0, "it is still there");
        let gaps = platform.operator().get(&format!("/devices/{}/gaps", wild.id())).expect(200);
        let boot = &gaps["boots"][0];
        assert_eq!((&boot["first"], &boot["missing"]), (&json!(1), &json!([])), "{gaps}");
        assert!(boot["last"].as_u64() >= Some(acknowledged), "what was acknowledged is stored: {gaps}");
    }
    assert_eq!(counter(&platform, "publish_abused"), 2);
}

#[test]
fn an_address_has_as_many_connections_as_the_file_says_and_a_flag_goes_before_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("tesaiot.toml");
    std::fs::write(&file, "max-connections-per-address = 1\nhandshake-timeout = '1s'\n").expect("a file");
    let file = file.to_str().expect("text");
    let (platform, bundles) = platform(&["--config", file, "--max-connections-per-address", "2"]);
    let device = platform.device("pump-7", "server-tls", bundles.path());
    // A socket that says nothing takes a place until the deadline of the file.
    let mut silent = Wire::tcp(platform.mqtt_tls());
    let wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    assert!(Wire::tls(platform.mqtt_tls(), device.tls(), Version::V5).is_err(), "a third");
    assert_eq!(counter(&platform, "connections_over_limit"), 1);
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0, "closed");
    drop(wire);
    drop(Wire::login(platform.mqtt_tls(), &device, Version::V5));
}

#[test]
fn a_device_that_connects_too_often_or_guesses_too_often_is_told_to_wait() {
    let (platform, place) = platform(&["--connect-rate", "1/s,3", "--failed-login-rate", "1/s,4"]);
    let device = platform.device("pump-7", "server-tls", place.path());
    let attempt = |version, client_id: &str, secret: &str| {
        let login = Some((client_id, secret));
        let connect = Connect { login, ..Connect::new(version, client_id) };
        let mut wire = Wire::tls(platform.mqtt_tls(), device.tls(), version).expect("a TLS handshake");
        wire.send(&connect.packet());
        reason(&wire.packet())
    };
    let answers: Vec<u8> = (0..4).map(|_| attempt(Version::V5, "pump-7", device.api_key())).collect();
    assert_eq!(answers, [0, 0, 0, 0x9f]);
    assert_eq!(attempt(Version::V3, "pump-7", device.api_key()), 3, "server unavailable");
    // Names of an address that nobody has: four guesses, and no more is looked at.
    let answers: Vec<u8> = (0..6).map(|number| attempt(Version::V5, &format!("guess-{number}"), "secret")).collect();
    assert_eq!(answers, [0x86, 0x86, 0x86, 0x86, 0x9f, 0x9f]);
    assert_eq!((counter(&platform, "connects_too_often"), counter(&platform, "logins_paused")), (2, 2));
}

#[test]
fn bad_numbers_are_refused_with_the_form_they_should_have() {
    let outcome = refused(&["--publish-rate", "100"]);
    assert!(outcome.stderr.contains("100/s or 100/s,5000; or none"), "{outcome:#?}");
    let outcome = refused(&["--max-connections", "0"]);
    assert!(outcome.stderr.contains("--max-connections"), "{outcome:#?}");
    let wrong = ["--max-connections", "5", "--handshake-timeout", "1h", "--max-packet", "1kB"];
    let outcome = refused(&wrong);
    for mistake in ["one address may have more", "a handshake gets between 1s and 5m", "between 64kB and 268MB"] {
        assert!(outcome.stderr.contains(mistake), "{outcome:#?}");
    }
    assert!(outcome.stderr.contains("hint: "), "{outcome:#?}");

    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("tesaiot.toml");
    std::fs::write(&file, "publish-rat = '1/s'\nconnect-rate = 7\nmqtt-port = 70000\n").expect("a file");
    let outcome = refused(&["--config", file.to_str().expect("text")]);
    insta::assert_snapshot!(outcome.stderr.replace(place.path().to_str().expect("text"), "DIR"), @r#"
    error: the configuration DIR/tesaiot.toml has mistakes:
      connect-rate: invalid value '7' for '--connect-rate <RATE>': write how many a second, and how many at once after a pause: 100/s or 100/s,5000; or none
      mqtt-port: invalid value '70000' for '--mqtt-port <PORT>': 70000 is not in 0..=65535
      publish-rat: there is no such setting
    hint: settings are the long names of the flags in `tesaiot up --help`: retain = "400d"
    "#);
    let outcome = refused(&["--config", "nowhere.toml"]);
    assert!(
        outcome.stderr.contains("nowhere.toml cannot be read") && outcome.stderr.contains("hint: "),
        "{outcome:#?}"
    );
}

/// The limits that hold are those of the operator: an unlimited one is.
#[test]
fn no_limit_is_no_limit() {
    let (platform, place) = platform(&["--publish-rate", "none", "--publish-bytes-rate", "none"]);
    let device = platform.device("pump-7", "server-tls", place.path());
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    for number in 1..=50 {
        assert_eq!(wire.acknowledged(number, &device.topic("telemetry"), &sample(number.into())), 0);
    }
    let latest = platform.operator().get("/devices/pump-7/telemetry/latest").expect(200);
    assert!(latest.to_string().contains("50"), "{latest}");
    assert_ne!(latest, Value::Null);
}
