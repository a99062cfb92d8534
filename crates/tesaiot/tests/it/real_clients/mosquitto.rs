//! `mosquitto_pub` and `mosquitto_sub` of Debian.

use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tesaiot_store::registry::AuthMode;

use super::stored;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::process::{Running, run};
use crate::support::{PATIENCE, wait_until};

/// The payload of the wire contract, section 4, with a value of its own.
fn sample(device: &Device, spo2: u32) -> String {
    json!({
        "device_id": device.id(),
        "timestamp": "2025-12-09T10:30:45+00:00",
        "data": {"spo2": spo2, "spo2_unit": "%", "temperature": 36.85, "temperature_unit": "°C", "motion": false,
                 "rhythm": "sinus", "rr_interval_ms": 780.5},
    })
    .to_string()
}

/// Publishes one sample of the type `vitals` with further `flags`, and reads all of it back.
#[track_caller]
fn publishes(platform: &TestPlatform, device: &Device, mut command: Command, flags: &[&str], spo2: u32) {
    let before = Timestamp::now();
    command.args(flags).args(["-t", &device.topic("telemetry/vitals"), "-m", &sample(device, spo2)]);
    run(&mut command, PATIENCE).expect_success();
    let expected = [
        ("spo2", json!(spo2), json!("%")),
        ("temperature", json!(36.85), json!("°C")),
        ("motion", json!(false), Value::Null),
        ("rhythm", json!("sinus"), Value::Null),
        ("rr_interval_ms", json!(780.5), Value::Null),
    ];
    for (metric, value, unit) in expected {
        let found = stored(platform, device, metric, &value);
        assert_eq!((&found["unit"], &found["type"]), (&unit, &json!("vitals")), "{flags:?}: {found}");
        assert_eq!(found["time"], "2025-12-09T10:30:45Z", "{flags:?}: {found}");
        let received: Timestamp = found["received_at"].as_str().expect("a time").parse().expect("RFC 3339");
        let late = received.duration_since(before);
        assert!(late > -SignedDuration::from_millis(1) && late < SignedDuration::from_secs(60), "{flags:?}: {found}");
    }
}

#[test]
fn a_certificate_opens_the_port_for_certificates() {
    let platform = TestPlatform::start_with(|config| config.require_client_certificate = true);
    let device = platform.device("spo2-monitor", AuthMode::Mtls);
    let mut spo2 = 90;
    for tls in ["tlsv1.2", "tlsv1.3"] {
        for mqtt in ["mqttv311", "mqttv5"] {
            spo2 += 1;
            let flags = ["--tls-version", tls, "-V", mqtt, "-q", "1"];
            publishes(&platform, &device, device.mosquitto("mosquitto_pub"), &flags, spo2);
        }
    }
}

#[test]
fn every_quality_of_service_is_stored() {
    let platform = TestPlatform::start();
    let device = platform.device("spo2-monitor", AuthMode::Mtls);
    let mut spo2 = 90;
    for mqtt in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            spo2 += 1;
            publishes(&platform, &device, device.mosquitto("mosquitto_pub"), &["-V", mqtt, "-q", qos], spo2);
        }
    }
    let path = format!("/devices/{}/telemetry?metric=spo2", device.id());
    let points = platform.operator().get(&path).expect(200)["points"].as_array().expect("points").len();
    assert_eq!(points, 6, "each message is stored once");
}

#[test]
fn an_api_key_opens_both_ports() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-kitchen", AuthMode::ServerTls);
    let mut spo2 = 90;
    for port in [platform.mqtt_tls().port(), platform.mqtt().port()] {
        for mqtt in ["mqttv311", "mqttv5"] {
            spo2 += 1;
            let command = device.mosquitto_at("mosquitto_pub", port);
            publishes(&platform, &device, command, &["-V", mqtt, "-q", "1"], spo2);
        }
    }
    // The MQTT password of the bundle is as good as the API key.
    let mut command = device.mosquitto("mosquitto_pub");
    let password = std::fs::read_to_string(device.file("mqtt_password.txt")).expect("mqtt_password.txt");
    command.args(["-P", password.trim()]);
    publishes(&platform, &device, command, &["-q", "1"], 99);
}

#[test]
fn other_forms_of_topic_and_payload() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let publish = |topic: &str, payload: &str| {
        let mut command = device.mosquitto("mosquitto_pub");
        run(command.args(["-q", "1", "-t", topic, "-m", payload]), PATIENCE).expect_success();
    };
    publish("devices/pump-7/telemetry/room/temperature", "21.5");
    let found = stored(&platform, &device, "room_temperature", &json!(21.5));
    assert_eq!(found["type"], "room/temperature");
    assert_eq!(found["time"], found["received_at"], "a sample without a time has the receive time");

    publish(
        "device/pump-7/telemetry",
        r#"[{"timestamp":"2025-01-01T07:00:00+07:00","flow":1.5,"flow_unit":"l/s"},{"flow":2}]"#,
    );
    assert_eq!(stored(&platform, &device, "flow", &json!(2))["type"], Value::Null);
    let points = platform.operator().get("/devices/pump-7/telemetry?metric=flow").expect(200)["points"].clone();
    assert_eq!((&points[0]["time"], &points[0]["unit"]), (&json!("2025-01-01T00:00:00Z"), &json!("l/s")), "{points}");

    // An event is kept as it came.
    publish("device/pump-7/events/door", "open");
    let events = platform.messages(&device);
    assert_eq!((&*events[0].topic, &events[0].payload[..]), ("device/pump-7/events/door", &b"open"[..]));
}

#[test]
fn a_retained_status_waits_for_its_reader_across_lines_of_many() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let status = device.topic("status");
    let mut command = device.mosquitto("mosquitto_pub");
    run(command.args(["-q", "1", "-r", "-t", &status, "-m", r#"{"status":"online"}"#]), PATIENCE).expect_success();
    let mut command = device.mosquitto("mosquitto_sub");
    let read = run(command.args(["-q", "1", "-C", "1", "-W", "10", "-F", "%r %t %p", "-t", &status]), PATIENCE);
    assert_eq!(read.expect_success().stdout, format!(r#"1 {status} {{"status":"online"}}"#));
    assert_eq!(&platform.messages(&device)[0].payload[..], br#"{"status":"online"}"#, "and it is stored");

    // One connection, many messages: one line, one sample.
    let mut publisher =
        Running::start(device.mosquitto("mosquitto_pub").args(["-q", "1", "-l", "-t", &device.topic("telemetry/n")]));
    for number in 1..=200 {
        publisher.write_line(&format!(r#"{{"n":{number},"boot":"b","seq":{number}}}"#));
    }
    publisher.wait(PATIENCE).expect_success();
    stored(&platform, &device, "n", &json!(200));
    let gaps = platform.operator().get("/devices/pump-7/gaps").expect(200);
    assert_eq!(gaps["boots"], json!([{"boot": "b", "first": 1, "last": 200, "missing": []}]));
}

#[test]
fn the_last_will_speaks_for_a_client_that_was_killed() {
    for mqtt in ["mqttv311", "mqttv5"] {
        let platform = TestPlatform::start();
        let device = platform.device("pump-7", AuthMode::Mtls);
        let status = device.topic("status");
        let mut command = device.mosquitto("mosquitto_sub");
        command.args(["-V", mqtt, "-q", "1", "-t", &device.topic("commands/#")]);
        command.args(["--will-topic", &status, "--will-payload", r#"{"status":"offline"}"#]);
        command.args(["--will-qos", "1", "--will-retain"]);
        let client = Running::start(&mut command);
        let connected = |shown: &Value| shown["connected"] == true;
        let show = || platform.operator().get("/devices/pump-7").expect(200);
        wait_until("the device is connected", || connected(&show()).then_some(()));
        client.signal("KILL");
        client.wait(PATIENCE);
        wait_until("the Last Will is stored", || {
            platform.messages(&device).into_iter().find(|message| *message.topic == *status)
        });
        wait_until("the device is gone", || (!connected(&show())).then_some(()));

        let mut command = device.mosquitto("mosquitto_sub");
        let read = run(command.args(["-q", "1", "-C", "1", "-W", "10", "-t", &status]), PATIENCE).expect_success();
        assert_eq!(read.stdout, r#"{"status":"offline"}"#);
    }
}
