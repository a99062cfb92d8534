//! Why a platform does not start, or does not end well.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use tesaiot_store::StoreError;

/// Why a platform could not be built. Nothing is served, and nothing that was there is lost.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration has mistakes: all of them.
    #[error("the configuration has mistakes: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A port cannot be bound.
    #[error("port {port} cannot be bound on {bind}")]
    Bind {
        /// The address.
        bind: IpAddr,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// A database cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The certificate authority cannot be opened.
    #[error("the certificate authority cannot be opened")]
    OpenAuthority(#[from] tesaiot_pki::OpenError),
    /// The certificate authority cannot be created.
    #[error("the certificate authority cannot be created")]
    CreateAuthority(#[from] tesaiot_pki::CreateError),
    /// The server's certificate cannot be issued.
    #[error("the server's certificate cannot be issued")]
    Issue(#[from] tesaiot_pki::IssueError),
    /// The server's certificates cannot be used.
    #[error("the server's certificates cannot be used")]
    Tls(#[from] tesaiot_tls::ConfigError),
    /// The writer thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}

impl BuildError {
    /// What to do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(_) => "correct the flags or the configuration file".into(),
            Self::DataDir { .. } | Self::Write { .. } => {
                "choose a directory this user may write to with --data-dir".into()
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another port (see --help)".into()
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher one".into()
            }
            Self::Bind { .. } => "choose an address of this machine with --bind".into(),
            Self::Store(error) => error.hint().unwrap_or("see the cause above").into(),
            Self::OpenAuthority(_) => "restore the ca directory from a backup".into(),
            Self::CreateAuthority(tesaiot_pki::CreateError::OfflineKeyExists { .. }) => {
                "name a file that does not exist yet with --root-key-offline".into()
            }
            Self::CreateAuthority(_) => "see the cause above, then start again".into(),
            Self::Issue(_) | Self::Tls(_) => "check the host names given with --host".into(),
            Self::Thread(_) | Self::Random | Self::Interrupted => "try again; if it stays, report it".into(),
        }
    }
}

/// Why a platform ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The thread that stores messages ended; nothing more could be acknowledged.
    #[error("the telemetry writer ended unexpectedly; what was not acknowledged is with the devices")]
    WriterEnded,
    /// The drain did not finish in time; what was not acknowledged is with the devices.
    #[error("not everything ended within {0:?}")]
    GraceExceeded(std::time::Duration),
}
