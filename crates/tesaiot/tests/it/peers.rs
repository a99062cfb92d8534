//! The peers themselves: what the other tests lean on is there, works, and fails when it should.

use std::process::Command;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::mosquitto::{Mosquitto, ServerTls, client, free_port};
use crate::support::paho::{Paho, PahoOptions, PahoVersion};
use crate::support::process::{Running, run};

#[test]
fn a_private_mosquitto_carries_a_message() {
    let broker = Mosquitto::start(None);
    let publish = ["-t", "room/one", "-m", "kept", "-q", "1", "-r"];
    run(client("mosquitto_pub", broker.port(), None).args(publish), PATIENCE).expect_success();
    let subscribe = ["-t", "room/+", "-C", "1", "-W", "10", "-v"];
    let received = run(client("mosquitto_sub", broker.port(), None).args(subscribe), PATIENCE).expect_success();
    assert_eq!(received.stdout, "room/one kept");
}

#[test]
fn mutual_tls_with_mosquitto_takes_its_own_certificates_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path());
    let tls = ServerTls { ca: authority.ca(), server: authority.server(), require_client_certificate: true };
    let broker = Mosquitto::start(Some(&tls));
    let publish = |certificate: Option<&str>| {
        let mut command = client("mosquitto_pub", broker.port(), Some(&authority.ca()));
        if let Some(name) = certificate {
            let files = authority.client(name);
            command.arg("--cert").arg(files.certificate).arg("--key").arg(files.key);
        }
        run(command.args(["-t", "a", "-m", "b", "-q", "1"]), PATIENCE)
    };
    publish(Some("sensor-1")).expect_success();
    assert_ne!(publish(None).code, Some(0));
    assert!(broker.log().contains("certificate"), "{}", broker.log());
}

#[test]
fn paho_1_publishes_and_takes_a_command() {
    paho_publishes_and_takes_a_command(PahoVersion::One, "3.1.1");
    paho_publishes_and_takes_a_command(PahoVersion::One, "5");
}

#[test]
fn paho_2_publishes_and_takes_a_command() {
    paho_publishes_and_takes_a_command(PahoVersion::Two, "3.1.1");
    paho_publishes_and_takes_a_command(PahoVersion::Two, "5");
}

fn paho_publishes_and_takes_a_command(version: PahoVersion, protocol: &'static str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path());
    let tls = ServerTls { ca: authority.ca(), server: authority.server(), require_client_certificate: true };
    let broker = Mosquitto::start(Some(&tls));
    let certificate = authority.client("py-device");
    let mut device = Paho::start(
        version,
        &PahoOptions {
            ca: Some(authority.ca()),
            client: Some(certificate.clone()),
            login: Some(("py-device".into(), "a password".into())),
            protocol,
            count: 20,
            interval: Duration::from_millis(1),
            ..PahoOptions::new(broker.port(), "py-device")
        },
    );
    assert_eq!(device.event("connack")["refused"], false);
    assert_eq!(device.event("suback")["codes"][0], 1);
    assert_eq!(device.events("published", 20)[19]["seq"], 20);
    device.event("done");
    device.publish("device/py-device/commands/ack", "{}");
    device.events("puback", 21);

    let mut command = client("mosquitto_pub", broker.port(), Some(&authority.ca()));
    command.arg("--cert").arg(&certificate.certificate).arg("--key").arg(&certificate.key);
    command.args(["-t", "device/py-device/commands/blink", "-m", "twice", "-q", "1"]);
    run(&mut command, PATIENCE).expect_success();
    // Its own acknowledgement came back first: it is a command topic too.
    assert_eq!(device.events("command", 2)[1]["payload"], "twice");
    device.stop().expect_success();
}

#[test]
fn paho_without_a_broker_says_so() {
    let outcome = Paho::start(PahoVersion::Two, &PahoOptions::new(free_port(), "py-device")).stop();
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stdout.contains("refused"), "{outcome:#?}");
}

#[test]
fn a_program_past_its_deadline_is_killed() {
    let outcome =
        run(Command::new("sh").args(["-c", "echo begun; echo slow >&2; exec sleep 600"]), Duration::from_millis(300));
    assert!(outcome.timed_out && outcome.code.is_none(), "{outcome:#?}");
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("begun", "slow"));
    assert!(outcome.took < PATIENCE, "{outcome:#?}");
}

#[test]
fn a_signal_reaches_a_running_program() {
    let mut running =
        Running::start(Command::new("sh").args(["-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"]));
    running.stdout.wait_for(1, PATIENCE, |line| (line == "ready").then_some(())).expect("the shell is ready");
    assert!(!running.has_ended());
    running.signal("TERM");
    let outcome = running.wait(PATIENCE);
    assert_eq!(outcome.code, Some(7), "{outcome:#?}");
}
