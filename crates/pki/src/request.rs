//! Certificate signing requests (PKCS #10, RFC 2986): what is accepted, as a list of checks.
//!
//! Of everything in a request only the public key is kept.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::error::RequestError;

/// A request with an RSA key of 4096 bits and a page of wishes is below 3 KiB.
const MAX_BYTES: usize = 16 * 1024;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Reads a request and runs every check on it; returns the key that its sender holds.
pub(crate) fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, RequestError> {
    if pem.len() > MAX_BYTES {
        return Err(RequestError::TooLarge { limit: MAX_BYTES });
    }
    let (_, section) = parse_x509_pem(pem.as_bytes()).map_err(|_| RequestError::Malformed)?;
    // The second label is what Java's tools write.
    if !matches!(section.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        return Err(RequestError::Malformed);
    }
    let (rest, request) = X509CertificationRequest::from_der(&section.contents).map_err(|_| RequestError::Malformed)?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed);
    }
    check_key_type(&request)?;
    check_proof_of_possession(&request)?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| RequestError::KeyType)
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
            .is_ok_and(|key| *rcgen::PublicKeyData::algorithm(&key) == rcgen::PKCS_ED25519),
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
