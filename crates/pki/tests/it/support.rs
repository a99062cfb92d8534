//! An authority in a temporary directory, and eyes to look at what it issues.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tesaiot_contract::DeviceId;
use tesaiot_pki::{Authority, CreateOptions, RootKey};
use zeroize::Zeroizing;

pub const PASSPHRASE: &str = "correct horse battery";

/// 2026-01-01T00:00:00Z: certificates are issued, and judged, at a time of our choosing.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

pub fn options(root_key: RootKey) -> CreateOptions {
    CreateOptions { organization: "Example Hospital".into(), root_key, now: now() }
}

pub fn encrypted() -> RootKey {
    RootKey::Encrypted(Zeroizing::new(PASSPHRASE.to_owned()))
}

/// The root key goes to an offline path: no test but one needs the slow encryption of it.
pub fn authority() -> (TempDir, Authority) {
    let folder = TempDir::new().unwrap();
    let offline = RootKey::KeepOffline(folder.path().join("offline.pem"));
    let authority = Authority::create(&folder.path().join("ca"), options(offline)).unwrap();
    (folder, authority)
}

pub fn device() -> DeviceId {
    DeviceId::new("bed-17_monitor").unwrap()
}

pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}
