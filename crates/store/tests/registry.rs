//! The registry from outside: each noun, and what an attacker would try.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_store::registry::{
    AuditEvent, AuthMode, Certificate, CertificateStatus, CredentialKind, DeviceAuthentication, NewDevice,
    PresenceChange, Refusal, Role, Seen, TokenId,
};
use tesaiot_store::{Registry, StoreError};

struct Fixture {
    directory: tempfile::TempDir,
    registry: Registry,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::open(&directory.path().join("registry.db")).unwrap();
        Self { directory, registry }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("registry.db")
    }

    fn device(&self, id: &str) -> DeviceId {
        let id = DeviceId::new(id).unwrap();
        let new = NewDevice { id: id.clone(), name: "a pump".into(), auth_mode: AuthMode::Mtls };
        self.registry.create_device(&new, at(0)).unwrap();
        id
    }

    fn certificate(&self, device: &DeviceId, serial: &str, until: i64) {
        self.registry
            .record_certificate(&Certificate {
                device: device.clone(),
                serial: serial.into(),
                not_before: at(0),
                not_after: at(until),
                fingerprint: "ab".into(),
                issued_at: at(0),
                key_fingerprint: None,
            })
            .unwrap();
    }

    fn check(&self, device: &DeviceId, serial: &str) -> CertificateStatus {
        self.registry.check_certificate(device, serial, at(50)).unwrap()
    }

    fn refusal(&self, device: &DeviceId, secret: &str) -> Option<Refusal> {
        match self.registry.verify_device_secret(device, secret.as_bytes()).unwrap() {
            DeviceAuthentication::Refused(refusal) => Some(refusal),
            DeviceAuthentication::Accepted { device: accepted, .. } => {
                assert_eq!(accepted.id, *device);
                None
            }
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 0).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[test]
fn devices_are_created_listed_changed_and_removed() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let ids: Vec<DeviceId> = ["ccc", "aaa", "bbb"].map(|id| fixture.device(id)).into();
    let again = NewDevice { id: ids[0].clone(), name: String::new(), auth_mode: AuthMode::ServerTls };
    assert!(matches!(registry.create_device(&again, at(1)), Err(StoreError::AlreadyExists { what: "device", .. })));
    assert_eq!(registry.device(&ids[0]).unwrap().unwrap().name, "a pump");
    let list = |after: Option<&DeviceId>, limit| -> Vec<String> {
        let devices = registry.list_devices(after, limit).unwrap();
        devices.into_iter().map(|device| device.id.to_string()).collect()
    };
    assert_eq!(list(None, 2), ["aaa", "bbb"]);
    assert_eq!(list(Some(&ids[2]), 2), ["ccc"]);
    registry.set_device_enabled(&ids[1], false).unwrap();
    registry.rename_device(&ids[1], "a fan").unwrap();
    let device = registry.device(&ids[1]).unwrap().unwrap();
    assert_eq!((device.enabled, device.name.as_str()), (false, "a fan"));
    registry.remove_device(&ids[1], at(2)).unwrap();
    assert_eq!(registry.device(&ids[1]).unwrap(), None);
    assert_eq!(registry.count_devices().unwrap(), 2);
    for missing in [registry.remove_device(&ids[1], at(3)), registry.set_device_enabled(&ids[1], true)] {
        assert!(matches!(missing, Err(StoreError::NotFound { what: "device", .. })));
    }
}

#[test]
fn the_last_sign_of_life_never_goes_back() {
    let fixture = Fixture::new();
    let id = fixture.device("aaa");
    let seen = |second, address: Option<&str>| Seen {
        device: id.clone(),
        at: at(second),
        address: address.map(str::to_owned),
        change: None,
    };
    let unknown = Seen { device: DeviceId::new("nobody").unwrap(), at: at(1), address: None, change: None };
    fixture.registry.touch_seen(&[seen(5, Some("192.0.2.7")), unknown, seen(9, None), seen(3, None)]).unwrap();
    let device = fixture.registry.device(&id).unwrap().unwrap();
    assert_eq!(device.last_seen_at, Some(at(9)));
    assert_eq!(device.last_address.as_deref(), Some("192.0.2.7"));
}

#[test]
fn who_is_online_and_how_others_left_is_remembered() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.device("one"), fixture.device("other"));
    let change = |device: &DeviceId, second, online, cause: Option<&str>| Seen {
        device: device.clone(),
        at: at(second),
        address: None,
        change: Some(PresenceChange { online, at: at(second), cause: cause.map(str::to_owned) }),
    };
    fixture.registry.touch_seen(&[change(&one, 1, true, None), change(&other, 2, true, None)]).unwrap();
    fixture.registry.touch_seen(&[change(&other, 3, false, Some("connection lost"))]).unwrap();
    assert_eq!(fixture.registry.online_devices().unwrap(), [(one, Some(at(1)))]);
    let device = fixture.registry.device(&other).unwrap().unwrap();
    assert_eq!((device.online, device.presence_at), (false, Some(at(3))));
    assert_eq!(device.offline_cause.as_deref(), Some("connection lost"));
}

#[test]
fn the_token_of_an_application_says_its_topics_until_it_is_revoked() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let topics = ["device/+/telemetry/#".to_owned(), "device/+/status".to_owned()];
    let (made, secret) = registry.create_mqtt_token("grafana", "ward", &topics, at(1)).unwrap();
    assert!(secret.expose().starts_with("tesa_mqtt_ward_") && secret.expose().len() == 15 + 32);
    assert_eq!(registry.verify_mqtt_token(secret.expose()).unwrap(), Some(made.clone()));
    assert_eq!(made.topics, topics);
    assert_eq!(registry.verify_mqtt_token("tesa_mqtt_ward_0").unwrap(), None);
    assert_eq!(registry.verify_token(secret.expose()).unwrap(), None, "of another kind");
    registry.revoke_mqtt_token(made.id, at(2)).unwrap();
    assert_eq!(registry.verify_mqtt_token(secret.expose()).unwrap(), None);
    assert_eq!(registry.list_mqtt_tokens().unwrap()[0].revoked_at, Some(at(2)));
    for bad in [&[][..], &["a\nb".to_owned()], &[String::new()]] {
        assert!(matches!(registry.create_mqtt_token("x", "ward", bad, at(3)), Err(StoreError::Invalid { .. })));
    }
    assert!(matches!(registry.revoke_mqtt_token(TokenId(9), at(3)), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_device_is_let_in_with_its_own_valid_secret_only() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let (one, other, bare) = (fixture.device("one"), fixture.device("other"), fixture.device("bare"));
    let key = registry.add_secret(&one, CredentialKind::ApiKey, &secret("key-1"), at(0)).unwrap();
    registry.add_secret(&one, CredentialKind::MqttPassword, &secret("password-1"), at(0)).unwrap();
    registry.add_secret(&other, CredentialKind::ApiKey, &secret("key-2"), at(0)).unwrap();
    assert_eq!(fixture.refusal(&one, "key-1"), None);
    assert_eq!(fixture.refusal(&one, "password-1"), None);
    for wrong in ["key-2", "key-1 ", "key-", "", "KEY-1"] {
        assert_eq!(fixture.refusal(&one, wrong), Some(Refusal::WrongSecret), "{wrong:?}");
    }
    assert_eq!(fixture.refusal(&bare, ""), Some(Refusal::NoCredential));
    assert_eq!(fixture.refusal(&DeviceId::new("nobody").unwrap(), "key-1"), Some(Refusal::NoSuchDevice));
    registry.set_device_enabled(&one, false).unwrap();
    assert_eq!(fixture.refusal(&one, "key-1"), Some(Refusal::DeviceDisabled));
    assert_eq!(fixture.refusal(&one, "wrong"), Some(Refusal::WrongSecret));
    registry.set_device_enabled(&one, true).unwrap();
    registry.revoke_secret(key, at(1)).unwrap();
    assert_eq!(fixture.refusal(&one, "key-1"), Some(Refusal::WrongSecret));
    assert_eq!(fixture.refusal(&one, "password-1"), None);
    assert_eq!(registry.credentials(&one).unwrap()[0].revoked_at, Some(at(1)));
}

#[test]
fn an_api_key_alone_names_its_device_until_it_is_rotated() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let (one, other) = (fixture.device("one"), fixture.device("other"));
    registry.add_secret(&one, CredentialKind::ApiKey, &secret("key-1"), at(0)).unwrap();
    registry.add_secret(&one, CredentialKind::MqttPassword, &secret("password"), at(0)).unwrap();
    registry.add_secret(&other, CredentialKind::ApiKey, &secret("key-2"), at(0)).unwrap();
    assert_eq!(registry.device_of_api_key("key-1").unwrap().map(|(device, _)| device), Some(one.clone()));
    assert_eq!(registry.device_of_api_key("key-2").unwrap().map(|(device, _)| device), Some(other));
    assert_eq!(registry.device_of_api_key("password").unwrap().map(|(device, _)| device), None);
    assert_eq!(registry.device_of_api_key("").unwrap().map(|(device, _)| device), None);
    registry.rotate_secret(&one, CredentialKind::ApiKey, &secret("key-3"), at(1)).unwrap();
    assert_eq!(registry.device_of_api_key("key-1").unwrap().map(|(device, _)| device), None);
    assert_eq!(registry.device_of_api_key("key-3").unwrap().map(|(device, _)| device), Some(one.clone()));
    assert_eq!(fixture.refusal(&one, "password"), Some(Refusal::WrongSecret));
    registry.remove_device(&one, at(2)).unwrap();
    assert_eq!(registry.device_of_api_key("key-3").unwrap().map(|(device, _)| device), None);
}

#[test]
fn a_device_has_a_bounded_number_of_valid_secrets() {
    let fixture = Fixture::new();
    let id = fixture.device("one");
    let add = |number: i32| {
        fixture.registry.add_secret(&id, CredentialKind::ApiKey, &secret(&format!("key-{number}")), at(0))
    };
    for number in 0..16 {
        add(number).unwrap();
    }
    assert!(matches!(add(16), Err(StoreError::Invalid { .. })));
    let empty = fixture.registry.add_secret(&id, CredentialKind::ApiKey, &secret(""), at(0));
    assert!(matches!(empty, Err(StoreError::Invalid { .. })));
    let nobody = DeviceId::new("nobody").unwrap();
    let missing = fixture.registry.add_secret(&nobody, CredentialKind::ApiKey, &secret("key"), at(0));
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

#[test]
fn no_secret_is_in_the_file() {
    let fixture = Fixture::new();
    let id = fixture.device("one");
    let registry = &fixture.registry;
    registry.add_secret(&id, CredentialKind::ApiKey, &secret("needle-key"), at(0)).unwrap();
    let user = registry.create_user("a@example.com", "A", Role::Admin, &secret("needle-password"), at(0)).unwrap();
    let session = registry.create_session(user.id, Duration::from_secs(9), at(0)).unwrap();
    let (_, token) = registry.create_token("ci", Role::Viewer, at(0)).unwrap();
    let path = fixture.path();
    let log = fixture.directory.path().join("registry.db-wal");
    let bytes = [std::fs::read(path).unwrap(), std::fs::read(log).unwrap()].concat();
    for needle in ["needle-key", "needle-password", session.expose(), token.expose()] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
    }
    assert!(bytes.windows(13).any(|window| window == b"a@example.com"), "the search finds what is there");
}

#[test]
fn the_newest_certificate_is_current_and_the_one_before_it_still_serves() {
    let fixture = Fixture::new();
    let id = fixture.device("one");
    fixture.certificate(&id, "0A:01", 100);
    assert_eq!(fixture.check(&id, "a01"), CertificateStatus::Current);
    fixture.certificate(&id, "0A02", 100);
    assert_eq!(fixture.check(&id, "a02"), CertificateStatus::Current);
    assert_eq!(fixture.check(&id, "A01"), CertificateStatus::Previous);
    assert!(fixture.check(&id, "A01").is_accepted());
    let late = fixture.registry.check_certificate(&id, "a01", at(101)).unwrap();
    assert_eq!(late, CertificateStatus::Superseded);
    fixture.certificate(&id, "0A03", 100);
    assert_eq!(fixture.check(&id, "a01"), CertificateStatus::Superseded);
    assert_eq!(fixture.check(&id, "a02"), CertificateStatus::Previous);
    fixture.registry.retire_previous_certificates(&id, at(1)).unwrap();
    assert_eq!(fixture.check(&id, "a02"), CertificateStatus::Superseded);
    assert_eq!(fixture.check(&id, "a03"), CertificateStatus::Current);
    assert_eq!(fixture.check(&id, "ff"), CertificateStatus::Unknown);
    assert_eq!(fixture.registry.certificates(&id).unwrap().len(), 3);
}

#[test]
fn a_certificate_serves_its_own_device_only() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.device("one"), fixture.device("one-more"));
    fixture.certificate(&one, "01", 100);
    assert_eq!(fixture.check(&other, "01"), CertificateStatus::Unknown);
    assert_eq!(fixture.check(&DeviceId::new("nobody").unwrap(), "01"), CertificateStatus::NoSuchDevice);
    fixture.registry.set_device_enabled(&one, false).unwrap();
    assert_eq!(fixture.check(&one, "01"), CertificateStatus::DeviceDisabled);
}

#[test]
fn a_revoked_certificate_stays_revoked_and_brings_no_older_one_back() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let id = fixture.device("one");
    for serial in ["01", "02", "03"] {
        fixture.certificate(&id, serial, 100);
    }
    assert_eq!(registry.revoke_certificate("03", "key lost", at(1)).unwrap(), id);
    registry.revoke_certificate("3", "again", at(2)).unwrap();
    assert_eq!(fixture.check(&id, "03"), CertificateStatus::Revoked);
    assert_eq!(fixture.check(&id, "02"), CertificateStatus::Previous);
    assert_eq!(fixture.check(&id, "01"), CertificateStatus::Superseded);
    let revoked = registry.revoked_certificates(at(50)).unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].revocation_reason.as_deref(), Some("key lost"));
    assert_eq!(revoked[0].revoked_at, Some(at(1)));
    assert!(registry.revoked_certificates(at(101)).unwrap().is_empty());
    assert!(matches!(registry.revoke_certificate("ff", "", at(1)), Err(StoreError::NotFound { .. })));
    // A removed device's certificates stay known as revoked, also when its id is used again.
    registry.remove_device(&id, at(3)).unwrap();
    assert_eq!(fixture.check(&id, "02"), CertificateStatus::Revoked);
    fixture.device("one");
    assert_eq!(fixture.check(&id, "02"), CertificateStatus::Revoked);
    let certificate = &registry.certificates(&id).unwrap()[0].certificate;
    assert!(matches!(registry.record_certificate(certificate), Err(StoreError::AlreadyExists { .. })));
}

#[test]
fn people_log_in_with_their_password_and_nothing_else() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let user = registry.create_user("Ann@example.com", "Ann", Role::Admin, &secret("correct horse"), at(0)).unwrap();
    assert_eq!(registry.verify_user("ann@EXAMPLE.com", "correct horse").unwrap(), Some(user.clone()));
    for (email, password) in
        [("ann@example.com", "Correct horse"), ("ann@example.com", ""), ("bob@example.com", "correct horse"), ("", "")]
    {
        assert_eq!(registry.verify_user(email, password).unwrap(), None, "{email} {password}");
    }
    let again = registry.create_user("ann@example.com", "", Role::Viewer, &secret("x"), at(0));
    assert!(matches!(again, Err(StoreError::AlreadyExists { what: "user", .. })));
    let empty = registry.create_user("bob@example.com", "", Role::Viewer, &secret(""), at(0));
    assert!(matches!(empty, Err(StoreError::Invalid { .. })));
    registry.set_password(user.id, &secret("battery staple")).unwrap();
    assert_eq!(registry.verify_user("ann@example.com", "correct horse").unwrap(), None);
    assert!(registry.verify_user("ann@example.com", "battery staple").unwrap().is_some());
    assert_eq!(registry.list_users().unwrap(), [user]);
}

#[test]
fn sessions_end_by_time_by_logout_by_a_new_password_and_with_their_user() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let user = registry.create_user("a@example.com", "A", Role::Operator, &secret("x"), at(0)).unwrap();
    let start = || registry.create_session(user.id, Duration::from_secs(10), at(0)).unwrap();
    let of = |token: &Secret, second| registry.session(token.expose(), at(second)).unwrap();
    let (one, two) = (start(), start());
    assert_ne!(one.expose(), two.expose());
    assert_eq!(one.expose().len(), 64);
    assert_eq!(of(&one, 9), Some(user.clone()));
    assert_eq!(of(&one, 10), None);
    registry.delete_session(one.expose()).unwrap();
    assert_eq!(of(&one, 1), None);
    assert_eq!(of(&two, 1), Some(user.clone()));
    assert_eq!(registry.session("", at(1)).unwrap(), None);
    registry.set_password(user.id, &secret("y")).unwrap();
    assert_eq!(of(&two, 1), None);
    let three = start();
    registry.remove_user(user.id).unwrap();
    assert_eq!(of(&three, 1), None);
    assert!(matches!(
        registry.create_session(user.id, Duration::from_secs(1), at(0)),
        Err(StoreError::NotFound { what: "user", .. })
    ));
}

#[test]
fn operator_tokens_work_until_they_are_revoked() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let (shown, token) = registry.create_token("ci", Role::Viewer, at(0)).unwrap();
    let digits = token.expose().strip_prefix("tesa_ak_").unwrap();
    assert_eq!(digits.len(), 32);
    assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(registry.verify_token(token.expose()).unwrap(), Some(shown.clone()));
    assert_eq!(registry.verify_token("tesa_ak_").unwrap(), None);
    registry.revoke_token(shown.id, at(1)).unwrap();
    assert_eq!(registry.verify_token(token.expose()).unwrap(), None);
    assert_eq!(registry.list_tokens().unwrap()[0].revoked_at, Some(at(1)));
}

#[test]
fn the_audit_log_notices_every_change() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let event = |number: i64| AuditEvent {
        actor: format!("device:{number}"),
        action: "mqtt.connect".into(),
        subject: "listener 8883".into(),
        outcome: "refused".into(),
        detail: "wrong_secret".into(),
        at: at(number),
    };
    registry.append_audit(&[event(1), event(2)]).unwrap();
    registry.append_audit(&(3..=6).map(event).collect::<Vec<_>>()).unwrap();
    let sound = registry.verify_audit_chain().unwrap();
    assert_eq!((sound.records, sound.broken_at), (6, None));
    let page = registry.list_audit(Some(5), 2).unwrap();
    assert_eq!(page.iter().map(|record| record.number).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(page[0].event, event(4));
    assert_eq!(registry.list_audit(None, 1).unwrap()[0].hash, sound.hash);
    for change in [
        "UPDATE audit SET outcome = 'allowed' WHERE number = 4",
        "UPDATE audit SET at = at + 1 WHERE number = 4",
        // The same letters, differently divided.
        "UPDATE audit SET actor = 'device:4m', action = 'qtt.connect' WHERE number = 4",
        "DELETE FROM audit WHERE number = 4",
        "UPDATE audit SET number = 60 WHERE number = 4",
    ] {
        let copy = fixture.directory.path().join("copy.db");
        let _ = std::fs::remove_file(&copy);
        let connection = rusqlite::Connection::open(fixture.path()).unwrap();
        connection.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        let connection = rusqlite::Connection::open(&copy).unwrap();
        assert_eq!(connection.execute(change, []).unwrap(), 1);
        drop(connection);
        let chain = Registry::open(&copy).unwrap().verify_audit_chain().unwrap();
        assert_eq!((chain.records, chain.broken_at), (3, Some(4)), "{change}");
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(fixture.directory.path().join(format!("copy.db{suffix}")));
        }
    }
}

#[test]
fn the_registry_is_the_same_after_it_was_opened_again_and_clones_see_it_at_once() {
    let fixture = Fixture::new();
    let clone = fixture.registry.clone();
    let id = fixture.device("one");
    assert!(clone.device(&id).unwrap().is_some());
    let second = Registry::open(&fixture.path()).unwrap();
    assert!(second.device(&id).unwrap().is_some());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let registry = if number % 2 == 0 { clone.clone() } else { second.clone() };
            std::thread::spawn(move || {
                for step in 0..10 {
                    let id = DeviceId::new(format!("device-{number}-{step}")).unwrap();
                    let new = NewDevice { id: id.clone(), name: String::new(), auth_mode: AuthMode::ServerTls };
                    registry.create_device(&new, at(0)).unwrap();
                    assert!(registry.device(&id).unwrap().is_some());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(fixture.registry.count_devices().unwrap(), 81);
}
