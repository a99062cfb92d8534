//! What exists after the first start and not before: the authority, one administrator, the server's certificate,
//! and access for operator commands on this machine. Each is looked for on its own, so a start that was interrupted
//! is completed by the next.

use std::fs;
use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use tesaiot_contract::Secret;
use tesaiot_pki::{Authority, CreateOptions, Validity};
use tesaiot_store::registry::{Registry, Role};
use tesaiot_tls::ServerIdentity;
use zeroize::Zeroizing;

use crate::config::{Config, RootKey};
use crate::data_dir::{DataDir, OperatorAccess, replace};
use crate::error::BuildError;

/// The one administrator of a new platform.
const ADMIN_EMAIL: &str = "admin@localhost";
/// A server certificate with less than this left is replaced at the start.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a first start made, shown once.
#[derive(Debug)]
pub struct FirstStart {
    /// The administrator's login.
    pub admin_email: String,
    /// The administrator's password. It is kept nowhere but as a hash.
    pub admin_password: Secret,
    /// The passphrase of the root's private key, when it was made up. It is kept nowhere.
    pub root_passphrase: Option<Secret>,
}

/// Opens the authority, or creates it. Returns the passphrase that was made up, if one was.
pub(crate) fn authority(data: &DataDir, config: &Config) -> Result<(Authority, Option<Secret>), BuildError> {
    let directory = data.authority();
    let exists = directory.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if exists {
        return Ok((Authority::open(&directory)?, None));
    }
    let (root_key, made_up) = match &config.root_key {
        RootKey::Offline(path) => (tesaiot_pki::RootKey::KeepOffline(path.clone()), None),
        RootKey::Encrypted { passphrase: Some(passphrase) } => {
            (tesaiot_pki::RootKey::Encrypted(Zeroizing::new(passphrase.expose().to_owned())), None)
        }
        RootKey::Encrypted { passphrase: None } => {
            let passphrase = random_word()?;
            let key = tesaiot_pki::RootKey::EncryptedAtRandom(Zeroizing::new(passphrase.expose().to_owned()));
            (key, Some(passphrase))
        }
    };
    let options = CreateOptions { organization: config.organization.clone(), root_key, now: Timestamp::now() };
    Ok((Authority::create(&directory, options)?, made_up))
}

/// Creates the administrator of a registry that has no users. Returns the password.
pub(crate) fn administrator(registry: &Registry) -> Result<Option<(String, Secret)>, BuildError> {
    if !registry.list_users()?.is_empty() {
        return Ok(None);
    }
    let password = random_word()?;
    registry.create_user(ADMIN_EMAIL, "Administrator", Role::Admin, &password, Timestamp::now())?;
    Ok(Some((ADMIN_EMAIL.into(), password)))
}

/// The server's certificate: the one on disk while it is good and has all the names, otherwise a new one.
pub(crate) fn server_identity(
    data: &DataDir,
    authority: &Authority,
    names: &[String],
) -> Result<ServerIdentity, BuildError> {
    if let Some(identity) = stored_server_identity(data)
        && is_current(&identity, authority, names)
    {
        return Ok(identity);
    }
    let issued = authority.issue_server(names, Validity::server(Timestamp::now()))?;
    let write = |path: &Path, contents: &str| {
        replace(path, contents.as_bytes(), 0o600).map_err(|source| BuildError::Write { path: path.to_owned(), source })
    };
    write(&data.server_key(), &issued.key_pem)?;
    write(&data.server_certificate(), &issued.chain_pem)?;
    Ok(ServerIdentity::from_pem(&issued.chain_pem, &issued.key_pem)?)
}

/// `None` for missing, unreadable or mismatched files: a crash between the two writes leaves a pair that does not
/// match, and a new pair replaces it.
fn stored_server_identity(data: &DataDir) -> Option<ServerIdentity> {
    let chain = fs::read_to_string(data.server_certificate()).ok()?;
    let key = Zeroizing::new(fs::read_to_string(data.server_key()).ok()?);
    ServerIdentity::from_pem(&chain, &key).ok()
}

fn is_current(identity: &ServerIdentity, authority: &Authority, names: &[String]) -> bool {
    let summary = identity.summary();
    let has = summary.names();
    let enough_left = summary.not_after.duration_since(Timestamp::now()) > RENEW_BEFORE;
    // An authority that was replaced has another subject key; its subject alone would not tell.
    let same_authority = is_issued_by(identity, authority);
    enough_left && same_authority && names.iter().all(|name| has.contains(&as_issued(name)))
}

/// A name as the authority writes it into a certificate: lower case, addresses in canonical form.
fn as_issued(name: &str) -> String {
    name.parse::<std::net::IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}

fn is_issued_by(identity: &ServerIdentity, authority: &Authority) -> bool {
    identity.chain().iter().any(|certificate| certificate == authority.intermediate_der())
}

/// Writes address and token for operator commands on this machine. The token of an earlier start is kept while it
/// works.
pub(crate) fn operator_access(data: &DataDir, registry: &Registry, url: String) -> Result<(), BuildError> {
    let path = data.operator_access();
    let write = |source| BuildError::Write { path: path.clone(), source };
    let before: Option<OperatorAccess> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(write(error)),
    };
    let works = |access: &OperatorAccess| registry.verify_token(&access.token).is_ok_and(|token| token.is_some());
    let token = match before.filter(works) {
        Some(access) => access.token,
        None => {
            let (_, token) =
                registry.create_token("operator commands on this machine", Role::Admin, Timestamp::now())?;
            token.expose().to_owned()
        }
    };
    let access = OperatorAccess { url, token, ca_file: data.trust_chain() };
    let text = serde_json::to_vec_pretty(&access).map_err(|error| write(error.into()))?;
    replace(&path, &text, 0o600).map_err(write)
}

/// 100 random bits as five groups of four letters and digits that cannot be mistaken for one another.
fn random_word() -> Result<Secret, BuildError> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut random = Zeroizing::new([0u8; 20]);
    SystemRandom::new().fill(&mut random[..]).map_err(|_| BuildError::Random)?;
    let mut word = String::with_capacity(24);
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            word.push('-');
        }
        word.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(Secret::new(word))
}
