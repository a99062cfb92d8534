//! What can go wrong in either store, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why an operation of a store failed. [`StoreError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database file could not be opened or created.
    #[error("cannot open the database {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The lock file beside the database could not be created.
    #[error("cannot create the lock file {path}")]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file of a copy could not be made or written.
    #[error("cannot write the copy {path}")]
    CopyFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process holds the database open, or kept it locked for too long.
    #[error("the database {path} is in use by another process")]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file was written by a newer program: it is left untouched.
    #[error("the database {path} has format {found}; this program knows up to {supported}")]
    Version {
        /// The database file.
        path: PathBuf,
        /// The format in the file.
        found: i64,
        /// The newest format this program reads.
        supported: i64,
    },
    /// The file has the format of an older program, and was opened for reading only.
    #[error("the database {path} has format {found}; this program reads format {supported}")]
    Outdated {
        /// The database file.
        path: PathBuf,
        /// The format in the file; 0 when it is not a store at all.
        found: i64,
        /// The format of this program.
        supported: i64,
    },
    /// The disk is full, or the file reached a limit of its size. Nothing of the failed
    /// operation was kept; reading goes on, and writing succeeds again when space returns.
    #[error("no space left to write to the database {path}")]
    Full {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There was a store here, and its file is empty or gone.
    #[error("the database {path} was here, and is empty or gone")]
    Emptied {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged beyond single blobs: SQLite cannot read its pages.
    #[error("the database {path} is damaged")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A commit failed; nothing of it was kept, on disk or in memory.
    #[error("cannot commit to the database {path}")]
    Commit {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A query failed.
    #[error("cannot read the database {path}")]
    Read {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// One stored blob failed its checksum or does not decode.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// Which blob, by table and key.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something of this name is there already.
    #[error("{what} {name} exists already")]
    AlreadyExists {
        /// The kind of thing: `device`, `user`, `certificate`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing of this name is there.
    #[error("there is no {what} {name}")]
    NotFound {
        /// The kind of thing: `device`, `user`, `certificate`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that cannot be accepted, such as an empty password.
    #[error("{what} {reason}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system's random generator failed.
    #[error("the operating system gave no random bytes")]
    Random,
    /// A password could not be hashed (no memory for it).
    #[error("cannot hash a password: {reason}")]
    PasswordHash {
        /// What the hash function said.
        reason: String,
    },
}

/// What was being done when SQLite failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Open,
    Commit,
    Read,
}

impl StoreError {
    /// Classifies an error of SQLite by its code: callers match the variant, never the text.
    pub(crate) fn from_sqlite(path: &Path, during: During, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let (code, extended) = match &source {
            rusqlite::Error::SqliteFailure(error, _) => (Some(error.code), error.extended_code),
            _ => (None, 0),
        };
        match (code, during) {
            (Some(ErrorCode::DiskFull), _) => Self::Full { path, source },
            // A write that the system cut short is how a full disk or a quota often shows.
            (Some(ErrorCode::SystemIoFailure), _) if extended == rusqlite::ffi::SQLITE_IOERR_WRITE => {
                Self::Full { path, source }
            }
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => Self::InUse { path },
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => Self::Damaged { path, source },
            (_, During::Open) => Self::Open { path, source },
            (_, During::Commit) => Self::Commit { path, source },
            (_, During::Read) => Self::Read { path, source },
        }
    }

    /// What to do now, for the person who meets the error.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Open { .. } | Self::LockFile { .. } => {
                "check that the data directory exists and that this user may write to it"
            }
            Self::CopyFile { .. } => {
                "choose a place that does not exist yet, where this user may write and there is space"
            }
            Self::InUse { .. } => "another platform runs on this data directory: stop it, or choose another directory",
            Self::Version { .. } => "start the newer program that wrote this file",
            Self::Outdated { .. } => "start the platform on it once: it brings the file up to date",
            Self::Full { .. } => {
                "free some space on the disk; storing goes on by itself, devices keep their data until then"
            }
            Self::Emptied { .. } => {
                "restore a backup; to begin anew with nothing, remove the file of this name that ends in .lock"
            }
            Self::Damaged { .. } => {
                "keep a copy of the file and its -wal beside it, then restore a backup; check the disk"
            }
            Self::Commit { .. } | Self::Read { .. } => {
                "check the disk and the file's permissions; the operation may be tried again"
            }
            Self::Corrupt { .. } => "check the disk; everything else in the store is still readable",
            _ => return None,
        })
    }

    /// Whether the same operation may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::InUse { .. } | Self::Commit { .. } | Self::Read { .. })
    }
}
