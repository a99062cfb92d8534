//! What the certificates say, and that a strict verifier believes them for what they are for only.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tesaiot_pki::{Authority, BACKDATED, DEVICE_LIFETIME, IssueError, Serial, Validity};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::support::{authority, chain, device, names, now};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root_der().clone()).unwrap();
    Arc::new(roots)
}

fn unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().unsigned_abs()))
}

fn verify_server(authority: &Authority, chain: &[CertificateDer<'_>], name: &str, at: Timestamp) -> Result<(), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    WebPkiServerVerifier::builder_with_provider(roots(authority), provider())
        .build()
        .unwrap()
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], unix(at))
        .map(drop)
}

fn verify_client(authority: &Authority, chain: &[CertificateDer<'_>], at: Timestamp) -> Result<(), Error> {
    WebPkiClientVerifier::builder_with_provider(roots(authority), provider())
        .build()
        .unwrap()
        .verify_client_cert(&chain[0], &chain[1..], unix(at))
        .map(drop)
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_server_certificate_is_believed_for_each_of_its_names_and_no_other() {
    let (_folder, authority) = authority();
    let given = names(&["broker.example", "localhost", "127.0.0.1", "::1"]);
    let issued = authority.issue_server(&given, Validity::server(now())).unwrap();
    let chain = chain(&issued.chain_pem);
    assert_eq!(chain.len(), 2);
    for name in &given {
        verify_server(&authority, &chain, name, now()).unwrap();
    }
    for name in ["other.example", "sub.broker.example", "127.0.0.2"] {
        assert!(matches!(
            verify_server(&authority, &chain, name, now()),
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
        ));
    }
    let leaf = parse(&chain[0]);
    assert_eq!(leaf.subject().to_string(), "CN=broker.example");
}

#[test]
fn a_certificate_serves_its_own_purpose_only() {
    let (_folder, authority) = authority();
    let server = authority.issue_server(&names(&["broker.example"]), Validity::server(now())).unwrap();
    let device = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let (server, device) = (chain(&server.chain_pem), chain(&device.chain_pem));
    verify_client(&authority, &device, now()).unwrap();
    assert!(matches!(
        verify_client(&authority, &server, now()),
        Err(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }))
    ));
    assert!(matches!(
        verify_server(&authority, &device, "bed-17_monitor", now()),
        Err(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }))
    ));
}

#[test]
fn a_device_certificate_says_the_device_id_and_nothing_more() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let chain = chain(&issued.chain_pem);
    let leaf = parse(&chain[0]);
    assert_eq!(leaf.subject().to_string(), "CN=bed-17_monitor");
    assert!(leaf.subject_alternative_name().unwrap().is_none());
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.to_string(), "Digital Signature");
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && !purposes.any);
    assert!(purposes.other.is_empty());
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    assert_eq!(Serial::from_bytes(leaf.raw_serial()), Ok(issued.serial));
    assert!(issued.key_pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
}

#[test]
fn a_certificate_is_good_from_five_minutes_ago_until_its_lifetime_ends() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let backdated = SignedDuration::try_from(BACKDATED).unwrap();
    let lifetime = SignedDuration::try_from(DEVICE_LIFETIME).unwrap();
    assert_eq!(issued.not_before, now() - backdated);
    assert_eq!(issued.not_after, now() + lifetime);
    let chain = chain(&issued.chain_pem);
    let leaf = parse(&chain[0]);
    assert_eq!(leaf.validity().not_before.timestamp(), issued.not_before.as_second());
    assert_eq!(leaf.validity().not_after.timestamp(), issued.not_after.as_second());

    let second = SignedDuration::from_secs(1);
    verify_client(&authority, &chain, issued.not_before).unwrap();
    verify_client(&authority, &chain, issued.not_after).unwrap();
    assert!(matches!(
        verify_client(&authority, &chain, issued.not_before - second),
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. }))
    ));
    assert!(matches!(
        verify_client(&authority, &chain, issued.not_after + second),
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))
    ));
}

#[test]
fn nothing_outlives_the_intermediate() {
    let (_folder, authority) = authority();
    let last_day = authority.not_after() - SignedDuration::from_hours(24);
    let issued = authority.issue_device(&device(), Validity::device(last_day)).unwrap();
    assert_eq!(issued.not_after, authority.not_after());
    assert!(matches!(
        authority.issue_device(&device(), Validity::device(authority.not_after())),
        Err(IssueError::NoValidity { .. })
    ));
}

#[test]
fn the_authorities_are_what_rfc_5280_asks_for() {
    let (_folder, authority) = authority();
    let root = parse(authority.root_der());
    let intermediate = parse(authority.intermediate_der());
    for (certificate, path_length, years) in [(&root, 1, 20), (&intermediate, 0, 10)] {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(path_length));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        assert!(certificate.extended_key_usage().unwrap().is_none());
        let seconds = certificate.validity().not_after.timestamp() - now().as_second();
        assert_eq!(seconds / (365 * 24 * 60 * 60), years);
    }
    assert!(root.subject().to_string().starts_with("O=Example Hospital, CN=Example Hospital Root CA "));
    assert!(intermediate.subject().to_string().starts_with("O=Example Hospital, CN=Example Hospital Intermediate CA "));
    assert_ne!(root.raw_serial(), intermediate.raw_serial());
}

/// Subject and authority key identifiers lead from the leaf to the root.
#[test]
fn key_identifiers_link_the_chain() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let chain = chain(&issued.chain_pem);
    let (leaf, intermediate) = (parse(&chain[0]), parse(&chain[1]));
    let root = parse(authority.root_der());
    for (below, above) in [(&leaf, &intermediate), (&intermediate, &root), (&root, &root)] {
        assert_eq!(authority_key(below), subject_key(above));
    }
    assert_ne!(subject_key(&leaf), subject_key(&intermediate));
}

fn subject_key(certificate: &X509Certificate<'_>) -> Vec<u8> {
    use x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier;
    let mut extensions = certificate.extensions().iter();
    extensions
        .find_map(|extension| match extension.parsed_extension() {
            SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        })
        .unwrap()
}

fn authority_key(certificate: &X509Certificate<'_>) -> Vec<u8> {
    use x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier;
    let mut extensions = certificate.extensions().iter();
    extensions
        .find_map(|extension| match extension.parsed_extension() {
            AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
            _ => None,
        })
        .unwrap()
        .0
        .to_vec()
}

#[test]
fn every_certificate_has_its_own_serial_key_and_fingerprint() {
    let (_folder, authority) = authority();
    let first = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let second = authority.issue_device(&device(), Validity::device(now())).unwrap();
    assert_ne!(first.serial, second.serial);
    assert_ne!(*first.key_pem, *second.key_pem);
    assert_ne!(first.fingerprint_sha256, second.fingerprint_sha256);
}

#[test]
fn a_wildcard_and_an_upper_case_name_are_written_as_verifiers_read_them() {
    let (_folder, authority) = authority();
    let issued = authority.issue_server(&names(&["*.Example.ORG", "10.0.0.7"]), Validity::server(now())).unwrap();
    let chain = chain(&issued.chain_pem);
    verify_server(&authority, &chain, "broker.example.org", now()).unwrap();
    let leaf = parse(&chain[0]);
    let written = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(*written, [GeneralName::DNSName("*.example.org"), GeneralName::IPAddress(&[10, 0, 0, 7])]);
}

#[test]
fn debug_output_hides_keys() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    let secret = issued.key_pem.lines().nth(1).unwrap();
    let shown = format!("{issued:?} {authority:?} {:?}", crate::support::encrypted());
    assert!(shown.contains("***"));
    assert!(!shown.contains(secret) && !shown.contains(crate::support::PASSPHRASE));
}

/// A verifier looks an issuer up by name: with equal names a foreign certificate would look forged, not foreign.
#[test]
fn two_authorities_of_one_organization_have_different_names() {
    let ((_first_folder, first), (_second_folder, second)) = (authority(), authority());
    let subject = |der: &[u8]| x509_parser::parse_x509_certificate(der).unwrap().1.subject().to_string();
    assert_ne!(subject(first.root_der()), subject(second.root_der()));
    assert_ne!(subject(first.intermediate_der()), subject(second.intermediate_der()));
}
