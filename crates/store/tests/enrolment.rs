//! Certificates for keys of the devices' own: the right to one, once, and what a lost answer does.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_store::Registry;
use tesaiot_store::registry::{
    AuthMode, Certificate, CertificateStatus, Certification, Certified, Claim, CredentialKind, NewDevice, NotCertified,
    Replaced,
};

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

struct Scene {
    _directory: tempfile::TempDir,
    registry: Registry,
    device: DeviceId,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::open(&directory.path().join("registry.db")).unwrap();
        let scene = Self { _directory: directory, registry, device: DeviceId::new("pump-7").unwrap() };
        scene.add("pump-7");
        scene
    }

    fn add(&self, id: &str) -> DeviceId {
        let id = DeviceId::new(id).unwrap();
        let new = NewDevice { id: id.clone(), name: String::new(), auth_mode: AuthMode::Mtls };
        self.registry.create_device(&new, at(0)).unwrap();
        id
    }

    fn certificate(&self, serial: &str, key: &str, from: i64) -> Certificate {
        Certificate {
            device: self.device.clone(),
            serial: serial.into(),
            not_before: at(from),
            not_after: at(from + YEAR),
            fingerprint: "ab".into(),
            issued_at: at(from),
            key_fingerprint: Some(key.into()),
        }
    }

    fn ask(&self, claim: Claim<'_>, key: &str, serial: &str, now: i64) -> Certified {
        let request = Certification { device: &self.device, key_fingerprint: key, claim, now: at(now) };
        let made = (self.certificate(serial, key, now), format!("chain {serial}"));
        self.registry.certify(&request, || Some(made)).unwrap()
    }

    fn token(&self, now: i64) -> String {
        let day = Duration::from_secs(86_400);
        self.registry.create_enrolment_token(&self.device, day, at(now)).unwrap().1.expose().to_owned()
    }

    fn admit(&self, serial: &str, now: i64) -> CertificateStatus {
        self.registry.admit_certificate(&self.device, serial, at(now)).unwrap()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 0).unwrap()
}

fn new(serial: &str) -> Certified {
    Certified::New(format!("chain {serial}"))
}

fn again(serial: &str) -> Certified {
    Certified::Again(format!("chain {serial}"))
}

#[test]
fn a_token_is_worth_one_certificate_and_the_same_key_gets_it_again() {
    let scene = Scene::new();
    let token = scene.token(0);
    let claim = Claim::Token(&token);
    assert_eq!(scene.ask(claim, "k1", "a1", 1), new("a1"));
    assert_eq!(scene.ask(claim, "k1", "a2", 2), again("a1"));
    assert_eq!(scene.ask(claim, "k2", "a3", 3), Certified::Refused(NotCertified::TokenUsed));
    assert_eq!(scene.ask(claim, "k1", "a4", DAY), Certified::Refused(NotCertified::TokenExpired));
    assert_eq!(scene.registry.certificates(&scene.device).unwrap().len(), 1);
    // Once there is a newer certificate the old token is worth nothing.
    let token = scene.token(10);
    assert_eq!(scene.ask(Claim::Token(&token), "k5", "a5", 11), new("a5"));
    assert_eq!(scene.ask(Claim::Verified, "k6", "a6", 12), new("a6"));
    assert_eq!(scene.ask(Claim::Token(&token), "k5", "a7", 13), Certified::Refused(NotCertified::TokenUsed));
}

#[test]
fn a_token_is_for_its_device_and_until_it_is_taken_back() {
    let mut scene = Scene::new();
    let (token, other) = (scene.token(0), scene.add("pump-77"));
    assert_eq!(
        scene.ask(Claim::Token(&format!("{token}0")), "k", "a", 1),
        Certified::Refused(NotCertified::TokenUnknown)
    );
    let own = std::mem::replace(&mut scene.device, other);
    assert_eq!(scene.ask(Claim::Token(&token), "k", "a", 1), Certified::Refused(NotCertified::TokenUnknown));
    scene.device = own;
    assert_eq!(scene.registry.revoke_enrolment_tokens(&scene.device, at(2)).unwrap(), 1);
    assert_eq!(scene.ask(Claim::Token(&token), "k", "a", 3), Certified::Refused(NotCertified::TokenRevoked));
    let token = scene.token(4);
    scene.registry.set_device_enabled(&scene.device, false).unwrap();
    assert_eq!(scene.ask(Claim::Token(&token), "k", "a", 5), Certified::Refused(NotCertified::DeviceDisabled));
    scene.registry.remove_device(&scene.device, at(6)).unwrap();
    assert_eq!(scene.ask(Claim::Token(&token), "k", "a", 7), Certified::Refused(NotCertified::TokenUnknown));
    assert_eq!(scene.ask(Claim::Verified, "k", "a", 7), Certified::Refused(NotCertified::NoSuchDevice));
}

#[test]
fn a_certificate_that_could_not_be_made_leaves_the_token_good() {
    let scene = Scene::new();
    let token = scene.token(0);
    let claim = Claim::Token(&token);
    let request = Certification { device: &scene.device, key_fingerprint: "k", claim, now: at(1) };
    assert_eq!(scene.registry.certify(&request, || None).unwrap(), Certified::NotMade);
    assert_eq!(scene.ask(claim, "k", "a", 2), new("a"));
}

#[test]
fn answers_that_were_lost_never_shut_the_device_out() {
    let scene = Scene::new();
    scene.registry.record_certificate(&scene.certificate("b0", "k0", 0)).unwrap();
    assert_eq!(scene.admit("b0", 1), CertificateStatus::Current);
    for (round, serial) in ["b1", "b2", "b3"].iter().enumerate() {
        let claim = Claim::Certificate("b0");
        assert_eq!(scene.ask(claim, &format!("k{}", round + 1), serial, 10), new(serial));
        assert_eq!(scene.admit("b0", 11), CertificateStatus::Previous);
    }
    assert_eq!(scene.admit("b1", 12), CertificateStatus::Unknown, "two were asked for since: it is forgotten");
    assert_eq!(scene.admit("b2", 12), CertificateStatus::Superseded, "another one was asked for since");
    assert_eq!(scene.registry.certificates(&scene.device).unwrap().len(), 3);
    assert_eq!(scene.admit("b3", 13), CertificateStatus::Current);
    assert_eq!(scene.admit("b0", 14), CertificateStatus::Previous, "to go back to");
    assert_eq!(scene.ask(Claim::Certificate("b3"), "k4", "b4", 15), new("b4"));
    assert_eq!(scene.admit("b0", 16), CertificateStatus::Previous, "the newest is not in use yet");
    assert_eq!(scene.admit("b4", 17), CertificateStatus::Current);
    assert_eq!(scene.admit("b3", 18), CertificateStatus::Previous);
    assert_eq!(scene.admit("b0", 19), CertificateStatus::Superseded);
    assert_eq!(
        scene.ask(Claim::Certificate("b0"), "k5", "b5", 20),
        Certified::Refused(NotCertified::CertificateRefused)
    );
}

#[test]
fn revoking_takes_everything_and_the_key_with_it() {
    let scene = Scene::new();
    assert_eq!(scene.ask(Claim::Verified, "k1", "c1", 1), new("c1"));
    assert_eq!(scene.admit("c1", 2), CertificateStatus::Current);
    assert_eq!(scene.ask(Claim::Certificate("c1"), "k2", "c2", 3), new("c2"));
    assert_eq!(scene.registry.revoke_certificates_of(&scene.device, "lost", at(4)).unwrap(), 2);
    for serial in ["c1", "c2"] {
        assert_eq!(scene.admit(serial, 5), CertificateStatus::Revoked);
    }
    let refused = Certified::Refused(NotCertified::CertificateRefused);
    assert_eq!(scene.ask(Claim::Certificate("c1"), "k3", "c3", 5), refused);
    let token = scene.token(5);
    assert_eq!(scene.ask(Claim::Token(&token), "k2", "c3", 6), Certified::Refused(NotCertified::KeyRevoked));
    assert_eq!(scene.ask(Claim::Token(&token), "k3", "c3", 7), new("c3"), "a new key with a new token");
    let grace = Claim::ExpiredKey(Duration::from_secs(30 * 86_400));
    assert_eq!(scene.ask(grace, "k2", "c4", YEAR + 10), Certified::Refused(NotCertified::KeyRevoked));
}

#[test]
fn a_key_is_one_device_s() {
    let mut scene = Scene::new();
    assert_eq!(scene.ask(Claim::Verified, "k1", "d1", 1), new("d1"));
    scene.device = scene.add("pump-8");
    assert_eq!(scene.ask(Claim::Verified, "k1", "d2", 2), Certified::Refused(NotCertified::KeyOfAnother));
    // Whoever has no credential hears the same of a device that there is and of one that there is not.
    let grace = Claim::ExpiredKey(Duration::from_secs(30 * 86_400));
    for device in ["pump-8", "pump-9"] {
        scene.device = DeviceId::new(device).unwrap();
        for key in ["k1", "k2"] {
            assert_eq!(scene.ask(grace, key, "d2", 2), Certified::Refused(NotCertified::KeyUnknown), "{device} {key}");
        }
    }
}

#[test]
fn after_its_end_the_same_key_and_no_other_is_renewed_for_a_while() {
    let scene = Scene::new();
    let grace = Claim::ExpiredKey(Duration::from_secs(30 * 86_400));
    scene.registry.record_certificate(&scene.certificate("e0", "k0", 0)).unwrap();
    let unknown = Certified::Refused(NotCertified::KeyUnknown);
    assert_eq!(scene.ask(grace, "k0", "e1", YEAR - 1), unknown, "it has not expired");
    assert_eq!(scene.ask(grace, "k9", "e1", YEAR + 10), unknown, "another key");
    // A connection that has been open since before the end.
    assert_eq!(scene.admit("e0", YEAR), CertificateStatus::Current);
    assert_eq!(scene.admit("e0", YEAR + 1), CertificateStatus::Expired);
    let kept_open = scene.ask(Claim::Certificate("e0"), "k0", "e1", YEAR + 1);
    assert_eq!(kept_open, Certified::Refused(NotCertified::CertificateRefused));
    assert_eq!(scene.ask(grace, "k0", "e1", YEAR + 31 * DAY), Certified::Refused(NotCertified::GraceOver));
    assert_eq!(scene.ask(grace, "k0", "e1", YEAR + 29 * DAY), new("e1"));
    assert_eq!(scene.ask(grace, "k0", "e2", YEAR + 29 * DAY + 60), again("e1"), "the answer was lost");
    assert_eq!(scene.admit("e1", YEAR + 30 * DAY), CertificateStatus::Current);
    // A key that was replaced long ago is not brought back by it.
    assert_eq!(scene.ask(Claim::Certificate("e1"), "k2", "e3", YEAR + 31 * DAY), new("e3"));
    assert_eq!(scene.admit("e3", YEAR + 31 * DAY), CertificateStatus::Current);
    assert_eq!(scene.ask(Claim::Certificate("e3"), "k3", "e4", YEAR + 32 * DAY), new("e4"));
    assert_eq!(scene.admit("e4", YEAR + 32 * DAY), CertificateStatus::Current);
    assert_eq!(scene.ask(grace, "k0", "e5", 2 * YEAR + 31 * DAY), unknown);
}

#[test]
fn a_key_that_is_replaced_takes_along_what_it_brought() {
    let scene = Scene::new();
    let replace = |key: &str, now| {
        scene.registry.rotate_secret(&scene.device, CredentialKind::ApiKey, &Secret::new(key), at(now)).unwrap()
    };
    let password = Secret::new("password");
    let old = scene.registry.add_secret(&scene.device, CredentialKind::MqttPassword, &password, at(0)).unwrap();
    assert_eq!(scene.ask(Claim::Secret(old), "k1", "f1", 1), new("f1"));
    assert_eq!(scene.admit("f1", 2), CertificateStatus::Current);
    let token = scene.token(2);
    let Replaced { credential, certificates, enrolment_tokens } = replace("key-1", 3);
    assert_eq!((certificates, enrolment_tokens), (1, 1));
    assert_eq!(scene.admit("f1", 4), CertificateStatus::Revoked);
    // Who came in with the old secret, and asks only now.
    assert_eq!(scene.ask(Claim::Secret(old), "k2", "f2", 4), Certified::Refused(NotCertified::SecretRevoked));
    assert_eq!(scene.ask(Claim::Secret(old), "k1", "f2", 4), Certified::Refused(NotCertified::SecretRevoked));
    assert_eq!(scene.ask(Claim::Token(&token), "k2", "f2", 4), Certified::Refused(NotCertified::TokenRevoked));
    assert_eq!(
        scene.ask(Claim::Certificate("f1"), "k2", "f2", 4),
        Certified::Refused(NotCertified::CertificateRefused)
    );
    assert_eq!(scene.ask(Claim::Secret(credential), "k2", "f2", 5), new("f2"));
    // Another device's secret is none.
    let other = scene.add("pump-8");
    let of_other = scene.registry.add_secret(&other, CredentialKind::ApiKey, &Secret::new("x"), at(5)).unwrap();
    assert_eq!(scene.ask(Claim::Secret(of_other), "k3", "f3", 6), Certified::Refused(NotCertified::SecretRevoked));
}
