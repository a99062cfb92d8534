//! `--spool`: what was not acknowledged is on disk, and arrives once with the next run or with the agent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tesaiot_store::registry::AuthMode;

use super::place::{DEVICE, Place, publish, tesaiot};
use crate::support::PATIENCE;
use crate::support::agent::AgentPlan;
use crate::support::device::Device;
use crate::support::mosquitto::free_port;
use crate::support::platform::TestPlatform;
use crate::support::process::{Outcome, Running, run};
use crate::support::proxy::{Mode, Proxy};

/// A device of a platform that can be away, and its spool.
struct Scene {
    platform: TestPlatform,
    device: Device,
    bundle: PathBuf,
    spool: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let platform = TestPlatform::start();
        let device = platform.device("pump-7", AuthMode::ServerTls);
        let bundle = device.file("").components().as_path().to_owned();
        let spool = platform.scratch("spool");
        Self { platform, device, bundle, spool }
    }

    /// One reading of the level.
    fn command(&self, level: u64, more: &[&str]) -> Command {
        let mut command = tesaiot(&self.bundle, "publish");
        command.arg("--spool").arg(&self.spool).args(["--message", &format!(r#"{{"level":{level}}}"#)]).args(more);
        command
    }

    #[track_caller]
    fn publish(&self, level: u64, more: &[&str]) -> Outcome {
        run(&mut self.command(level, more), PATIENCE)
    }

    /// Every stored level, in order.
    fn levels(&self) -> Vec<u64> {
        let path = format!("/devices/{}/telemetry?metric=level", self.device.id());
        let answer = self.platform.operator().get(&path).expect(200);
        let points = answer["points"].as_array().expect("points");
        let mut levels: Vec<u64> =
            points.iter().map(|point| point["value"].as_f64().expect("a number") as u64).collect();
        levels.sort_unstable();
        levels
    }
}

/// What the program said, without what differs from run to run.
fn masked(outcome: &Outcome, spool: &Path, port: u16) -> String {
    let words = outcome.stderr.replace(&spool.display().to_string(), "SPOOL").replace(&format!(":{port}"), ":PORT");
    format!("exit {:?}\n{words}", outcome.code)
}

fn spool(outcome: &Outcome) -> Value {
    let summary: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"));
    summary["spool"].clone()
}

#[test]
fn what_a_platform_missed_arrives_once_with_the_next_run() {
    let mut scene = Scene::new();
    let port = scene.device.port();
    scene.platform.stop();
    let outcome = scene.publish(1, &[]);
    insta::assert_snapshot!(masked(&outcome, &scene.spool, port), @r"
    exit Some(9)
    error: 1 message was not delivered and waits in SPOOL
      cause: Connection refused: localhost:PORT
    hint: the next `tesaiot publish --spool` sends it, or `tesaiot agent` with this --data-dir
    ");
    // The rest of a run is taken at its times and kept as well.
    let outcome = scene.publish(2, &["--count", "3", "--interval", "0.01"]);
    assert_eq!(outcome.code, Some(9), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: 4 messages were not delivered and wait in "), "{outcome:#?}");

    scene.platform.start_again();
    let outcome = scene.publish(3, &["--json", "--wait-stored"]).expect_success();
    assert_eq!(spool(&outcome), json!({"found": 4, "kept": 1, "lost": 0, "waiting": 0}));
    assert_eq!(scene.levels(), [1, 2, 2, 2, 3]);
    let outcome = scene.publish(4, &["--json"]).expect_success();
    assert_eq!(spool(&outcome), json!({"found": 0, "kept": 1, "lost": 0, "waiting": 0}));
    assert_eq!(scene.levels(), [1, 2, 2, 2, 3, 4]);
    assert_eq!(scene.platform.counter("duplicates"), 0, "nothing was sent twice");
}

#[test]
fn a_run_that_is_killed_while_it_waits_loses_nothing_and_repeats_nothing() {
    let scene = Scene::new();
    let proxy = Proxy::start(scene.platform.mqtt_tls());
    let port = proxy.port().to_string();
    proxy.set(Mode::Silent);
    for level in 1..=3 {
        let running = Running::start(&mut scene.command(level, &["--broker-port", &port]));
        let kept = || {
            std::fs::read_dir(scene.spool.join("outbox"))
                .ok()?
                .flatten()
                .any(|file| holds(&file.path(), level))
                .then_some(())
        };
        crate::support::wait_until("the message on disk", kept);
        running.signal("KILL");
        running.wait(PATIENCE);
    }
    let outcome = scene.publish(4, &["--broker-port", &port, "--timeout", "0.5"]);
    assert_eq!(outcome.code, Some(9), "{outcome:#?}");
    assert!(outcome.took < Duration::from_secs(5), "{outcome:#?}");
    proxy.set(Mode::Up);
    scene.publish(5, &["--broker-port", &port]).expect_success();
    assert_eq!(scene.levels(), [1, 2, 3, 4, 5]);
}

fn holds(path: &Path, level: u64) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).contains(&format!(r#""level":{level}}}"#))
}

#[test]
fn the_agent_with_the_same_data_directory_sends_it() {
    let mut scene = Scene::new();
    scene.platform.stop();
    assert_eq!(scene.publish(7, &["--type", "tank"]).code, Some(9));
    scene.platform.start_again();
    let mut plan = AgentPlan::new(&scene.device, scene.device.port(), &["--interval", "60"]);
    plan.data.clone_from(&scene.spool);
    let agent = plan.start();
    agent.until("an empty outbox", |status| status["waiting"] == 0 && status["acknowledged"].as_u64() > Some(0));
    assert_eq!(scene.levels(), [7]);
    // Two do not work with one outbox.
    let outcome = scene.publish(8, &[]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("is in use by another process"), "{outcome:#?}");
    agent.stop();
    scene.publish(9, &[]).expect_success();
    assert_eq!(scene.levels(), [7, 9]);
    // Nor is one emptied by acknowledgements whose agent waits for receipts.
    let mut plan = AgentPlan::new(&scene.device, scene.device.port(), &["--interval", "60", "--confirm", "receipts"]);
    plan.data.clone_from(&scene.spool);
    let agent = plan.start();
    agent.until("an answer", |_| true);
    agent.stop();
    let outcome = scene.publish(10, &[]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("belongs to an agent with --confirm receipts"), "{outcome:#?}");
    assert!(outcome.stderr.contains("hint: give --spool another directory"), "{outcome:#?}");
}

#[test]
fn a_broker_that_does_not_say_stored_empties_no_spool_of_who_asks_for_that() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    for found in 0..2 {
        let outcome = publish(&bundle, &["--spool", "waiting", "--wait-stored", "--json"]);
        assert_eq!(outcome.code, Some(9), "{outcome:#?}");
        assert_eq!(spool(&outcome), json!({"found": found, "kept": 1, "lost": 0, "waiting": found + 1}));
        assert!(outcome.stderr.contains("this broker does not say that they are stored"), "{outcome:#?}");
    }
    let outcome = publish(&bundle, &["--spool", "waiting", "--json"]).expect_success();
    assert_eq!(spool(&outcome), json!({"found": 2, "kept": 1, "lost": 0, "waiting": 0}));
}

#[test]
fn what_another_run_will_not_mend_keeps_its_exit_code_and_the_message() {
    let scene = Scene::new();
    let outcome = scene.publish(1, &["--api-key", "tesa_dak_pump7_00000000000000000000000000000000"]);
    assert_eq!(outcome.code, Some(6), "{outcome:#?}");
    assert!(outcome.stderr.contains("error: 1 message was not delivered and waits in "), "{outcome:#?}");
    assert!(outcome.stderr.contains("cause: Bad username or password: "), "{outcome:#?}");
    scene.publish(2, &[]).expect_success();
    assert_eq!(scene.levels(), [1, 2]);
}

#[test]
fn lines_of_stdin_are_kept_too() {
    let mut scene = Scene::new();
    scene.platform.stop();
    let mut command = tesaiot(&scene.bundle, "publish");
    let mut running = Running::start(command.arg("--spool").arg(&scene.spool).arg("--stdin-lines"));
    for level in 1..=3 {
        running.write_line(&format!(r#"{{"level":{level}}}"#));
    }
    let outcome = running.wait(PATIENCE);
    assert_eq!(outcome.code, Some(9), "{outcome:#?}");
    scene.platform.start_again();
    scene.publish(4, &[]).expect_success();
    assert_eq!(scene.levels(), [1, 2, 3, 4]);
}

#[test]
fn a_spool_without_answers_or_without_a_place_is_refused() {
    let place = Place::new();
    let bundle = place.certificate_bundle(free_port());
    let outcome = publish(&bundle, &["--spool", "waiting", "--qos", "0"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: --spool needs --qos 1 or 2: "), "{outcome:#?}");
    // The default is the agent's directory of this device.
    let home = place.directory().join("home");
    let outcome = run(tesaiot(&bundle, "publish").env("HOME", &home).arg("--spool"), PATIENCE);
    assert_eq!(outcome.code, Some(9), "{outcome:#?}");
    assert!(home.join(".local/state/tesaiot/agent").join(DEVICE).join("outbox/state").is_file());
    std::fs::write(place.directory().join("file"), "").expect("a file");
    let outcome = publish(&bundle, &["--spool", "file"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
}
