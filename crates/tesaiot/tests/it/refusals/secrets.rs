//! Secrets that open nothing. Nobody can learn from the answer whether a device exists.

use serde_json::json;
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::Scene;
use crate::support::wire::{Connect, VERSIONS, Wire};

/// The refusal of credentials: CONNACK with code 4, or with 0x86 and no properties.
fn bad_credentials(version: Version) -> Vec<u8> {
    match version {
        Version::V3 => vec![0x20, 2, 0, 4],
        Version::V5 => vec![0x20, 3, 0, 0x86, 0],
    }
}

#[test]
fn a_wrong_key_and_an_unknown_device_get_the_same_answer() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    let other = scene.platform.device("pi-cellar", AuthMode::ServerTls);
    for version in VERSIONS {
        let attempts = [
            ("pi-kitchen", Some(("pi-kitchen", "tesa_dak_pikitche_00000000000000000000000000000000"))),
            ("pi-kitchen", Some(("pi-kitchen", other.api_key()))),
            ("no-such-device", Some(("no-such-device", device.api_key()))),
            ("pi-kitchen", Some(("pi-kitchen", ""))),
            ("pi-kitchen", None),
            ("pi-kitchen", Some(("pi-cellar", other.api_key()))),
        ];
        for (client_id, login) in attempts {
            let connect = Connect { login, ..Connect::new(version, client_id) };
            assert_eq!(scene.connack(&device, &connect), bad_credentials(version), "{client_id} {login:?}");
        }
        scene.serves_on();
    }
    assert_eq!(scene.platform.counter("connects_refused"), 12);
    scene.ends_with(&[
        ("device.login", "pi-kitchen", "wrong_secret"),
        ("device.login", "no-such-device", "no_such_device"),
        ("device.login", "pi-kitchen", "neither a certificate nor user name and password"),
        ("device.login", "pi-kitchen", "the user name is not the device id"),
    ]);
}

#[test]
fn a_device_without_a_secret_cannot_log_in_with_one() {
    let scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let key = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    let login = Some(("pump-7", key.api_key()));
    let connect = Connect { login, ..Connect::new(Version::V5, device.id().as_str()) };
    assert_eq!(scene.connack(&key, &connect), bad_credentials(Version::V5));
    scene.ends_with(&[("device.login", "pump-7", "no_credential")]);
}

#[test]
fn a_client_id_that_is_no_device_id_is_refused() {
    let scene = Scene::start();
    let key = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    for (version, refusal) in VERSIONS.into_iter().zip([vec![0x20, 2, 0, 2], vec![0x20, 3, 0, 0x85, 0]]) {
        for client_id in ["", "a/b", "pi kitchen", "+"] {
            let connect = Connect { login: Some((client_id, key.api_key())), ..Connect::new(version, client_id) };
            assert_eq!(scene.connack(&key, &connect), refusal, "{client_id}");
        }
    }
    scene.ends_with(&[
        ("mqtt.connect", "", "no client identifier"),
        ("mqtt.connect", "a/b", "invalid client identifier"),
        ("mqtt.connect", "pi kitchen", "invalid client identifier"),
        ("mqtt.connect", "+", "invalid client identifier"),
    ]);
}

#[test]
fn a_disabled_device_is_put_out_and_kept_out() {
    for auth_mode in [AuthMode::Mtls, AuthMode::ServerTls] {
        let mut scene = Scene::start();
        let device = scene.platform.device("pump-7", auth_mode);
        let address = scene.platform.mqtt();
        let mut live = VERSIONS.map(|version| {
            let mut wire = Wire::login(address, &device, version);
            assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), br#"{"t":1}"#), 0);
            // The second connection takes the session over: one is live at a time.
            (version == Version::V5).then_some(wire)
        });
        let live = live[1].as_mut().expect("the connection on MQTT 5");

        scene.platform.operator().post("/devices/pump-7/disable", b"").expect(200);
        live.expect_closed(0x87);
        for version in VERSIONS {
            let connect = Connect::of(version, &device);
            assert_eq!(scene.connack(&device, &connect), bad_credentials(version));
        }
        if auth_mode == AuthMode::ServerTls {
            scene.platform.rest_of(&device).post("/telemetry", br#"{"t":2}"#).expect_problem(401, "unauthorized");
        }
        scene.serves_on();

        scene.platform.operator().post("/devices/pump-7/enable", b"").expect(200);
        let mut wire = Wire::login(address, &device, Version::V3);
        assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), br#"{"t":3}"#), 0);
        let latest = scene.platform.operator().get("/devices/pump-7/telemetry/latest").expect(200);
        assert_eq!(latest["latest"][0]["value"], json!(3), "and it may come back");
        let refused = [("device.login", "pump-7", "device_disabled"), ("request", "/telemetry", "unknown credential")];
        scene.ends_with(if auth_mode == AuthMode::Mtls { &refused[..1] } else { &refused });
    }
}

#[test]
fn a_replaced_key_closes_the_session_and_opens_nothing_any_more() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    let mut live = Wire::login(scene.platform.mqtt_tls(), &device, Version::V3);
    let answer = scene.platform.operator().post("/devices/pi-kitchen/api-keys", b"").expect(201);
    live.expect_closed(0x87);
    assert_eq!(scene.connack(&device, &Connect::of(Version::V5, &device)), bad_credentials(Version::V5));
    let key = answer["api_key"].as_str().expect("a key");
    let renewed = Connect { login: Some(("pi-kitchen", key)), ..Connect::new(Version::V5, "pi-kitchen") };
    Wire::session(scene.platform.mqtt_tls(), &device, &renewed);
    scene.serves_on();
    scene.ends_with(&[("device.login", "pi-kitchen", "wrong_secret")]);
}
