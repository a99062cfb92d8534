//! What is read out of a certificate.

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SerialNumber, date_time_ymd};
use tesaiot_tls::{CertificateSummary, peer_summary};

use crate::support::{expired, server_parameters};

fn summary(parameters: &CertificateParams) -> CertificateSummary {
    let key = KeyPair::generate().unwrap();
    CertificateSummary::from_der(parameters.self_signed(&key).unwrap().der()).unwrap()
}

fn subject(names: &[(DnType, &str)]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    for (kind, name) in names {
        parameters.distinguished_name.push(kind.clone(), *name);
    }
    parameters
}

#[test]
fn every_field_says_what_the_certificate_says() {
    let mut parameters = expired(server_parameters());
    parameters.distinguished_name.push(DnType::OrganizationName, "Example");
    parameters.serial_number = Some(SerialNumber::from_slice(&[0, 0x9a, 0, 7]));
    let summary = summary(&parameters);
    assert_eq!(summary.subject_common_name.as_deref(), Some("broker.example"));
    assert_eq!(summary.subject, "CN=broker.example, O=Example");
    assert_eq!(summary.issuer, summary.subject);
    assert_eq!(summary.serial, [0x9a, 0, 7]);
    assert_eq!(summary.not_before.to_string(), "2020-01-01T00:00:00Z");
    assert_eq!(summary.not_after.to_string(), "2021-01-01T00:00:00Z");
    assert_eq!(summary.dns_names, ["broker.example"]);
    assert_eq!(summary.names(), ["broker.example", "::1", "127.0.0.1"]);
    assert!(!summary.is_ca);
    assert!(summary.is_valid_at(summary.not_before) && summary.is_valid_at(summary.not_after));
    assert!(!summary.is_valid_at(Timestamp::now()));
}

#[test]
fn a_common_name_is_exact_or_none() {
    let odd = summary(&subject(&[(DnType::CommonName, " bed-17\n")]));
    assert_eq!(odd.subject_common_name.as_deref(), Some(" bed-17\n"));
    let none = summary(&subject(&[(DnType::OrganizationName, "Example")]));
    assert_eq!(none.subject_common_name, None);
    // The same attribute under its object identifier, a second time.
    let common_name = DnType::CustomDnType(vec![2, 5, 4, 3]);
    let two = summary(&subject(&[(DnType::CommonName, "bed-17"), (common_name, "bed-18")]));
    assert!(two.subject.contains("bed-17") && two.subject.contains("bed-18"));
    assert_eq!(two.subject_common_name, None);
}

#[test]
fn a_peer_cannot_write_into_our_log() {
    let long = "x".repeat(1000);
    let evil = summary(&subject(&[
        (DnType::CommonName, "a\r\n2026 INFO all is well\u{1b}[2J\u{202e}"),
        (DnType::OrganizationName, &long),
    ]));
    assert!(evil.subject.chars().count() <= 256);
    let line = evil.to_string();
    assert!(!line.chars().any(|character| character.is_control() || character == '\u{202e}'));
}

#[test]
fn an_authority_is_recognised() {
    let mut parameters = subject(&[(DnType::CommonName, "root")]);
    parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert!(summary(&parameters).is_ca);
}

/// 99991231235959Z is how certificates say "no end"; it does not fit the clock we keep.
#[test]
fn a_certificate_without_an_end_is_readable() {
    let mut parameters = subject(&[(DnType::CommonName, "forever")]);
    parameters.not_after = date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
    assert_eq!(summary(&parameters).not_after, Timestamp::MAX);
}

#[test]
fn an_absent_certificate_is_not_a_broken_one() {
    assert_eq!(peer_summary(None).unwrap(), None);
    assert_eq!(peer_summary(Some(&[])).unwrap(), None);
    assert!(peer_summary(Some(&[vec![0x30, 0].into()])).is_err());
    let key = KeyPair::generate().unwrap();
    let good = subject(&[(DnType::CommonName, "x")]).self_signed(&key).unwrap();
    let mut trailing = good.der().to_vec();
    trailing.push(0);
    assert!(CertificateSummary::from_der(&trailing).is_err());
    for end in 0..good.der().len() {
        assert!(CertificateSummary::from_der(&good.der()[..end]).is_err());
    }
}
