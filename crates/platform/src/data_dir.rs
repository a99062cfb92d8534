//! What is where on disk.
//!
//! ```text
//! <data directory>            mode 700
//! ├── ca/                     the certificate authority; ca-chain.pem verifies every port
//! ├── registry.db             devices, credentials (hashes), certificates, users, audit
//! ├── telemetry.db            what devices sent
//! ├── sessions.db             the broker's sessions: subscriptions, messages that wait, retained messages
//! ├── server.pem  server.key  the server's certificate and key (600)
//! ├── operator.json           address and token for operator commands on this machine (600)
//! ├── host-names              the names the server's certificate was last asked to carry
//! └── first-start.json        first passwords, until they were shown once (600)
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The data directory of one platform.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// What an operator command on the platform's own machine needs: the contents of `operator.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorAccess {
    /// Base address of the REST interface.
    pub url: String,
    /// Token with the rights of an administrator.
    pub token: String,
    /// The trust anchor that verifies the address.
    pub ca_file: PathBuf,
}

impl DataDir {
    /// Opens the directory, creating it for this user only.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let occupied = fs::read_dir(path)?.next().is_some();
        let ours = ["telemetry.db", "telemetry.db.lock", "registry.db", "ca"];
        if occupied && !ours.iter().any(|name| path.join(name).exists()) {
            // Making somebody else's directory private could break a machine: /tmp, a home.
            return Err(io::Error::other("it is not empty, and holds no platform"));
        }
        restrict(path, 0o700)?;
        Ok(Self(path.canonicalize()?))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The certificate authority's directory.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// The file that verifies every port.
    pub fn trust_chain(&self) -> PathBuf {
        self.authority().join("ca-chain.pem")
    }

    /// The registry's database.
    pub fn registry(&self) -> PathBuf {
        self.0.join("registry.db")
    }

    /// The telemetry store's database.
    pub fn telemetry(&self) -> PathBuf {
        self.0.join("telemetry.db")
    }

    /// The broker's sessions.
    pub fn sessions(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    /// The server's certificate chain.
    pub fn server_certificate(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    /// The server's private key.
    pub fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// Names by which clients reach this platform, one a line, the first as bundles carry it.
    pub fn host_names(&self) -> PathBuf {
        self.0.join("host-names")
    }

    /// What a first start made up and nobody has seen yet.
    pub fn unannounced(&self) -> PathBuf {
        self.0.join("first-start.json")
    }

    /// Address and token for operator commands.
    pub fn operator_access(&self) -> PathBuf {
        self.0.join("operator.json")
    }
}

/// Replaces a file in one step: a crash leaves the old one or the new one.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(parent) = path.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
