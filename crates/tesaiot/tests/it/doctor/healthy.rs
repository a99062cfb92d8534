//! Good bundles, at our platform and at mosquitto.

use tesaiot_store::registry::AuthMode;

use super::{check, doctor, masked, outcome, report, with, without_rest};
use crate::publish::place::{Place, tesaiot};
use crate::support::PATIENCE;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::process::{Running, run};

/// The readable report, without what changes from run to run.
fn readable(device: &Device, platform: &TestPlatform) -> String {
    let outcome = doctor(&device.file(""), &[]).expect_success();
    assert_eq!(outcome.stderr, "");
    let report = crate::zoo::without_times(&outcome.stdout)
        .replace(&device.file("").display().to_string(), "BUNDLE")
        .replace(&device.port().to_string(), "PORT")
        .replace(&platform.https().port().to_string(), "HTTPS");
    masked(&report)
}

#[test]
fn a_device_with_a_certificate_at_our_platform() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    insta::assert_snapshot!(readable(&device, &platform));
    let (report, code) = report(&device.file(""), &[]);
    assert_eq!((code, &report["ok"], &report["ncsa"]["level"]), (0, &true.into(), &2.into()), "{report:#}");
}

#[test]
fn a_device_with_a_key_at_our_platform() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    insta::assert_snapshot!(readable(&device, &platform));
    let (report, code) = report(&device.file(""), &[]);
    assert_eq!((code, &report["ncsa"]["level"]), (0, &1.into()), "{report:#}");
    assert!(!report.to_string().contains(device.api_key()), "no secret is printed");
}

/// What it leaves behind: one event, and nothing where measurements are.
#[test]
fn it_leaves_one_event_and_no_sample() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    doctor(&device.file(""), &["--no-publish"]).expect_success();
    assert_eq!(platform.messages(&device).len(), 0);
    doctor(&device.file(""), &[]).expect_success();
    let messages = platform.messages(&device);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].topic.to_string(), "device/pump-7/events/doctor");
    let latest = platform.operator().get("/devices/pump-7/telemetry/latest").expect(200);
    assert_eq!(latest["latest"], serde_json::json!([]));
    assert_eq!(platform.dead_letters().len(), 0);
}

#[test]
fn a_mosquitto_that_wants_certificates() {
    let place = Place::new();
    let broker = place.broker(true);
    let (report, code) = report(&without_rest(place.certificate_bundle(broker.port()), broker.port()), &[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(with(&report, "failed"), [""; 0]);
    // It has no access list, and there is no REST interface.
    assert_eq!(with(&report, "warned"), ["isolation", "rest"], "{report:#}");
    assert_eq!(with(&report, "skipped"), ["sensors", "outbox", "clock"], "{report:#}");
    assert_eq!(report["ncsa"]["level"], 2, "{report:#}");
}

#[test]
fn a_mosquitto_that_lets_in_anybody_meets_no_level() {
    let place = Place::new();
    let broker = place.broker(false);
    let (report, code) = report(&place.key_bundle(broker.port()), &[]);
    assert_eq!((code, outcome(&report, "anonymous")), (0, "warned"), "{report:#}");
    assert_eq!(report["ncsa"]["level"], 0, "{report:#}");
    assert_eq!(report["ncsa"]["lines"][1]["verdict"], "not met", "{report:#}");
}

/// A certificate that the server does not look at proves nothing.
#[test]
fn a_certificate_that_nobody_asks_for_is_no_mutual_tls() {
    let place = Place::new();
    let broker = place.broker(false);
    let (report, code) = report(&place.certificate_bundle(broker.port()), &[]);
    assert_eq!((code, outcome(&report, "client-certificate")), (7, "failed"), "{report:#}");
}

#[test]
fn a_key_that_others_may_read_costs_the_second_level() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    crate::publish::place::mode(&bundle.join("client_key.pem"), 0o644);
    let (report, code) = report(&bundle, &[]);
    assert_eq!((code, &report["ncsa"]["level"]), (0, &1.into()), "{report:#}");
    assert_eq!(check(&report, "key-permissions")["hint"], "chmod 600 client_key.pem");
}

#[test]
fn an_agent_at_work_comes_back() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let bundle = device.file("");
    let state = platform.scratch("state");
    let mut agent = tesaiot(&bundle, "agent");
    agent.env("XDG_STATE_HOME", &state);
    let running = Running::start(agent.args(["--sensor", "environment", "--interval", "0.1"]));
    crate::support::wait_until("the first sample", || (samples(&platform) > 0).then_some(()));
    let before = samples(&platform);
    let examined =
        run(tesaiot(&bundle, "doctor").arg("--json").env("XDG_STATE_HOME", &state), PATIENCE).expect_success();
    let report = serde_json::from_str(&examined.stdout).expect("a report");
    let outbox = check(&report, "outbox");
    assert_eq!(outbox["outcome"], "passed", "{outbox:#}");
    assert!(outbox["evidence"].as_str().is_some_and(|evidence| evidence.starts_with("an agent runs: ")), "{outbox:#}");
    crate::support::wait_until("samples after the examination", || (samples(&platform) > before + 5).then_some(()));
    running.signal("TERM");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}

fn samples(platform: &TestPlatform) -> u64 {
    let points = platform.operator().get("/devices/pump-7/telemetry?metric=temperature&limit=10000").expect(200);
    points["points"].as_array().map_or(0, |points| points.len() as u64)
}

/// The configuration of an agent: its sensors are read, its outbox is looked at, and it logs in as the agent does.
#[test]
fn an_agent_that_is_not_running() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let bundle = device.file("");
    let place = platform.scratch("agent");
    std::fs::create_dir_all(&place).expect("a directory");
    let (config, data) = (place.join("agent.toml"), place.join("data"));
    let write = |text: &str| std::fs::write(&config, text).expect("a configuration");
    let arguments = ["--config", &config.display().to_string(), "--data-dir", &data.display().to_string()];
    write(
        "[[sensor]]\nread = \"simulator\"\nprofile = \"environment\"\n[[sensor]]\nread = \"serial\"\ntype = \"meter\"\npath = \"/dev/null\"\nspeed = 9600\n",
    );
    let (report, code) = super::report(&bundle, &arguments);
    assert_eq!((code, outcome(&report, "sensors"), outcome(&report, "outbox")), (0, "passed", "skipped"), "{report:#}");
    assert_eq!(check(&report, "sensors")["evidence"], "2 can be read: environment, meter");

    // Two samples wait, then one of their bytes is flipped.
    platform.stop();
    for _ in 0..2 {
        let kept = run(tesaiot(&bundle, "publish").arg("--spool").arg(&data), PATIENCE);
        assert_eq!(kept.code, Some(9), "{kept:#?}");
    }
    platform.start_again();
    let (report, code) = super::report(&bundle, &arguments);
    assert_eq!((code, outcome(&report, "outbox")), (0, "passed"), "{report:#}");
    let evidence = check(&report, "outbox")["evidence"].as_str().expect("evidence").to_owned();
    assert!(
        evidence.starts_with("no agent runs; 2 samples in ") && evidence.contains(", the oldest of 20"),
        "{evidence}"
    );
    let files = std::fs::read_dir(data.join("outbox")).expect("an outbox").flatten();
    let segment = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|kind| kind == "segment"));
    let segment = segment.expect("a closed segment");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).expect("it is damaged");
    let (report, code) = super::report(&bundle, &arguments);
    assert_eq!((code, outcome(&report, "outbox")), (0, "warned"), "{report:#}");
    let evidence = check(&report, "outbox")["evidence"].as_str().expect("evidence").to_owned();
    assert!(evidence.ends_with("; 1 damaged segments, 1 samples cannot be read"), "{evidence}");

    write("[[sensor]]\nread = \"program\"\ntype = \"power\"\npath = \"/nothing/here\"\n");
    let (report, code) = super::report(&bundle, &arguments);
    assert_eq!((code, outcome(&report, "sensors")), (3, "failed"), "{report:#}");
    let evidence = check(&report, "sensors")["evidence"].as_str().expect("evidence").to_owned();
    assert!(evidence.starts_with("1 of 1 cannot be read: power: "), "{evidence}");
    write("[[sensor]]\nread = \"nonsense\"\n");
    let (report, code) = super::report(&bundle, &arguments);
    assert_eq!((code, outcome(&report, "sensors")), (3, "failed"), "{report:#}");
}
