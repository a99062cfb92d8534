//! Certificates that open nothing: of another device, of another authority, past their time, taken back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::DeviceId;
use tesaiot_mqtt::Version;
use tesaiot_pki::{Authority as PlatformAuthority, Issued, Validity};
use tesaiot_store::registry::{AuditEvent, AuthMode, Certificate, Registry};
use tesaiot_tls::{ClientIdentity, ClientSettings, TlsVersion, Versions};

use super::Scene;
use crate::support::authority::Authority;
use crate::support::process::{Running, run};
use crate::support::wire::{Connect, VERSIONS, Wire, reason};
use crate::support::{PATIENCE, wait_until};

/// The reason of a CONNACK that refuses credentials.
fn bad_credentials(version: Version) -> u8 {
    if version == Version::V5 { 0x86 } else { 4 }
}

/// Tries to connect with TLS settings that the platform must refuse, on both versions of TLS.
#[track_caller]
fn refused_by_tls(scene: &Scene, settings: &ClientSettings) {
    for versions in [TlsVersion::Tls12, TlsVersion::Tls13].map(Versions::Only) {
        let settings = ClientSettings { versions, ..settings.clone() };
        // A client of TLS 1.3 has finished its handshake when the server judges its certificate.
        let Ok(mut wire) = Wire::tls(scene.platform.mqtt(), settings, Version::V3) else { continue };
        let _ = wire.try_send(&Connect::new(Version::V3, "pump-7").packet());
        assert!(wire.rest().is_empty(), "no answer to CONNECT");
    }
}

/// A certificate of the platform's own authority for `device`, on the authority's own files.
fn issue(scene: &Scene, device: &DeviceId, validity: Validity) -> Issued {
    let authority = PlatformAuthority::open(&scene.platform.data_directory().join("ca")).expect("the authority");
    authority.issue_device(device, validity).expect("a certificate")
}

fn with_identity(scene: &Scene, chain: &str, key: &str) -> ClientSettings {
    let identity = ClientIdentity::from_pem(chain, key).expect("a client's identity");
    ClientSettings { identity: Some(identity), ..scene.good.tls() }
}

#[test]
fn a_certificate_of_another_device_is_refused_also_when_its_id_begins_the_other() {
    let mut scene = Scene::start();
    let devices = ["pump", "pump-7", "pump-70", "valve"].map(|id| scene.platform.device(id, AuthMode::Mtls));
    for version in VERSIONS {
        for device in &devices {
            for other in devices.iter().filter(|other| other.id() != device.id()) {
                let connect = Connect::new(version, other.id().as_str());
                let acknowledgement = scene.connack(device, &connect);
                assert_eq!(reason(&acknowledgement), bad_credentials(version), "{} as {}", device.id(), other.id());
                // Nor does its own name beside it help.
                let connect = Connect { login: Some((device.id().as_str(), "")), ..connect };
                assert_eq!(reason(&scene.connack(device, &connect)), bad_credentials(version));
            }
            // The other way: its own id, the user name of another.
            let connect = Connect { login: Some(("valve-2", "")), ..Connect::new(version, device.id().as_str()) };
            assert_eq!(reason(&scene.connack(device, &connect)), bad_credentials(version));
        }
        scene.serves_on();
    }
    assert_eq!(scene.platform.counter("connects_refused"), 2 * 4 * 7);
    for device in &devices {
        let path = format!("/devices/{}/telemetry/latest", device.id());
        assert_eq!(scene.platform.operator().get(&path).expect(200)["latest"], serde_json::json!([]));
    }
    const CERTIFICATE: &str = "the certificate belongs to another device";
    const NAME: &str = "the user name is not the device id";
    scene.ends_with(&[
        ("device.login", "pump-7", CERTIFICATE),
        ("device.login", "pump-70", CERTIFICATE),
        ("device.login", "valve", CERTIFICATE),
        ("device.login", "pump", NAME),
        ("device.login", "pump", CERTIFICATE),
        ("device.login", "pump-7", NAME),
        ("device.login", "pump-70", NAME),
        ("device.login", "valve", NAME),
    ]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let issued = issue(&scene, device.id(), Validity::new(yesterday, Duration::from_secs(3600)));
    record(&scene, device.id(), &issued);
    refused_by_tls(&scene, &with_identity(&scene, &issued.chain_pem, &issued.key_pem));
    scene.serves_on();
    assert_eq!(scene.platform.counter("handshakes_failed"), 2);
    let named = handshakes_named(scene);
    assert_eq!(named.len(), 1, "{named:#?}");
    assert!(named[0].subject.contains("pump-7") && named[0].detail.contains("expired"), "{named:#?}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let mut scene = Scene::start();
    scene.platform.device("pump-7", AuthMode::Mtls);
    let foreign = Authority::new(&scene.platform.scratch("foreign")).client("pump-7");
    let read = |path| std::fs::read_to_string(path).expect("a file");
    refused_by_tls(&scene, &with_identity(&scene, &read(&foreign.certificate), &read(&foreign.key)));

    let mut command = scene.good.mosquitto("mosquitto_pub");
    command.arg("--cert").arg(&foreign.certificate).arg("--key").arg(&foreign.key);
    let outcome = run(command.args(["-q", "1", "-t", "device/pump-7/telemetry", "-m", "{\"t\":1}"]), PATIENCE);
    assert_ne!(outcome.code, Some(0), "{outcome:#?}");
    scene.serves_on();
    assert_eq!(scene.platform.counter("handshakes_failed"), 3);
    let named = handshakes_named(scene);
    assert!(named.len() == 1 && named[0].subject.contains("pump-7"), "{named:#?}");
}

#[test]
fn a_certificate_that_was_never_recorded_is_refused() {
    let scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let issued = issue(&scene, device.id(), Validity::device(Timestamp::now()));
    let settings = with_identity(&scene, &issued.chain_pem, &issued.key_pem);
    for version in VERSIONS {
        let mut wire = Wire::tls(scene.platform.mqtt(), settings.clone(), version).expect("a TLS handshake");
        wire.send(&Connect::new(version, "pump-7").packet());
        assert_eq!(reason(&wire.packet()), bad_credentials(version));
    }
    scene.ends_with(&[("device.login", "pump-7", "certificate_unknown")]);
}

#[test]
fn revoking_closes_the_live_session_and_refuses_the_next() {
    for version in VERSIONS {
        let mut scene = Scene::start();
        let device = scene.platform.device("pump-7", AuthMode::Mtls);
        let mut live = Wire::login(scene.platform.mqtt(), &device, version);
        assert_eq!(live.acknowledged(1, &device.topic("telemetry"), br#"{"t":1}"#), 0);

        let answer = scene.platform.operator().post("/devices/pump-7/certificate/revoke", b"").expect(200);
        assert_eq!(answer["revoked"], 1);
        live.expect_closed(0x87);
        let refused = scene.connack(&device, &Connect::of(version, &device));
        assert_eq!(reason(&refused), bad_credentials(version));
        scene.serves_on();

        // Fresh credentials let it in again; the revoked ones stay out.
        let renewed = scene.platform.bundle_of(device.id());
        Wire::login(scene.platform.mqtt(), &renewed, version);
        assert_eq!(reason(&scene.connack(&device, &Connect::of(version, &device))), bad_credentials(version));
        scene.ends_with(&[("device.login", "pump-7", "certificate_revoked")]);
    }
}

#[test]
fn a_client_at_work_hears_of_its_revocation() {
    let scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let mut command = device.mosquitto("mosquitto_sub");
    command.args(["-V", "mqttv5", "-t", &device.topic("commands/#")]);
    let mut client = Running::start(&mut command);
    let show = || scene.platform.operator().get("/devices/pump-7").expect(200)["connected"] == true;
    wait_until("the device is connected", || show().then_some(()));
    scene.platform.operator().post("/devices/pump-7/certificate/revoke", b"").expect(200);
    // Told that it is not authorized, it does not try again by itself.
    wait_until("mosquitto_sub has given up", || client.has_ended().then_some(()));
    assert!(!show());
    let outcome = run(&mut command, PATIENCE);
    assert_ne!(outcome.code, Some(0), "{outcome:#?}");
    scene.ends_with(&[("device.login", "pump-7", "certificate_revoked")]);
}

#[test]
fn a_port_for_certificates_only_refuses_whoever_has_none() {
    let mut scene = Scene::start_with(|config| config.require_client_certificate = true);
    let key = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    refused_by_tls(&scene, &key.tls());
    let mut command = key.mosquitto_at("mosquitto_pub", scene.platform.mqtt().port());
    command.args(["-q", "1", "-t", &key.topic("telemetry"), "-m", "{\"t\":1}"]);
    let outcome = run(&mut command, PATIENCE);
    assert_ne!(outcome.code, Some(0), "{outcome:#?}");
    scene.serves_on();
    assert_eq!(scene.platform.counter("handshakes_failed"), 3);
    // The port for passwords serves it.
    Wire::login(scene.platform.mqtt_tls(), &key, Version::V3);
    let named = handshakes_named(scene);
    assert_eq!(named.len(), 1, "{named:#?}");
}

/// The handshakes that the audit log names at the end.
fn handshakes_named(mut scene: Scene) -> Vec<AuditEvent> {
    scene.platform.stop();
    let events = scene.platform.audit_log().into_iter().map(|record| record.event);
    events.filter(|event| event.action == "tls.handshake").collect()
}

/// Makes a certificate known to the registry, as if the platform had issued it.
fn record(scene: &Scene, device: &DeviceId, issued: &Issued) {
    let registry = Registry::open(&scene.platform.data_directory().join("registry.db")).expect("the registry");
    let recorded = registry.record_certificate(&Certificate {
        device: device.clone(),
        serial: issued.serial.to_string(),
        not_before: issued.not_before,
        not_after: issued.not_after,
        fingerprint: issued.fingerprint_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        issued_at: issued.not_before,
        key_fingerprint: None,
    });
    recorded.expect("a record");
}
