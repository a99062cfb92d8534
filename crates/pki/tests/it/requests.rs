//! Certificate signing requests: proof of possession, accepted keys, ignored wishes.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use tesaiot_pki::{IssueError, Request, RequestError, Serial, Validity};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::{authority, chain, device, now};

fn request(key: &KeyPair) -> String {
    request_of(&["bed-17_monitor"], key)
}

fn request_of(common_names: &[&str], key: &KeyPair) -> String {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    for name in common_names {
        parameters.distinguished_name.push(DnType::CommonName, *name);
    }
    parameters.serialize_request(key).unwrap().pem().unwrap()
}

fn pem(der: &[u8]) -> String {
    pem_of("CERTIFICATE REQUEST", der)
}

fn pem_of(label: &str, der: &[u8]) -> String {
    pkcs8::der::pem::encode_string(label, pkcs8::LineEnding::LF, der).unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref().to_vec()
}

fn refusal(csr: &str) -> RequestError {
    let (_folder, authority) = authority();
    match authority.sign_csr(&device(), csr, Validity::device(now())) {
        Err(IssueError::Request(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_gets_its_key_signed_and_none_of_its_wishes() {
    let (_folder, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::new(vec!["broker.example".to_owned()]).unwrap();
    wishes.distinguished_name.push(DnType::CommonName, "bed-17_monitor");
    wishes.distinguished_name.push(DnType::OrganizationName, "Evil");
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    wishes.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0])];
    let csr = wishes.serialize_request(&key).unwrap().pem().unwrap();

    let signed = authority.sign_csr(&device(), &csr, Validity::device(now())).unwrap();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let chain_of_request = chain(&signed.chain_pem);
    let (_, leaf) = X509Certificate::from_der(&chain_of_request[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert_eq!(leaf.subject().to_string(), "CN=bed-17_monitor");
    assert!(!leaf.is_ca());
    assert_eq!(Serial::from_bytes(leaf.raw_serial()), Ok(signed.serial));

    // Apart from the key's own identifier, the extensions are those of an issued certificate.
    let chain_of_device = chain(&issued.chain_pem);
    let (_, ours) = X509Certificate::from_der(&chain_of_device[0]).unwrap();
    let extensions = |certificate: &X509Certificate<'_>| {
        let subject_key = x509_parser::oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER;
        let others = certificate.extensions().iter().filter(|e| e.oid != subject_key);
        others.map(|e| (e.oid.to_string(), e.critical, e.value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(extensions(&leaf), extensions(&ours));
}

/// A name that begins with the device's, or is spelled otherwise, is another device's.
#[test]
fn a_request_for_another_name_is_refused() {
    let key = KeyPair::generate().unwrap();
    for name in ["another-device", "bed-17_monitor2", "bed-17_monito", "BED-17_MONITOR", "bed-17_monitor ", ""] {
        assert_eq!(refusal(&request_of(&[name], &key)), RequestError::WrongName, "{name:?}");
    }
    assert_eq!(refusal(&request_of(&[], &key)), RequestError::WrongName);
}

#[test]
fn a_key_is_known_again_by_its_fingerprint() {
    let (_folder, authority) = authority();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let read = |key: &KeyPair| Request::from_pem(&request(key)).unwrap().key_fingerprint();
    let signed = authority.sign_csr(&device(), &request(&key), Validity::device(now())).unwrap();
    assert_eq!(signed.key_fingerprint, read(&key));
    assert_ne!(read(&key), read(&other));
}

#[test]
fn elliptic_curve_keys_are_accepted() {
    let (_folder, authority) = authority();
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let signed = authority.sign_csr(&device(), &request(&key), Validity::device(now())).unwrap();
        let chain = chain(&signed.chain_pem);
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    }
}

#[test]
fn a_request_with_a_false_signature_is_refused() {
    let mut forged = der(&request(&KeyPair::generate().unwrap()));
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refusal(&pem(&forged)), RequestError::BadSignature);
}

/// Somebody else's public key in a request that was signed with one's own.
#[test]
fn a_request_for_a_foreign_key_is_refused() {
    let (own, foreign) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut stolen = der(&request(&own));
    let (from, to) = (own.subject_public_key_info(), foreign.subject_public_key_info());
    let at = stolen.windows(from.len()).position(|window| window == from).unwrap();
    stolen[at..at + to.len()].copy_from_slice(&to);
    assert_eq!(refusal(&pem(&stolen)), RequestError::BadSignature);
}

#[test]
fn what_is_no_request_is_refused() {
    let good = request(&KeyPair::generate().unwrap());
    let der = der(&good);
    let mut trailing = der.clone();
    trailing.push(0);
    for text in [
        "",
        "hello",
        &good[..good.len() / 2],
        &pem_of("CERTIFICATE", &der),
        &pem(&der[..der.len() - 1]),
        &pem(&trailing),
        &pem(&[]),
        &pem(&[0x30; 100]),
    ] {
        assert_eq!(refusal(text), RequestError::Malformed, "{text}");
    }
    assert!(matches!(refusal(&"A".repeat(16 * 1024 + 1)), RequestError::TooLarge { .. }));
}

#[test]
fn the_label_of_java_tools_is_accepted() {
    let (_folder, authority) = authority();
    let der = der(&request(&KeyPair::generate().unwrap()));
    let csr = pem_of("NEW CERTIFICATE REQUEST", &der);
    authority.sign_csr(&device(), &csr, Validity::device(now())).unwrap();
}

/// No byte of a request may make the authority panic or sign for a key that was not proven.
#[test]
fn a_damaged_request_never_gets_a_certificate() {
    let (_folder, authority) = authority();
    let good = der(&request(&KeyPair::generate().unwrap()));
    for index in 0..good.len() {
        let mut damaged = good.clone();
        damaged[index] ^= 0xff;
        let outcome = authority.sign_csr(&device(), &pem(&damaged), Validity::device(now()));
        assert!(matches!(outcome, Err(IssueError::Request(_))), "byte {index}: {outcome:?}");
    }
}
