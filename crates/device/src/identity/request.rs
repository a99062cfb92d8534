//! A certificate signing request (PKCS #10, RFC 2986) of one shape: the device's id as the only name, a P-256 key, no
//! wishes. A library that writes every shape there is weighs more than all of this module's callers in the device's
//! program.
//!
//! ```text
//! SEQUENCE
//!   SEQUENCE                                        what is signed
//!     INTEGER 0
//!     SEQUENCE { SET { SEQUENCE { OID commonName, UTF8String <device id> } } }
//!     SEQUENCE { SEQUENCE { OID ecPublicKey, OID prime256v1 }, BIT STRING <point> }
//!     [0] {}                                        attributes: none
//!   SEQUENCE { OID ecdsa-with-SHA256 }
//!   BIT STRING <signature>
//! ```

use tesaiot_contract::DeviceId;

use super::error::IdentityError;
use super::key::DeviceKey;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const ATTRIBUTES: u8 = 0xa0;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.2.840.10045.4.3.2
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The request of `device` for `key`, in PEM.
pub(crate) fn signing_request(device: &DeviceId, key: &DeviceKey) -> Result<String, IdentityError> {
    let name = tlv(
        SEQUENCE,
        &[&tlv(SET, &[&tlv(SEQUENCE, &[&tlv(OID, &[COMMON_NAME]), &tlv(UTF8_STRING, &[device.as_str().as_bytes()])])])],
    );
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[EC_PUBLIC_KEY]), &tlv(OID, &[PRIME256V1])]);
    let public_key = tlv(SEQUENCE, &[&algorithm, &tlv(BIT_STRING, &[&[0], key.public()])]);
    let signed = tlv(SEQUENCE, &[&tlv(INTEGER, &[&[0]]), &name, &public_key, &tlv(ATTRIBUTES, &[])]);
    let signature = key.sign(&signed)?;
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[ECDSA_WITH_SHA256])]);
    let request = tlv(SEQUENCE, &[&signed, &algorithm, &tlv(BIT_STRING, &[&[0], &signature])]);
    Ok(pem("CERTIFICATE REQUEST", &request))
}

/// An element of DER: tag, length, contents. Nothing here is longer than 65,535 octets.
fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let mut element = vec![tag];
    match length {
        0..0x80 => element.push(length as u8),
        0x80..0x100 => element.extend([0x81, length as u8]),
        _ => element.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    contents.iter().for_each(|part| element.extend_from_slice(part));
    element
}

/// RFC 7468: base64 in lines of 64 characters between two labels.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Large enough not to grow: what is written here may be a key, and no copy of it is left behind.
    let mut text = String::with_capacity(der.len() * 3 / 2 + 128);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let octet = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
            let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
            for place in 0..4 {
                let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= three.len() { char::from(digit) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateSigningRequestDer;
    use rustls::pki_types::pem::PemObject;
    use tesaiot_contract::Secret;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 2, 3, 47, 48, 49, 127, 128, 300] {
            let der: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let text = pem("CERTIFICATE REQUEST", &der);
            let read = CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der, "{text}");
            assert!(text.lines().all(|line| line.len() <= 64));
        }
    }

    #[test]
    fn a_key_is_read_back_and_requests_of_the_longest_id_are_whole() {
        let key = DeviceKey::generate().unwrap();
        let again = DeviceKey::from_pem(key.pem()).unwrap();
        assert_eq!(key.public(), again.public());
        for id in ["abc", &"x".repeat(64)] {
            let device = DeviceId::new(id).unwrap();
            let request = signing_request(&device, &key).unwrap();
            let path = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(path.path(), &request).unwrap();
            let mut openssl = std::process::Command::new("openssl");
            let output =
                openssl.args(["req", "-verify", "-noout", "-subject", "-in"]).arg(path.path()).output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && said.contains("verify OK") && said.contains(id), "{said}");
        }
        assert!(DeviceKey::from_pem(&Secret::new("hello")).is_err());
    }
}
