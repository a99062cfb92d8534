//! `tesaiot agent enroll`: from a token to a bundle that every client takes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tesaiot_store::registry::AuthMode;

use crate::support::PATIENCE;
use crate::support::agent::AgentPlan;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::platform_process::tesaiot;
use crate::support::process::{Outcome, Running, run};

/// `tesaiot` as an operator of this platform.
fn operator(platform: &TestPlatform, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(tesaiot());
    run(command.args(arguments).arg("--data-dir").arg(platform.data_directory()), PATIENCE).expect_success()
}

fn enroll(platform: &TestPlatform, token: &str, out: &Path) -> Command {
    let mut command = Command::new(tesaiot());
    command.env_clear().args(["agent", "enroll", "--token", token, "--out"]).arg(out);
    command.args(["--url", &format!("https://localhost:{}", platform.https().port())]);
    command
}

/// A registered device and its token.
fn registered(platform: &TestPlatform, id: &str) -> String {
    operator(platform, &["device", "add", id, "--enroll"]).stdout.trim().to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_token_becomes_a_bundle_that_every_client_takes() {
    let platform = TestPlatform::start();
    let token = registered(&platform, "greenhouse-1");
    let out = platform.scratch("home").join("greenhouse-1");
    let enrolled = run(&mut enroll(&platform, &token, &out), PATIENCE).expect_success();
    assert_eq!(enrolled.stdout.trim(), out.display().to_string());
    assert!(!format!("{}{}", enrolled.stdout, enrolled.stderr).contains("PRIVATE"), "{enrolled:#?}");
    assert_eq!((mode(&out), mode(&out.join("client_key.pem")), mode(&out.join("identity"))), (0o700, 0o600, 0o700));
    let device = Device::new(out.clone());
    assert_eq!(fs::read(out.join("ca-chain.pem")).ok(), fs::read(platform.trust_chain()).ok());
    for name in ["device_id.txt", "client_cert.pem", "endpoints.json", ".env"] {
        assert!(out.join(name).exists(), "{name}");
    }
    // Ours, theirs, and the examination.
    let certs = ["--certs-dir", out.to_str().expect("UTF-8")];
    let command = |words: &[&str]| run(Command::new(tesaiot()).env_clear().args(words).args(certs), PATIENCE);
    command(&["publish"]).expect_success();
    command(&["doctor"]).expect_success();
    let mut mosquitto = device.mosquitto("mosquitto_pub");
    run(mosquitto.args(["-q", "1", "-t", &device.topic("telemetry"), "-m", "{\"n\":1}"]), PATIENCE).expect_success();
    for more in [&[][..], &["--mode", "https"]] {
        let agent = AgentPlan::new(&device, platform.mqtt().port(), more).start();
        agent.until("deliveries", |status| status["acknowledged"].as_u64() > Some(3));
        agent.stop();
    }
    // Run again it has nothing to do, and asks nobody.
    let mut again = enroll(&platform, &token, &out);
    let again = run(again.args(["--json"]), PATIENCE).expect_success();
    let again: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(again["enrolled_now"], false);
    // The token is used up, also for whoever has a copy of it.
    let thief = run(&mut enroll(&platform, &token, &platform.scratch("thief").join("x")), PATIENCE);
    assert!(thief.code == Some(6) && thief.stderr.contains("used already"), "{thief:#?}");
    let list = operator(&platform, &["device", "enroll-token", "greenhouse-1", "--list", "--json"]);
    let list: Value = serde_json::from_str(&list.stdout).expect("JSON");
    assert!(list[0]["used_at"].is_string(), "{list}");
}

#[test]
fn an_enrolment_that_was_killed_goes_on_with_its_key() {
    let platform = TestPlatform::start();
    let rounds: u32 = std::env::var("TESAIOT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    for round in 0..rounds {
        let id = format!("pi-{round}");
        let token = registered(&platform, &id);
        let out = platform.scratch("killed").join(&id);
        let running = Running::start(&mut enroll(&platform, &token, &out));
        // From before its first file to after its last.
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round) * 40 / u64::from(rounds)));
        running.signal("KILL");
        running.wait(PATIENCE);
        run(&mut enroll(&platform, &token, &out), PATIENCE).expect_success();
        let device = Device::new(out);
        let mut mosquitto = device.mosquitto("mosquitto_pub");
        run(mosquitto.args(["-q", "1", "-t", &device.topic("telemetry"), "-m", "{\"n\":1}"]), PATIENCE)
            .expect_success();
        let list = platform.operator().get(&format!("/devices/{id}/enrolment-tokens")).expect(200);
        assert_eq!(list["tokens"].as_array().map(Vec::len), Some(1), "one token was enough");
    }
}

#[test]
fn a_platform_that_is_not_the_one_is_not_told_the_token() {
    let platform = TestPlatform::start();
    let stranger = TestPlatform::start();
    let token = registered(&platform, "pi-1");
    let out = platform.scratch("home").join("pi-1");
    // The stranger's address with our token: its authority is another.
    let refused = run(&mut enroll(&stranger, &token, &out), PATIENCE);
    assert!(refused.code == Some(5) && refused.stderr.contains("Certificate verify failed"), "{refused:#?}");
    assert_eq!(stranger.anonymous().get("/health").expect(200)["refusals"]["request"], Value::Null);
    // A token without its fingerprint, and nothing in its place.
    let (bare, fingerprint) = token.rsplit_once('.').expect("a fingerprint");
    let refused = run(&mut enroll(&platform, bare, &out), PATIENCE);
    assert!(refused.code == Some(2) && refused.stderr.contains("nothing to verify the platform with"), "{refused:#?}");
    let wrong = fingerprint.replace(|c: char| c.is_ascii_digit(), "f");
    for (arguments, code) in [(["--ca-fingerprint", wrong.as_str()], 5), (["--ca-fingerprint", "abcd"], 2)] {
        let refused = run(enroll(&platform, bare, &out).args(arguments), PATIENCE);
        assert_eq!(refused.code, Some(code), "{refused:#?}");
    }
    let two = run(enroll(&platform, &token, &out).args(["--ca-fingerprint", &wrong]), PATIENCE);
    assert_eq!(two.code, Some(2), "{two:#?}");
    // What is no token, and a platform that is not there.
    assert_eq!(run(&mut enroll(&platform, "tesa_dak_x_00", &out), PATIENCE).code, Some(2));
    let mut nowhere = Command::new(tesaiot());
    nowhere.env_clear().args(["agent", "enroll", "--url", "https://127.0.0.1:1", "--token", &token]);
    assert_eq!(run(nowhere.arg("--out").arg(&out), PATIENCE).code, Some(4));
    assert!(!out.join("device_id.txt").exists() && !out.join("client_cert.pem").exists());
    // The fingerprint apart, as openssl prints it, is as good; so is the file.
    let colons: Vec<String> =
        fingerprint.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect();
    run(enroll(&platform, bare, &out).args(["--ca-fingerprint", &colons.join(":")]), PATIENCE).expect_success();
    let token = registered(&platform, "pi-2");
    let bare = token.rsplit_once('.').expect("a fingerprint").0;
    let out = platform.scratch("home").join("pi-2");
    run(enroll(&platform, bare, &out).arg("--ca").arg(platform.trust_chain()), PATIENCE).expect_success();
}

#[test]
fn another_device_s_bundle_is_not_touched_and_a_revoked_device_enrols_anew() {
    let platform = TestPlatform::start();
    let other = platform.device("pi-0", AuthMode::Mtls);
    let before = fs::read(other.file("client_key.pem")).expect("a key");
    let token = registered(&platform, "pi-1");
    let directory = other.file("").components().as_path().to_owned();
    let refused = run(&mut enroll(&platform, &token, &directory), PATIENCE);
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    assert_eq!(fs::read(other.file("client_key.pem")).ok(), Some(before));
    let out = platform.scratch("home").join("pi-1");
    run(&mut enroll(&platform, &token, &out), PATIENCE).expect_success();
    let key = fs::read(out.join("client_key.pem")).expect("a key");
    operator(&platform, &["device", "revoke", "pi-1"]);
    let certs = ["publish", "--certs-dir", out.to_str().expect("UTF-8")];
    let publish = || run(Command::new(tesaiot()).env_clear().args(certs), PATIENCE);
    assert_ne!(publish().code, Some(0));
    let token = operator(&platform, &["device", "enroll-token", "pi-1", "--valid", "1h"]).stdout.trim().to_owned();
    run(enroll(&platform, &token, &out).arg("--again"), PATIENCE).expect_success();
    publish().expect_success();
    assert_ne!(fs::read(out.join("client_key.pem")).ok(), Some(key), "a new key");
    // Taken back before it was used, and of a device that is disabled.
    let token = operator(&platform, &["device", "enroll-token", "pi-1"]).stdout.trim().to_owned();
    operator(&platform, &["device", "enroll-token", "pi-1", "--revoke"]);
    let refused = run(enroll(&platform, &token, &out).arg("--again"), PATIENCE);
    assert!(refused.code == Some(6) && refused.stderr.contains("taken back"), "{refused:#?}");
    publish().expect_success();
    let tokens = platform.operator().get("/devices/pi-1/enrolment-tokens").expect(200);
    assert!(tokens["tokens"][2]["revoked_at"].is_string(), "{tokens}");
}
