//! The verb *create*: a new root, an intermediate below it, and their files.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::Issuer;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use crate::authority::{Authority, INTERMEDIATE, INTERMEDIATE_KEY, ROOT, ROOT_KEY};
use crate::error::CreateError;
use crate::files;
use crate::key::SecretKey;
use crate::profile;
use crate::root_key;
use crate::serial::Serial;
use crate::validity::{INTERMEDIATE_LIFETIME, Period, ROOT_LIFETIME, Validity};

/// X.520 ub-organization-name.
const MAX_ORGANIZATION: usize = 64;
const MIN_PASSPHRASE: usize = 8;
/// 100 bits at five a character.
const MIN_RANDOM_PASSPHRASE: usize = 20;

/// What becomes of the root's private key.
pub enum RootKey {
    /// `root.key.pem` beside the certificates, encrypted with a passphrase that a person chose (at least 8
    /// characters): deriving a key from it is slow, to slow guessing down
    Encrypted(Zeroizing<String>),
    /// The same with a passphrase made up from at least 100 random bits, which nobody can guess: deriving is quick
    EncryptedAtRandom(Zeroizing<String>),
    /// An unencrypted file (mode 600) at this path and nowhere else: a removable medium
    KeepOffline(PathBuf),
}

impl fmt::Debug for RootKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted(_) => formatter.write_str("Encrypted(***)"),
            Self::EncryptedAtRandom(_) => formatter.write_str("EncryptedAtRandom(***)"),
            Self::KeepOffline(path) => write!(formatter, "KeepOffline({})", path.display()),
        }
    }
}

/// What a new authority is to be.
#[derive(Debug)]
pub struct CreateOptions {
    /// Who runs it, in the subject of both certificates: 1 to 64 printable characters
    pub organization: String,
    /// What becomes of the root's private key
    pub root_key: RootKey,
    /// The clock
    pub now: Timestamp,
}

impl Authority {
    /// Creates an authority in `directory`, which must be empty or not exist; its parent must
    /// exist. The root is good for 20 years, the intermediate for 10.
    ///
    /// It takes a noticeable part of a second: deriving the key from a passphrase is slow on purpose.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left in `directory` then.
    pub fn create(directory: &Path, options: CreateOptions) -> Result<Self, CreateError> {
        check(directory, &options)?;
        let CreateOptions { organization, root_key, now } = options;
        let certificates = Certificates::generate(organization.trim(), now)?;
        let staging = staging_path(directory);
        let written = certificates.write(&staging, directory, root_key);
        if written.is_err() {
            // What could not be completed is of no use; the error that matters is the first.
            let _ = fs::remove_dir_all(&staging);
        }
        written?;
        Ok(certificates.into_authority())
    }
}

fn check(directory: &Path, options: &CreateOptions) -> Result<(), CreateError> {
    let organization = options.organization.trim();
    let length = organization.chars().count();
    if length == 0 || length > MAX_ORGANIZATION || organization.chars().any(char::is_control) {
        return Err(CreateError::InvalidOrganization);
    }
    match &options.root_key {
        RootKey::Encrypted(passphrase) if passphrase.chars().count() < MIN_PASSPHRASE => {
            return Err(CreateError::PassphraseTooShort);
        }
        RootKey::EncryptedAtRandom(passphrase) if passphrase.chars().count() < MIN_RANDOM_PASSPHRASE => {
            return Err(CreateError::PassphraseTooShort);
        }
        RootKey::KeepOffline(path) if path.exists() => {
            return Err(CreateError::OfflineKeyExists { path: path.clone() });
        }
        _ => {}
    }
    if !files::is_vacant(directory).map_err(write_error(directory))? {
        return Err(CreateError::NotEmpty { path: directory.to_owned() });
    }
    Ok(())
}

/// A sibling of the directory, so that it can be renamed to it.
fn staging_path(directory: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(directory.file_name().unwrap_or("authority".as_ref()));
    name.push(".new");
    directory.with_file_name(name)
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> CreateError + '_ {
    |source| CreateError::Write { path: path.to_owned(), source }
}

struct Certificates {
    root_key: SecretKey,
    root: rcgen::Certificate,
    intermediate: rcgen::Certificate,
    issuer: Issuer<'static, SecretKey>,
    not_after: Timestamp,
}

impl Certificates {
    fn generate(organization: &str, now: Timestamp) -> Result<Self, CreateError> {
        let random = SystemRandom::new();
        let serial = || Serial::random(&random).map_err(|_| CreateError::Random);
        let period = |lifetime| Validity::new(now, lifetime).period(Timestamp::MAX).ok_or(CreateError::Clock { now });
        let (root_period, period): (Period, Period) = (period(ROOT_LIFETIME)?, period(INTERMEDIATE_LIFETIME)?);

        let root_parameters = profile::root(organization, serial()?, root_period).map_err(CreateError::Generate)?;
        let root_key = SecretKey::generate().map_err(CreateError::Generate)?;
        let root = root_parameters.self_signed(&root_key).map_err(CreateError::Generate)?;

        let parameters = profile::intermediate(organization, serial()?, period).map_err(CreateError::Generate)?;
        let key = SecretKey::generate().map_err(CreateError::Generate)?;
        let intermediate = parameters
            .signed_by(&key, &Issuer::from_params(&root_parameters, &root_key))
            .map_err(CreateError::Generate)?;
        Ok(Self { root_key, root, intermediate, issuer: Issuer::new(parameters, key), not_after: period.not_after })
    }

    fn write(&self, staging: &Path, directory: &Path, destination: RootKey) -> Result<(), CreateError> {
        // A staging directory that a crash left holds keys that never signed for anyone.
        match fs::remove_dir_all(staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(write_error(staging)(error));
            }
            _ => {}
        }
        files::create_private_directory(staging).map_err(write_error(staging))?;
        let write = |name: &str, content: &str, mode| {
            let path = staging.join(name);
            files::write_new(&path, content, mode).map_err(write_error(&path))
        };
        let key_pem = self.issuer.key().to_pem().map_err(CreateError::Generate)?;
        write(ROOT, &self.root.pem(), files::PUBLIC)?;
        write(INTERMEDIATE, &self.intermediate.pem(), files::PUBLIC)?;
        write(INTERMEDIATE_KEY, &key_pem, files::PRIVATE)?;
        match destination {
            RootKey::Encrypted(passphrase) => {
                let pem = root_key::encrypted_pem(&self.root_key, &passphrase, root_key::CHOSEN)?;
                write(ROOT_KEY, &pem, files::PRIVATE)?;
            }
            RootKey::EncryptedAtRandom(passphrase) => {
                let pem = root_key::encrypted_pem(&self.root_key, &passphrase, root_key::RANDOM)?;
                write(ROOT_KEY, &pem, files::PRIVATE)?;
            }
            RootKey::KeepOffline(path) => {
                let pem = self.root_key.to_pem().map_err(CreateError::Generate)?;
                files::write_new(&path, &pem, files::PRIVATE).map_err(write_error(&path))?;
            }
        }
        files::sync_directory(staging).map_err(write_error(staging))?;
        fs::rename(staging, directory).map_err(write_error(directory))?;
        match directory.parent() {
            Some(parent) if parent != Path::new("") => files::sync_directory(parent).map_err(write_error(parent)),
            _ => Ok(()),
        }
    }

    fn into_authority(self) -> Authority {
        Authority {
            root_pem: self.root.pem(),
            root_der: self.root.into(),
            intermediate_pem: self.intermediate.pem(),
            intermediate_der: self.intermediate.into(),
            issuer: self.issuer,
            not_after: self.not_after,
            random: SystemRandom::new(),
        }
    }
}
