//! What exists after the first start and not before: the authority, one administrator, the server's certificate,
//! and access for operator commands on this machine. Each is looked for on its own, so a start that was interrupted
//! is completed by the next.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tesaiot_contract::Secret;
use tesaiot_pki::{Authority, CreateOptions, Validity};
use tesaiot_store::registry::{Registry, Role};
use tesaiot_tls::ServerIdentity;
use zeroize::Zeroizing;

use crate::config::{Config, RootKey};
use crate::data_dir::{DataDir, OperatorAccess, replace};
use crate::error::BuildError;

/// How this machine calls itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The one administrator of a new platform.
const ADMIN_EMAIL: &str = "admin@localhost";
/// A server certificate with less than this left is replaced at the start.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a first start made, shown once. Until [`announced`] it is kept in a file of mode 600, so that a start that was
/// interrupted, or could not print, shows the same secrets the next time.
#[derive(Debug)]
pub struct FirstStart {
    /// The administrator's login.
    pub admin_email: String,
    /// The administrator's password, when one was created. Once announced it is kept nowhere but as a hash.
    pub admin_password: Option<Secret>,
    /// The passphrase of the root's private key, when it was made up. Once announced it is kept nowhere.
    pub root_passphrase: Option<Secret>,
}

/// `first-start.json`: written before anything is created with it.
#[derive(Serialize, Deserialize)]
struct Unannounced {
    admin_password: Zeroizing<String>,
    root_passphrase: Zeroizing<String>,
    /// Whether the administrator is created with it.
    administrator: bool,
    /// Whether the root key is encrypted with it.
    root_key: bool,
}

/// Secrets for what does not exist yet.
pub(crate) struct Secrets(Unannounced);

/// Makes up secrets and puts them on disk before anything is created with them; or reads those that nobody has seen.
pub(crate) fn secrets(data: &DataDir, config: &Config) -> Result<Secrets, BuildError> {
    let path = data.unannounced();
    let failed = |source| BuildError::Write { path: path.clone(), source };
    let before = match fs::read(&path).map(Zeroizing::new) {
        Ok(text) => serde_json::from_slice::<Unannounced>(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let mut unannounced = match before {
        Some(unannounced) => unannounced,
        None => Unannounced {
            admin_password: random_word()?,
            root_passphrase: random_word()?,
            administrator: false,
            root_key: false,
        },
    };
    if !authority_exists(data) {
        unannounced.root_key = matches!(config.root_key, RootKey::Encrypted { passphrase: None });
    }
    unannounced.administrator |= !data.registry().exists();
    if unannounced.administrator || unannounced.root_key {
        let text = serde_json::to_vec(&unannounced).map(Zeroizing::new).map_err(|error| failed(error.into()))?;
        replace(&path, &text, 0o600).map_err(failed)?;
    }
    Ok(Secrets(unannounced))
}

impl Secrets {
    /// What there is to show.
    pub(crate) fn first_start(self) -> Option<FirstStart> {
        let Unannounced { admin_password, root_passphrase, administrator, root_key } = self.0;
        (administrator || root_key).then(|| FirstStart {
            admin_email: ADMIN_EMAIL.into(),
            admin_password: administrator.then(|| Secret::new(admin_password.as_str())),
            root_passphrase: root_key.then(|| Secret::new(root_passphrase.as_str())),
        })
    }
}

/// The first secrets were shown: they are forgotten.
pub(crate) fn announced(data: &DataDir) -> io::Result<()> {
    match fs::remove_file(data.unannounced()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn authority_exists(data: &DataDir) -> bool {
    data.authority().read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

/// Opens the authority, or creates it.
pub(crate) fn authority(data: &DataDir, config: &Config, secrets: &Secrets) -> Result<Authority, BuildError> {
    let directory = data.authority();
    if authority_exists(data) {
        return Ok(Authority::open(&directory)?);
    }
    let passphrase = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
    let root_key = match &config.root_key {
        RootKey::Offline(path) => tesaiot_pki::RootKey::KeepOffline(path.clone()),
        RootKey::Encrypted { passphrase: Some(chosen) } => tesaiot_pki::RootKey::Encrypted(passphrase(chosen)),
        RootKey::Encrypted { passphrase: None } => {
            tesaiot_pki::RootKey::EncryptedAtRandom(secrets.0.root_passphrase.clone())
        }
    };
    let options = CreateOptions { organization: config.organization.clone(), root_key, now: Timestamp::now() };
    Ok(Authority::create(&directory, options)?)
}

/// Creates the administrator of a registry that has no users.
pub(crate) fn administrator(registry: &Registry, secrets: &Secrets) -> Result<(), BuildError> {
    if registry.list_users()?.is_empty() {
        let password = Secret::new(secrets.0.admin_password.as_str());
        registry.create_user(ADMIN_EMAIL, "Administrator", Role::Admin, &password, Timestamp::now())?;
    }
    Ok(())
}

/// The names clients reach this platform by: those that were configured, or else those of the last start, or else this
/// machine's.
pub(crate) fn host_names(data: &DataDir, configured: &[String]) -> Vec<String> {
    let remembered = remembered_host_names(data);
    match (configured, remembered.is_empty()) {
        ([], true) => default_host_names(),
        ([], false) => remembered,
        (configured, _) => configured.to_vec(),
    }
}

/// Remembers the names: a restart that says nothing must not take the field's names out of the certificate.
pub(crate) fn remember_host_names(data: &DataDir, names: &[String]) -> Result<(), BuildError> {
    let remembered = remembered_host_names(data);
    if remembered == names {
        return Ok(());
    }
    let lost: Vec<_> = remembered.iter().filter(|name| !names.contains(name)).cloned().collect();
    if !lost.is_empty() {
        let lost = lost.join(", ");
        tracing::warn!("the server's certificate no longer names {lost}: devices that use it will refuse it");
    }
    let path = data.host_names();
    replace(&path, names.join("\n").as_bytes(), 0o644).map_err(|source| BuildError::Write { path, source })
}

fn remembered_host_names(data: &DataDir) -> Vec<String> {
    let remembered = fs::read_to_string(data.host_names()).unwrap_or_default();
    remembered.lines().map(str::to_owned).collect()
}

/// The names of the server's certificate: what clients use, and what operator commands on this machine use.
pub(crate) fn certificate_names(host_names: &[String], bind: IpAddr) -> Vec<String> {
    let mut names = host_names.to_vec();
    let bind = (!bind.is_unspecified()).then(|| bind.to_string());
    for name in LOOPBACK_NAMES.map(str::to_owned).into_iter().chain(bind) {
        if !names.iter().any(|known| as_issued(known) == name) {
            names.push(name);
        }
    }
    names
}

/// This machine's name, `localhost` and the loopback addresses. The name comes first when this machine itself can
/// resolve it: it is what credential bundles tell clients.
fn default_host_names() -> Vec<String> {
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim();
    let mut names: Vec<String> = LOOPBACK_NAMES.map(str::to_owned).to_vec();
    if !own.is_empty() && own != "localhost" && rustls::pki_types::DnsName::try_from(own).is_ok() {
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let known = hosts.lines().any(|line| line.split_whitespace().skip(1).any(|name| name == own));
        names.insert(if known { 0 } else { names.len() }, own.to_owned());
    }
    names
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
fn random_word() -> Result<Zeroizing<String>, BuildError> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut random = Zeroizing::new([0u8; 20]);
    SystemRandom::new().fill(&mut random[..]).map_err(|_| BuildError::Random)?;
    let mut word = Zeroizing::new(String::with_capacity(24));
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            word.push('-');
        }
        word.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(word)
}
