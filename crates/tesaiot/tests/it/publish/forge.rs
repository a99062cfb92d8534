//! Certificates of every sort, good ones and ones that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::support::authority::CertificateFiles;

/// What a certificate is for.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    Server,
    Client,
}

/// When it is valid.
#[derive(Clone, Copy)]
pub(super) enum Validity {
    Now,
    Past,
    Future,
    /// For ten days and an hour more
    TenDays,
    /// Until so many seconds from now
    Seconds(u64),
}

/// A root that signs whatever it is told.
pub(super) struct Forge {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Forge {
    /// A new root in a new directory below `directory`.
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        let directory = directory.join(name);
        fs::create_dir(&directory).expect("a new directory");
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a root certificate");
        fs::write(directory.join("ca.pem"), certificate.pem()).expect("ca.pem is written");
        Self { directory, issuer: Issuer::new(params, key) }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A new intermediate below this root, and its own certificate.
    pub(super) fn intermediate(&self, directory: &Path, name: &str) -> Self {
        let directory = directory.join(name);
        fs::create_dir(&directory).expect("a new directory");
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.signed_by(&key, &self.issuer).expect("an intermediate certificate");
        fs::write(directory.join("ca.pem"), certificate.pem()).expect("ca.pem is written");
        Self { directory, issuer: Issuer::new(params, key) }
    }

    /// A server's certificate for 127.0.0.1 and localhost.
    pub(super) fn server(&self) -> CertificateFiles {
        self.issue("broker", &["127.0.0.1", "localhost"], Usage::Server, Validity::Now)
    }

    pub(super) fn issue(
        &self,
        common_name: &str,
        names: &[&str],
        usage: Usage,
        validity: Validity,
    ) -> CertificateFiles {
        let key = KeyPair::generate().expect("a P-256 key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names of a certificate");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let days = |days: u32| {
            let start = std::time::SystemTime::now() + std::time::Duration::from_secs(u64::from(days) * 86_400 + 3_600);
            start.into()
        };
        let seconds = |seconds: u64| (std::time::SystemTime::now() + std::time::Duration::from_secs(seconds)).into();
        (params.not_before, params.not_after) = match validity {
            Validity::Seconds(count) => (date_time_ymd(2020, 1, 1), seconds(count)),
            Validity::TenDays => (date_time_ymd(2020, 1, 1), days(10)),
            Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2999, 1, 1)),
            Validity::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Validity::Future => (date_time_ymd(2998, 1, 1), date_time_ymd(2999, 1, 1)),
        };
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = CertificateFiles {
            certificate: self.directory.join(format!("{common_name}.pem")),
            key: self.directory.join(format!("{common_name}.key.pem")),
        };
        fs::write(&files.certificate, certificate.pem()).expect("a certificate is written");
        fs::write(&files.key, key.serialize_pem()).expect("a key is written");
        files
    }
}
