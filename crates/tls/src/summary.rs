//! What a certificate says, in words: for messages, for logs, and for the identity of a peer.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::oid_registry::OidRegistry;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::error::ConfigError;
use crate::pem;

/// A peer writes these; only so much of it is worth a line in a log.
const MAX_NAME_CHARACTERS: usize = 256;
const MAX_NAMES: usize = 128;

/// The parts of an X.509 certificate that people and the identity layer ask about.
///
/// It says what is written in the certificate. Whether that is true is the handshake's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The subject's common name exactly as written; none when the subject has no common name, or
    /// more than one: which of several was meant is not ours to guess.
    pub subject_common_name: Option<String>,
    /// The whole subject, for people: control characters replaced, at most 256 characters
    pub subject: String,
    /// The whole issuer, for people: as `subject`
    pub issuer: String,
    /// The serial number, big-endian, with no leading zero bytes
    pub serial: Vec<u8>,
    /// First moment of validity
    pub not_before: Timestamp,
    /// Last moment of validity
    pub not_after: Timestamp,
    /// DNS names of the subject alternative name, for people: the first 128, as `subject`
    pub dns_names: Vec<String>,
    /// IP addresses of the subject alternative name, the first 128
    pub ip_addresses: Vec<IpAddr>,
    /// Whether the basic constraints say that this is an authority
    pub is_ca: bool,
    /// SHA-256 of the DER
    pub fingerprint_sha256: [u8; 32],
}

impl CertificateSummary {
    /// Reads one DER certificate. Bytes behind it are an error, as they are for rustls.
    pub fn from_der(der: &[u8]) -> Result<Self, ConfigError> {
        let malformed = ConfigError::MalformedCertificate { what: "the certificate" };
        let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
            return Err(malformed);
        };
        if !rest.is_empty() {
            return Err(malformed);
        }
        let (dns_names, ip_addresses) = alternative_names(&certificate);
        let raw_serial = certificate.raw_serial();
        let zeros = raw_serial.iter().take_while(|byte| **byte == 0).count();
        let mut fingerprint_sha256 = [0; 32];
        fingerprint_sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, der).as_ref());
        Ok(Self {
            subject_common_name: only_common_name(certificate.subject()),
            subject: words(certificate.subject()),
            issuer: words(certificate.issuer()),
            serial: raw_serial[zeros..].to_vec(),
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
            dns_names,
            ip_addresses,
            is_ca: certificate.is_ca(),
            fingerprint_sha256,
        })
    }

    /// Reads every certificate of a PEM file, in its order; at least one.
    ///
    /// # Errors
    /// The file is not PEM, holds no certificate, or one that cannot be read.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, ConfigError> {
        pem::certificates("the certificate file", text)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Whether `now` lies within the validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The names a server may be reached by, for people: DNS names, then addresses.
    pub fn names(&self) -> Vec<String> {
        let addresses = self.ip_addresses.iter().map(IpAddr::to_string);
        self.dns_names.iter().cloned().chain(addresses).collect()
    }
}

/// `subject …, issuer …, valid from … until …, names …`, on one line.
impl fmt::Display for CertificateSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "subject \"{}\", issuer \"{}\", valid from {} until {}",
            self.subject, self.issuer, self.not_before, self.not_after
        )?;
        let names = self.names();
        if !names.is_empty() {
            write!(formatter, ", names {}", names.join(" "))?;
        }
        Ok(())
    }
}

/// The summary of the certificate a peer authenticated with; none when it presented none.
///
/// # Errors
/// The leaf cannot be read. Treat it as a refused certificate, never as an absent one.
pub fn peer_summary(certificates: Option<&[CertificateDer<'_>]>) -> Result<Option<CertificateSummary>, ConfigError> {
    match certificates.and_then(<[_]>::first) {
        Some(leaf) => CertificateSummary::from_der(leaf).map(Some),
        None => Ok(None),
    }
}

fn only_common_name(name: &X509Name<'_>) -> Option<String> {
    let mut common_names = name.iter_common_name();
    let first = common_names.next()?;
    if common_names.next().is_some() {
        return None;
    }
    first.as_str().ok().map(str::to_owned)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return (dns_names, addresses);
    };
    for name in extension.value.general_names.iter().take(MAX_NAMES) {
        match name {
            GeneralName::DNSName(name) => dns_names.push(printable(name)),
            GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
            _ => {}
        }
    }
    (dns_names, addresses)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// A name in words, `CN=…, O=…`; an attribute without a common abbreviation by its number. The library's table of all
/// attributes takes longer to fill than a short program has for all of its certificates.
pub(crate) fn words(name: &X509Name<'_>) -> String {
    printable(&name.to_string_with_registry(&OidRegistry::default()).unwrap_or_default())
}

/// Names are written by the peer: a line break or an escape sequence in one must not reach a
/// terminal or a log.
pub(crate) fn printable(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            '?'
        } else {
            character
        }
    };
    text.chars().take(MAX_NAME_CHARACTERS).map(shown).collect()
}

/// X.509 goes to the last second of the year 9999, a day past what a [`Timestamp`] can hold.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
