//! Certificates for the zoo: chains, and every way in which one can be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

use crate::support::authority::CertificateFiles;

/// A number of days from now; negative ones are past.
pub(crate) type Days = i64;

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) from: Days,
    pub(crate) until: Days,
}

pub(crate) const NOW: Validity = Validity { from: -100, until: 1000 };
pub(crate) const PAST: Validity = Validity { from: -100, until: -10 };
pub(crate) const FUTURE: Validity = Validity { from: 20, until: 1000 };

/// An authority: a root, or an intermediate below one.
pub(crate) struct Authority {
    directory: PathBuf,
    /// What a leaf's chain holds behind the leaf
    below: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn root(directory: &Path, name: &str, validity: Validity) -> Self {
        let (parameters, key) = (authority(name, validity), new_key());
        let pem = parameters.self_signed(&key).expect("a root certificate").pem();
        Self::new(directory, &pem, String::new(), Issuer::new(parameters, key))
    }

    pub(crate) fn below(&self, name: &str, validity: Validity) -> Self {
        let (parameters, key) = (authority(name, validity), new_key());
        let pem = parameters.signed_by(&key, &self.issuer).expect("an intermediate").pem();
        Self::new(&self.directory, &pem.clone(), pem, Issuer::new(parameters, key))
    }

    fn new(directory: &Path, pem: &str, below: String, issuer: Issuer<'static, KeyPair>) -> Self {
        let directory = tempfile::tempdir_in(directory).expect("a new directory").keep();
        fs::write(directory.join("ca.pem"), pem).expect("ca.pem is written");
        Self { directory, below, issuer }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A server's certificate for 127.0.0.1, with its chain.
    pub(crate) fn server(&self, validity: Validity) -> CertificateFiles {
        self.issue(&server(&["127.0.0.1"], validity))
    }

    /// A client's, with its chain.
    pub(crate) fn client(&self, name: &str, validity: Validity) -> CertificateFiles {
        self.issue(&client(name, validity))
    }

    /// A certificate with these parameters, and its chain.
    pub(crate) fn issue(&self, parameters: &CertificateParams) -> CertificateFiles {
        let key = new_key();
        let leaf = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem();
        write(&self.directory, &format!("{leaf}{}", self.below), &key)
    }

    /// A list that takes the certificates with this serial back.
    pub(crate) fn revoke(&self, serial: u64) -> PathBuf {
        let (now, tomorrow) = (days(-1), days(1));
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: tomorrow.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.directory.join("crl.pem");
        let list = list.signed_by(&self.issuer).expect("a revocation list").pem().expect("PEM");
        fs::write(&path, list).expect("crl.pem is written");
        path
    }
}

/// What a server's certificate says.
pub(crate) fn server(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names of a certificate");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf(parameters, "broker", validity)
}

/// What a client's certificate says.
pub(crate) fn client(name: &str, validity: Validity) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf(parameters, name, validity)
}

/// A server that is its own authority, as `openssl req -x509` makes them.
pub(crate) fn self_signed(directory: &Path) -> CertificateFiles {
    let mut parameters = server(&["127.0.0.1"], NOW);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = new_key();
    let directory = tempfile::tempdir_in(directory).expect("a new directory").keep();
    write(&directory, &parameters.self_signed(&key).expect("a certificate").pem(), &key)
}

/// The first certificate of a chain alone.
pub(crate) fn without_chain(files: &CertificateFiles) {
    let chain = fs::read_to_string(&files.certificate).expect("a chain");
    let end = "-----END CERTIFICATE-----\n";
    let leaf = chain.split_inclusive(end).next().expect("a leaf");
    fs::write(&files.certificate, leaf).expect("the leaf is written");
}

fn leaf(mut parameters: CertificateParams, name: &str, validity: Validity) -> CertificateParams {
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (parameters.not_before, parameters.not_after) = (days(validity.from).into(), days(validity.until).into());
    parameters
}

fn authority(name: &str, validity: Validity) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (parameters.not_before, parameters.not_after) = (days(validity.from).into(), days(validity.until).into());
    parameters
}

/// Half a day past a whole number of them, so that a test that takes its time counts the same days.
fn days(count: Days) -> SystemTime {
    let hours = Duration::from_secs((count.unsigned_abs() * 24 + 12) * 3600);
    if count < 0 { SystemTime::now() - hours } else { SystemTime::now() + hours }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key")
}

fn write(directory: &Path, chain: &str, key: &KeyPair) -> CertificateFiles {
    let directory = tempfile::tempdir_in(directory).expect("a new directory").keep();
    let files = CertificateFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    fs::write(&files.certificate, chain).expect("a certificate is written");
    fs::write(&files.key, key.serialize_pem()).expect("a key is written");
    files
}
