//! `device/{id}/commands/csr` → `device/{id}/commands/certificate`.

use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::{OwnKey, body, publishes};
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::wire::Wire;

/// What came on a topic at QoS 1, once it came; other packets are passed over.
#[track_caller]
fn received(wire: &mut Wire, topic: &str, version: Version) -> String {
    loop {
        let packet = wire.packet();
        if packet[0] >> 4 != 3 {
            continue;
        }
        let start = 1 + packet[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let body = &packet[start..];
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        if &body[2..2 + length] == topic.as_bytes() {
            // A packet identifier, and no property in version 5.
            let properties = if version == Version::V5 { 1 + usize::from(body[2 + length + 2]) } else { 0 };
            return String::from_utf8(body[2 + length + 2 + properties..].to_vec()).expect("text");
        }
    }
}

fn renews(platform: &TestPlatform, device: &Device, version: Version) {
    let address = if device.certificate().is_some() { platform.mqtt() } else { platform.mqtt_tls() };
    let mut wire = Wire::login(address, device, version);
    assert_eq!(wire.subscribed(1, &device.topic("commands/certificate")), 1);
    let own = OwnKey::new();
    wire.publish(2, &device.topic("commands/csr"), &own.body(device.id().as_str()));
    let chain = received(&mut wire, &device.topic("commands/certificate"), version);
    assert!(chain.starts_with("-----BEGIN CERTIFICATE-----"), "raw PEM: {chain}");
    assert!(publishes(platform, device, &own.files(&platform.scratch("own"), &chain)));
}

#[test]
fn a_session_by_certificate_or_by_key_gets_the_chain_as_it_is() {
    let platform = TestPlatform::start();
    let devices = [platform.device("pump-7", AuthMode::Mtls), platform.device("pump-8", AuthMode::ServerTls)];
    for (device, version) in devices.iter().zip([Version::V5, Version::V3]) {
        renews(&platform, device, version);
        // The request is stored like every message.
        let stored = platform.messages(device);
        assert!(stored.iter().any(|message| message.topic.ends_with("commands/csr")), "{stored:?}");
    }
}

#[test]
fn a_request_that_is_refused_is_a_dead_letter_and_says_so() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let mut wire = Wire::login(platform.mqtt(), &device, Version::V5);
    let (topic, own) = (device.topic("commands/csr"), OwnKey::new());
    assert_eq!(wire.acknowledged(1, &topic, &body("pump-7", &own.request("pump-77"))), 0x99);
    assert_eq!(wire.acknowledged(2, &topic, &body("pump-77", &own.request("pump-7"))), 0x99);
    assert_eq!(wire.acknowledged(3, &topic, b"hello"), 0x99);
    assert_eq!(wire.acknowledged(4, &topic, &vec![b'A'; 100_000]), 0x99);
    let codes: Vec<_> = platform.dead_letters().iter().map(|letter| letter["code"].clone()).collect();
    assert_eq!(codes, ["csr_too_large", "csr_malformed", "csr_wrong_device", "csr_wrong_name"]);
    // Another device's topic is not its own.
    assert_eq!(wire.acknowledged(5, "device/pump-77/commands/csr", &own.body("pump-77")), 0x87);
    // Nothing was held against the device: it still gets one, until it asks too often.
    let answers: Vec<u8> = (6..16).map(|id| wire.acknowledged(id, &topic, &own.body("pump-7"))).collect();
    assert_eq!((answers[0], answers[9]), (0, 0x97), "{answers:02x?}");
    // Version 3.1.1 has no word for it: the message is safe, and the connection stays.
    drop(wire);
    let mut wire = Wire::login(platform.mqtt(), &device, Version::V3);
    assert_eq!(wire.acknowledged(1, &topic, b"hello"), 0);
    assert_eq!(wire.acknowledged(2, &device.topic("telemetry"), b"{\"n\":1}"), 0);
}
