//! Who may use the platform: devices, their credentials and certificates, operators, sessions,
//! and the audit log, in `registry.db`.
//!
//! # Format
//!
//! One SQLite file of STRICT tables with foreign keys; `user_version` is the format, and each
//! format is reached by one step of `schema::MIGRATIONS`. It is written with a write-ahead log
//! and `synchronous=FULL`: what a call returned for is on disk. Every change is one transaction,
//! so a crash leaves all of it or nothing, and SQLite repairs the file when it is next opened.
//! Times are signed nanoseconds since 1970-01-01 UTC.
//!
//! No secret is stored. Generated secrets (128 bits or more of randomness) are kept as a salted
//! SHA-256, which cannot be searched; passwords that people choose are kept as Argon2id.
//!
//! More than one process may open the file: SQLite serialises their writes, and nothing is cached.

mod audit;
mod certificates;
mod check;
mod commands;
mod credentials;
mod devices;
mod enrolment;
mod mqtt_tokens;
mod schema;
mod secrets;
mod sessions;
mod tokens;
mod users;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use audit::{AuditEvent, AuditRecord, Chain};
pub use certificates::{Certificate, CertificateState, CertificateStatus};
pub use check::{check_file, upgrade};
pub use commands::{Command, CommandAnswer, CommandKind, CommandState};
pub use credentials::{Credential, CredentialId, CredentialKind, DeviceAuthentication, Refusal, Replaced};
pub use devices::{AuthMode, Device, NewDevice, PresenceChange, Seen};
pub use enrolment::{Certification, Certified, Claim, EnrolmentToken, NotCertified};
pub use mqtt_tokens::MqttToken;
pub use tokens::{OperatorToken, TokenId};
pub use users::{Role, User, UserId};

use crate::error::{During, StoreError};
use crate::file::open_writer;
use crate::pool::Pool;

const READERS: usize = 4;

/// The registry. A clone is another handle to the same open file.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    // The pool first: fields are dropped in this order, and the last connection to close is
    // then the writer, which moves the write-ahead log into the file.
    readers: Pool,
    writer: Mutex<Connection>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registry").field("path", &self.inner.readers.path()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry, creating it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened or created, is damaged, or was written by a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = open_writer(path, schema::MIGRATIONS)?;
        Ok(Self { inner: Arc::new(Inner { readers: Pool::new(path, READERS), writer: Mutex::new(writer) }) })
    }

    /// Runs `change` in one transaction, committed when it succeeds and rolled back when not.
    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, StoreError> {
        // A panic while the lock was held rolled its transaction back: the connection is sound.
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = writer
            // Immediate: a writer of another process is waited for here, not in mid-transaction.
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::from)
            .and_then(|transaction| {
                let value = change(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
        outcome.map_err(|failure| failure.into_error(self.path(), During::Commit))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.inner
            .readers
            .with(|connection| read(connection).map_err(|failure| failure.into_error(self.path(), During::Read)))
    }

    fn path(&self) -> &Path {
        self.inner.readers.path()
    }
}

/// Why a closure inside a transaction failed: SQLite, or a rule of the registry.
enum Failure {
    Sqlite(rusqlite::Error),
    Rule(StoreError),
}

impl Failure {
    fn into_error(self, path: &Path, during: During) -> StoreError {
        match self {
            Self::Sqlite(source) => StoreError::from_sqlite(path, during, source),
            Self::Rule(error) => error,
        }
    }

    /// Turns a violated uniqueness constraint into the rule it stands for.
    fn or_exists(self, what: &'static str, name: &str) -> Self {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _))
                if matches!(
                    error.extended_code,
                    rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                ) =>
            {
                Self::Rule(StoreError::AlreadyExists { what, name: name.to_owned() })
            }
            other => other,
        }
    }

    fn not_found(what: &'static str, name: impl fmt::Display) -> Self {
        Self::Rule(StoreError::NotFound { what, name: name.to_string() })
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Rule(error)
    }
}

/// A stored word that this program does not know; only a damaged or foreign file has one.
fn unknown_word(column: usize, word: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("unknown word {word:?}").into(),
    )
}
