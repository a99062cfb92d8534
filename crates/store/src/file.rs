//! Opening a database file: who may read it, how it syncs, which format it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{During, StoreError};

/// The page size of a database. SQLite takes a file with less than one page for an empty one.
const PAGE_BYTES: u64 = 4096;
/// How long a statement waits for another process (a backup, an SQLite shell) to let go.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Held for as long as a store is open, so that two platforms cannot write one file.
///
/// The lock is the operating system's: it is gone when the process is gone, however it ended.
/// It is a file of its own because SQLite's exclusive mode would lock out our own readers.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

/// In the lock file once the database was opened with success: an empty database is then a lost one.
const IN_USE: &[u8] = b"a database belongs here\n";

impl DirectoryLock {
    /// Takes the lock `<database>.lock`, or says that another process has it.
    pub(crate) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |source| StoreError::LockFile { path: path.clone(), source };
        let file = private_file(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: database.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Says when a database was here that is not any more: SQLite would begin a new one without a word.
    pub(crate) fn refuse_if_emptied(&self, database: &Path) -> Result<(), StoreError> {
        let was_used = self.file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let is_empty = std::fs::metadata(database).map_or(true, |metadata| metadata.len() < PAGE_BYTES);
        if was_used && is_empty {
            return Err(StoreError::Emptied { path: database.to_owned() });
        }
        Ok(())
    }

    /// Remembers that there is a database.
    pub(crate) fn mark_used(&self, database: &Path) -> Result<(), StoreError> {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == IN_USE.len() as u64) {
            return Ok(());
        }
        let mut file = &self.file;
        let written = file.set_len(0).and_then(|()| file.write_all(IN_USE)).and_then(|()| file.sync_all());
        written.map_err(|source| StoreError::LockFile { path: database.to_owned(), source })
    }
}

/// Opens or creates a file that only this user can read: it may hold hashes of secrets and
/// the readings of people. SQLite gives its write-ahead log the same mode.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// One step of a schema for each format version, oldest first.
pub(crate) type Migrations = &'static [&'static str];

/// Opens the one connection that writes, creates the file, and brings its schema up to date.
pub(crate) fn open_writer(path: &Path, migrations: Migrations) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::from_sqlite(path, During::Open, source);
    private_file(path).map_err(|error| failed(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))?;
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    prepare_writer(&connection).map_err(failed)?;
    migrate(path, &mut connection, migrations)?;
    Ok(connection)
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    // Read-write for SQLite, which must be able to recover and index the write-ahead log;
    // `query_only` forbids our own statements to write.
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| {
            connection.pragma_update(None, "query_only", true)?;
            // In KiB, taken as it is needed: what a long question reads again and again need not be copied from
            // the system's cache each time.
            connection.pragma_update(None, "cache_size", -8192)?;
            Ok(connection)
        })
        .map_err(|source| StoreError::from_sqlite(path, During::Open, source))
}

/// Opens a connection that reads a database which another process may be using, and leaves its
/// files as they are: the write-ahead log stays where it is even when nobody else has it open.
pub(crate) fn open_outside(path: &Path) -> Result<Connection, StoreError> {
    let connection = open_reader(path)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|source| StoreError::from_sqlite(path, During::Open, source))?;
    Ok(connection)
}

/// Brings a database that nobody else has open, and that nobody needs as it was, up to date: a copy of one that an older
/// program left. One that is up to date is not touched. Nothing of the change is in a write-ahead log afterwards.
///
/// # Errors
/// [`StoreError::Version`] for a file of a newer program, and [`StoreError::Outdated`] for one that has no format: to make
/// a new store of it would hide that something was lost.
pub(crate) fn upgrade(path: &Path, migrations: Migrations) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(path, During::Open, source);
    let supported = migrations.len() as i64;
    let found: i64 = open_outside(path)?.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found < 1 {
        return Err(StoreError::Outdated { path: path.to_owned(), found, supported });
    }
    if found == supported {
        return Ok(());
    }
    let connection = open_writer(path, migrations)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // No mutex: each connection is used by one thread at a time, which the types enforce.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // One plan for a statement whatever is bound to it. Without this a statement with a range is compiled anew
    // each time its bounds change, in the hope of a better plan: on every commit, and for every edge of a bucket.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    // Counts for a new file only, and only before anything is in it: pages that become free can be
    // given back some at a time.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged message is on the disk, not in a cache of the system.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

fn migrate(path: &Path, connection: &mut Connection, migrations: Migrations) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(path, During::Open, source);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let supported = migrations.len() as i64;
    let Some(pending) = usize::try_from(found).ok().and_then(|done| migrations.get(done..)) else {
        return Err(StoreError::Version { path: path.to_owned(), found, supported });
    };
    if pending.is_empty() {
        return Ok(());
    }
    // One transaction for all steps: a crash leaves the old schema or the new one.
    let transaction = connection.transaction().map_err(failed)?;
    for step in pending {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", supported).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        let first = DirectoryLock::take(&path).unwrap();
        assert!(matches!(DirectoryLock::take(&path), Err(StoreError::InUse { .. })));
        drop(first);
        DirectoryLock::take(&path).unwrap();
    }

    #[test]
    fn migrations_run_once_and_a_newer_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        const ONE: Migrations = &["CREATE TABLE a(x INTEGER) STRICT"];
        const TWO: Migrations = &["CREATE TABLE a(x INTEGER) STRICT", "CREATE TABLE b(x INTEGER) STRICT"];
        drop(open_writer(&path, ONE).unwrap());
        drop(open_writer(&path, TWO).unwrap());
        drop(open_writer(&path, TWO).unwrap());
        assert!(matches!(open_writer(&path, ONE), Err(StoreError::Version { found: 2, supported: 1, .. })));
    }

    #[test]
    fn an_upgrade_leaves_one_file_and_makes_no_store_of_what_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        const ONE: Migrations = &["CREATE TABLE a(x INTEGER) STRICT; INSERT INTO a VALUES (7)"];
        const TWO: Migrations = &[ONE[0], "CREATE TABLE b(x INTEGER) STRICT; INSERT INTO b SELECT * FROM a"];
        drop(open_writer(&path("some.db"), ONE).unwrap());
        upgrade(&path("some.db"), TWO).unwrap();
        let names: Vec<_> = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["some.db"]);
        let before = std::fs::read(path("some.db")).unwrap();
        upgrade(&path("some.db"), TWO).unwrap();
        assert!(std::fs::read(path("some.db")).unwrap() == before, "it was up to date");
        let value: i64 =
            open_reader(&path("some.db")).unwrap().query_row("SELECT x FROM b", [], |row| row.get(0)).unwrap();
        assert_eq!(value, 7);
        assert!(matches!(upgrade(&path("some.db"), ONE), Err(StoreError::Version { found: 2, supported: 1, .. })));
        std::fs::write(path("empty.db"), "").unwrap();
        assert!(matches!(upgrade(&path("empty.db"), TWO), Err(StoreError::Outdated { found: 0, .. })));
        assert!(matches!(upgrade(&path("none.db"), TWO), Err(StoreError::Open { .. })));
        assert!(!path("none.db").exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        let connection = open_writer(&path, &["CREATE TABLE a(x INTEGER) STRICT"]).unwrap();
        for name in ["some.db", "some.db-wal"] {
            let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        drop(connection);
    }

    #[test]
    fn a_file_that_is_not_a_database_is_reported_as_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        let error = open_writer(&path, &[]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
}
