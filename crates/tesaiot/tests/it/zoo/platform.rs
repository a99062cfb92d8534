//! Our own platform, when it must refuse a device.

use tesaiot_store::registry::AuthMode;

use super::forge::{Authority, NOW};
use super::publish;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;

/// What is said with the bundle of `device`, on every version of TLS and MQTT alike but for the number of the reason.
#[track_caller]
fn said(device: &Device, version: &str) -> String {
    let (directory, port) = (device.file(""), device.port());
    let said = publish(&directory, port, &["--mqtt-version", version, "--tls-version", "tlsv1.2"]);
    assert_eq!(publish(&directory, port, &["--mqtt-version", version, "--tls-version", "tlsv1.3"]), said);
    said
}

#[test]
fn a_device_that_is_disabled_revoked_or_gone() {
    let platform = TestPlatform::start();
    let operator = platform.operator();
    let devices = [AuthMode::Mtls, AuthMode::ServerTls].map(|mode| platform.device(&format!("pump-{mode:?}"), mode));
    for device in &devices {
        let path = format!("/devices/{}", device.id());
        operator.post(&format!("{path}/disable"), b"").expect(200);
    }
    let disabled = said(&devices[0], "3.1.1");
    assert_eq!(said(&devices[1], "3.1.1"), disabled, "a device is told alike, whatever it logs in with");
    insta::assert_snapshot!(disabled);
    insta::assert_snapshot!(said(&devices[0], "5"));
}

#[test]
fn a_certificate_of_another_authority() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let stranger = Authority::root(&platform.scratch("stranger"), "stranger", NOW).client("pump-7", NOW);
    std::fs::copy(stranger.certificate, device.file("client_cert.pem")).expect("a certificate");
    std::fs::copy(stranger.key, device.file("client_key.pem")).expect("a key");
    insta::assert_snapshot!(said(&device, "5"));
}

#[test]
fn a_port_that_takes_certificates_only() {
    let platform = TestPlatform::start_with(|config| config.require_client_certificate = true);
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let port = platform.mqtt().port();
    let versions = ["tlsv1.2", "tlsv1.3"];
    let said = versions.map(|version| {
        let arguments = ["--broker-port", &port.to_string(), "--tls-version", version];
        publish(&device.file(""), port, &arguments)
    });
    assert_eq!(said[0], said[1]);
    insta::assert_snapshot!(said[0]);
}
