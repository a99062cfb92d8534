//! Python devices, Paho 1.6 and 2.x, as long-lived clients.

use std::time::Duration;

use serde_json::json;
use tesaiot_store::registry::AuthMode;

use super::stored;
use crate::support::device::Device;
use crate::support::paho::{Paho, PahoOptions, PahoVersion};
use crate::support::platform::TestPlatform;

pub(super) fn options(device: &Device, protocol: &'static str) -> PahoOptions {
    let login = device.certificate().is_none().then(|| (device.id().to_string(), device.api_key().to_owned()));
    PahoOptions {
        ca: Some(device.file("ca-chain.pem")),
        client: device.certificate(),
        login,
        protocol,
        count: 50,
        interval: Duration::from_millis(1),
        ..PahoOptions::new(device.port(), device.id().as_str())
    }
}

/// Two devices, one with a certificate and one with a key, on both versions of the protocol.
fn python_devices(version: PahoVersion) {
    let platform = TestPlatform::start();
    let devices = [("py-certificate", AuthMode::Mtls, "3.1.1"), ("py-key", AuthMode::ServerTls, "5")];
    let clients: Vec<(Device, Paho)> = devices
        .into_iter()
        .map(|(id, auth_mode, protocol)| {
            let device = platform.device(id, auth_mode);
            let client = Paho::start(version, &options(&device, protocol));
            (device, client)
        })
        .collect();
    for (device, mut client) in clients {
        assert_eq!(client.event("connack")["refused"], false);
        assert_eq!(client.event("suback")["codes"][0], 1);
        client.event("done");
        let last = stored(&platform, &device, "sample", &json!(50));
        assert_eq!(last["type"], "python");
        assert_eq!(stored(&platform, &device, "temperature", &json!(36.5))["unit"], "°C");
        let path = format!("/devices/{}/telemetry?metric=sample", device.id());
        let points = platform.operator().get(&path).expect(200)["points"].clone();
        let values: Vec<u64> =
            points.as_array().expect("points").iter().filter_map(|point| point["value"].as_u64()).collect();
        assert_eq!(values, (1..=50).collect::<Vec<_>>(), "every sample once, in order");

        client.publish(&device.topic("events/door"), "open");
        client.events("puback", 51);
        assert_eq!(&platform.messages(&device)[0].payload[..], b"open");
        client.stop().expect_success();
    }
}

#[test]
fn paho_1_as_a_device() {
    python_devices(PahoVersion::One);
}

#[test]
fn paho_2_as_a_device() {
    python_devices(PahoVersion::Two);
}

#[test]
fn a_python_device_survives_a_restart_of_the_platform() {
    let mut platform = TestPlatform::start();
    let device = platform.device("py-device", AuthMode::ServerTls);
    let mut client = Paho::start(PahoVersion::Two, &PahoOptions { count: 0, ..options(&device, "3.1.1") });
    client.event("suback");
    platform.restart();
    assert_eq!(client.events("connack", 2)[1]["refused"], false);
    client.events("suback", 2);
    client.publish(&device.topic("telemetry"), r#"{"after":"restart"}"#);
    client.event("puback");
    stored(&platform, &device, "after", &json!("restart"));
    client.stop().expect_success();
}
