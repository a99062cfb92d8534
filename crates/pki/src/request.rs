//! Certificate signing requests (PKCS #10, RFC 2986): what is accepted, as a list of checks.
//!
//! Of everything in a request only the public key reaches a certificate. The name in it is compared with the device's:
//! a request made for one device is not answered with the certificate of another.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use ring::digest::{SHA256, digest};
use tesaiot_contract::DeviceId;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use crate::error::RequestError;

/// A request with an RSA key of 4096 bits and a page of wishes is below 3 KiB.
const MAX_BYTES: usize = 16 * 1024;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A certificate signing request that passed every check that needs no knowledge of devices: its size and form, the
/// type of its key, and that its sender holds that key.
#[derive(Debug)]
pub struct Request {
    pub(crate) public_key: SubjectPublicKeyInfo,
    fingerprint: [u8; 32],
    /// The subject's common name; none when it has not exactly one.
    common_name: Option<String>,
}

impl Request {
    /// Reads a request in PEM, at most 16 KiB of it.
    ///
    /// # Errors
    /// [`RequestError`]: what its sender has to change.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > MAX_BYTES {
            return Err(RequestError::TooLarge { limit: MAX_BYTES });
        }
        let (_, section) = parse_x509_pem(pem.as_bytes()).map_err(|_| RequestError::Malformed)?;
        // The second label is what Java's tools write.
        if !matches!(section.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
            return Err(RequestError::Malformed);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(&section.contents).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        check_key_type(&request)?;
        check_proof_of_possession(&request)?;
        let info = &request.certification_request_info;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| RequestError::KeyType)?;
        let fingerprint = key_fingerprint(&public_key);
        Ok(Self { public_key, fingerprint, common_name: only_common_name(&info.subject) })
    }

    /// SHA-256 of the public key (its SubjectPublicKeyInfo): the same for every request with this key.
    pub fn key_fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// That the request was made for `device`: its only common name is the device's id, exactly.
    ///
    /// # Errors
    /// [`RequestError::WrongName`].
    pub fn check_name(&self, device: &DeviceId) -> Result<(), RequestError> {
        if self.common_name.as_deref() == Some(device.as_str()) { Ok(()) } else { Err(RequestError::WrongName) }
    }
}

/// SHA-256 of the SubjectPublicKeyInfo, as it stands in a certificate.
pub(crate) fn key_fingerprint(public_key: &impl PublicKeyData) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, &public_key.subject_public_key_info()).as_ref());
    fingerprint
}

fn only_common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let first = names.next()?;
    // Which of several was meant is not ours to guess.
    if names.next().is_some() {
        return None;
    }
    first.as_str().ok().map(str::to_owned)
}

fn check_key_type(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    let key = &request.certification_request_info.subject_pki;
    let accepted = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => RSA_BITS.contains(&rsa.key_size()),
        Ok(PublicKey::EC(_)) => key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok())
            .is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384),
        // Ed25519 has no parsed form of its own; its object identifier decides below.
        _ => SubjectPublicKeyInfo::from_der(key.raw)
            .is_ok_and(|key| *PublicKeyData::algorithm(&key) == rcgen::PKCS_ED25519),
    };
    if accepted { Ok(()) } else { Err(RequestError::KeyType) }
}

/// The request is signed by the key it asks a certificate for: its sender holds the private key,
/// and cannot have somebody else's public key certified under its own name.
fn check_proof_of_possession(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    use x509_parser::error::X509Error;
    let algorithm = &request.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
        return Err(RequestError::SignatureAlgorithm);
    }
    match request.verify_signature() {
        Ok(()) => Ok(()),
        Err(X509Error::SignatureUnsupportedAlgorithm) => Err(RequestError::SignatureAlgorithm),
        Err(_) => Err(RequestError::BadSignature),
    }
}
