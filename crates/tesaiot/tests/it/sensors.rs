//! The sensors of `tesaiot agent`: several at once from a configuration file, and one that fails among them.

use std::fs;

use serde_json::Value;

use crate::publish::place::{DEVICE, Place, tesaiot};
use crate::support::PATIENCE;
use crate::support::process::{Running, run};

#[test]
fn sensors_of_a_file_publish_each_on_its_topic_and_one_that_fails_holds_up_nobody() {
    let place = Place::new();
    let broker = place.broker(true);
    let watcher = place.watcher(broker.port());
    let bundle = place.certificate_bundle(broker.port());
    let folder = bundle.parent().expect("a folder");
    let zone = folder.join("machine/sys/class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).expect("a fake tree");
    fs::write(zone.join("type"), "cpu-thermal\n").expect("a type");
    fs::write(zone.join("temp"), "130000\n").expect("a temperature");
    let config = folder.join("agent.toml");
    let text = format!(
        r#"
interval_seconds = 0.1
root = "{}"
[[sensor]]
read = "iio"
type = "room"
[[sensor]]
read = "thermal"
zone = "cpu-thermal"
range = {{ temperature = [-20, 105] }}
[[sensor]]
read = "program"
type = "garden/soil"
path = "/bin/sh"
arguments = ["-c", "echo '{{\"moisture\":41,\"moisture_unit\":\"%\"}}'"]
[[sensor]]
read = "stdin"
type = "meter"
"#,
        folder.join("machine").display()
    );
    fs::write(&config, text).expect("a configuration");
    let mut agent = Running::start(tesaiot(&bundle, "agent").arg("--config").arg(&config));
    for line in ["no sample, and half a line as far as anyone knows", "no sample either", "{\"power\":230}"] {
        agent.write_line(line);
    }
    let talk = agent.stderr.clone();
    let hear = |kind: &str| {
        let topic = format!("device/{DEVICE}/telemetry/{kind} ");
        let heard = watcher.stdout.wait_for(1, PATIENCE, |line| {
            let payload = line.strip_prefix(&topic)?;
            Some(serde_json::from_str::<Value>(payload).expect("JSON")["data"].clone())
        });
        heard.unwrap_or_else(|| panic!("nothing on {kind}: {}\n{}", watcher.stdout.text(), talk.text())).remove(0)
    };
    assert_eq!(
        hear("thermal"),
        serde_json::json!({"temperature":130.0,"temperature_unit":"°C","temperature_fault":"above_range"})
    );
    assert_eq!(hear("garden/soil"), serde_json::json!({"moisture":41,"moisture_unit":"%"}));
    assert_eq!(hear("meter"), serde_json::json!({"power":230}));

    let device = folder.join("machine/sys/bus/iio/devices/iio:device0");
    fs::create_dir_all(&device).expect("a device is plugged in");
    fs::write(device.join("in_temp_input"), "21500\n").expect("a temperature");
    assert_eq!(hear("room"), serde_json::json!({"temperature":21.5,"temperature_unit":"°C"}));
    agent.signal("TERM");
    let outcome = agent.wait(PATIENCE);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    for words in [
        "sensor room: an IIO device in ",
        "hint: check the wiring, and that its overlay is enabled",
        "sensor thermal: temperature is flagged above_range",
        "sensor room is read again",
        "sensor meter: standard input is no sample: the payload is not JSON (line 1, column 2)",
    ] {
        assert!(outcome.stderr.contains(words), "{words:?} is missing: {outcome:#?}");
    }
    let flagged = outcome.stderr.matches("is flagged").count();
    assert_eq!(flagged, 1, "a broken wire is told once");
}

#[test]
fn a_file_with_mistakes_is_refused_with_all_of_them() {
    let place = Place::new();
    let bundle = place.key_bundle(1);
    let config = bundle.with_file_name("agent.toml");
    fs::write(&config, "colour = 1\n[[sensor]]\nread = \"iio\"\nchanels = []\n").expect("a configuration");
    let outcome = run(tesaiot(&bundle, "agent").arg("--config").arg(&config), PATIENCE);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    for words in
        ["agent.toml holds mistakes:", "[[sensor]] number 1: read: unknown field `chanels`", "colour is no setting"]
    {
        assert!(outcome.stderr.contains(words), "{words:?} is missing: {outcome:#?}");
    }
    fs::write(&config, "# nothing\n").expect("a configuration");
    let outcome = run(tesaiot(&bundle, "agent").arg("--config").arg(&config), PATIENCE);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("does not simulate one unless asked"), "{outcome:#?}");
}

#[test]
fn the_example_is_a_good_configuration() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = env!("CARGO_BIN_EXE_tesaiot");
    let agent = |arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        run(command.env_clear().current_dir(folder.path()).args(["agent", "config"]).args(arguments), PATIENCE)
    };
    let example = agent(&["example"]).expect_success();
    fs::write(folder.path().join("agent.toml"), example.stdout).expect("a file");
    let checked = agent(&["check", "agent.toml"]).expect_success();
    assert_eq!(checked.stdout, "host: telemetry/host, every 60s");
}
