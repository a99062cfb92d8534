//! MQTT.js: the client of browsers and of Node, over TCP with TLS and over WebSocket with TLS.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tesaiot_store::registry::AuthMode;

use super::stored;
use crate::support::PATIENCE;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::process::run;

/// The folder with the package: named by the variable that `cargo xtask test` sets, else where setup puts it.
#[track_caller]
fn folder() -> PathBuf {
    let usual = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/real-clients/mqttjs"));
    let folder = std::env::var_os("TESAIOT_TEST_MQTTJS").map_or_else(usual, PathBuf::from);
    assert!(folder.exists(), "{} is not there: run `cargo xtask setup`", folder.display());
    folder
}

/// Runs the client against one port: every quality of service, and all of it is stored.
#[track_caller]
fn publishes(platform: &TestPlatform, device: &Device, url: &str, protocol_version: u8, first: u32) {
    let certificate = device.certificate();
    let secret = certificate.is_none().then(|| device.api_key());
    let options = json!({
        "url": url,
        "ca": device.file("ca-chain.pem"),
        "certificate": certificate.as_ref().map(|files| &files.certificate),
        "key": certificate.as_ref().map(|files| &files.key),
        "clientId": device.id(),
        "username": secret.map(|_| device.id()),
        "password": secret,
        "protocolVersion": protocol_version,
        "topic": device.topic("telemetry"),
        "commands": device.topic("commands/#"),
        "first": first,
    });
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mqttjs_client.js")).arg(folder());
    run(command.arg(options.to_string()), PATIENCE).expect_success();
    for sample in first..first + 3 {
        let path = format!("/devices/{}/telemetry?metric=sample", device.id());
        let points = platform.operator().get(&path).expect(200);
        let found = points["points"].as_array().expect("points").iter().any(|point| point["value"] == sample);
        assert!(found || sample == first, "{sample} was acknowledged: {points}");
    }
    stored(platform, device, "sample", &json!(first + 2));
}

#[test]
fn both_versions_on_every_port() {
    let platform = TestPlatform::start();
    let with_certificate = platform.device("js-certificate", AuthMode::Mtls);
    let with_key = platform.device("js-key", AuthMode::ServerTls);
    let mutual = format!("mqtts://localhost:{}", platform.mqtt().port());
    let server = format!("mqtts://localhost:{}", platform.mqtt_tls().port());
    let websocket = format!("wss://localhost:{}/mqtt", platform.wss().port());
    let mut first = 100;
    for version in [4, 5] {
        for (device, url) in [(&with_certificate, &mutual), (&with_key, &server), (&with_key, &websocket)] {
            publishes(&platform, device, url, version, first);
            first += 10;
        }
    }
}
