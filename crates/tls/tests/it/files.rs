//! Certificates, keys and trust anchors that cannot be used are named before anything is sent.

use rcgen::KeyPair;
use tesaiot_tls::{ClientIdentity, ConfigError, ServerIdentity, TrustAnchors};

use crate::support::{ca, client_parameters};

#[test]
fn a_key_of_another_certificate_is_named() {
    let ca = ca("root");
    let (chain, _) = ca.leaf(&client_parameters("device"));
    let (_, other) = ca.leaf(&client_parameters("device"));
    assert!(matches!(ClientIdentity::from_pem(&chain, &other), Err(ConfigError::KeyMismatch)));
    assert!(matches!(ServerIdentity::from_pem(&chain, &other), Err(ConfigError::KeyMismatch)));
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    let ca = ca("root");
    let (chain, key) = ca.leaf(&client_parameters("device"));
    ClientIdentity::from_pem(&chain, &key).unwrap();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let error = ClientIdentity::from_pem(&chain, &encrypted).unwrap_err();
    assert!(matches!(error, ConfigError::EncryptedPrivateKey), "{error:?}");
    for text in ["", "hello", &chain] {
        let error = ClientIdentity::from_pem(&chain, text).unwrap_err();
        assert!(matches!(error, ConfigError::NoPrivateKey), "{error:?}");
    }
    let half = &key[..key.len() / 2];
    let error = ClientIdentity::from_pem(&chain, half).unwrap_err();
    assert!(matches!(error, ConfigError::MalformedPem { what: "the private key", .. }), "{error:?}");
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let error = ClientIdentity::from_pem(&chain, nonsense).unwrap_err();
    assert!(matches!(error, ConfigError::UnusablePrivateKey(_)), "{error:?}");
}

#[test]
fn chains_that_cannot_be_read_are_told_apart() {
    let ca = ca("root");
    let (chain, key) = ca.leaf(&client_parameters("device"));
    for text in ["", "hello", &key] {
        let error = ClientIdentity::from_pem(text, &key).unwrap_err();
        assert!(matches!(error, ConfigError::NoCertificate { .. }), "{error:?}");
        assert!(matches!(TrustAnchors::from_pem(text), Err(ConfigError::NoCertificate { .. })));
    }
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(ClientIdentity::from_pem(nonsense, &key), Err(ConfigError::MalformedCertificate { .. })));
    assert!(matches!(TrustAnchors::from_pem(nonsense), Err(ConfigError::MalformedCertificate { .. })));
    let half = &chain[..chain.len() / 2];
    assert!(matches!(TrustAnchors::from_pem(half), Err(ConfigError::MalformedPem { .. })));
    let many = ca.pem.repeat(65);
    assert!(matches!(TrustAnchors::from_pem(&many), Err(ConfigError::TooManyCertificates { limit: 64, .. })));
}

#[test]
fn two_roots_are_two_anchors() {
    let (old, new) = (ca("old"), ca("new"));
    let both = TrustAnchors::from_pem(&format!("{}{}", old.pem, new.pem)).unwrap();
    assert_eq!(both.anchor_count(), 2);
}

#[test]
fn debug_output_hides_keys() {
    let ca = ca("root");
    let (chain, key) = ca.leaf(&client_parameters("device"));
    let client = ClientIdentity::from_pem(&chain, &key).unwrap();
    let shown = format!("{client:?} {:?}", ca.server());
    assert!(shown.contains("***") && shown.contains("device"));
    let bytes = KeyPair::from_pem(&key).unwrap().serialize_der();
    assert!(!shown.contains(&format!("{:?}", &bytes[40..48])));
}
