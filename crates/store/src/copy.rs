//! A copy of a database as of one moment, while it is in use.
//!
//! SQLite's online backup runs inside one read transaction: the writer of a running platform goes
//! on and is never waited for, and what it commits meanwhile is not in the copy. Its write-ahead
//! log cannot shrink until the copy is done. The file itself is not changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::error::{During, StoreError};
use crate::file::open_outside;
use crate::telemetry::Progress;

/// Pages copied between two reports of progress: 4 MiB.
const PAGES_PER_STEP: i32 = 1024;

/// Copies the database `from` into the new file `to`, which only this user can read, and returns
/// once it is on disk. Returns its bytes.
///
/// # Errors
/// When `to` exists or cannot be written, or `from` is not a database that can be read.
pub fn copy_database(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError> {
    let source = open_outside(from)?;
    let reading = |error| StoreError::from_sqlite(from, During::Read, error);
    let writing = |error| StoreError::from_sqlite(to, During::Commit, error);
    let file_error = |source| StoreError::CopyFile { path: to.to_owned(), source };
    new_private_file(to).map_err(file_error)?;
    // Begun here, the transaction keeps one moment; without it a commit elsewhere starts the copy over.
    let transaction = source.unchecked_transaction().map_err(reading)?;
    transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(reading)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(writing)?;
    {
        let backup = Backup::new(&transaction, &mut target).map_err(writing)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(writing)?;
            let at = backup.progress();
            let (total, left) = (at.pagecount.max(0).cast_unsigned(), at.remaining.max(0).cast_unsigned());
            progress(Progress { what: "pages", done: u64::from(total.saturating_sub(left)), total: u64::from(total) });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // A step waits as long as `busy_timeout` says before it answers so.
                _ => return Err(StoreError::InUse { path: from.to_owned() }),
            }
        }
    }
    target.close().map_err(|(_, error)| writing(error))?;
    drop(transaction);
    let file = File::open(to).map_err(file_error)?;
    file.sync_all().map_err(file_error)?;
    Ok(file.metadata().map_err(file_error)?.len())
}

fn new_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_of_one_moment_while_another_connection_goes_on_writing() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from.db"), directory.path().join("to.db"));
        let mut writer = crate::file::open_writer(&from, &["CREATE TABLE a (x INTEGER, filler BLOB) STRICT"]).unwrap();
        let mut number = 0;
        let mut write = |rows: i64| {
            let transaction = writer.transaction().unwrap();
            for _ in 0..rows {
                number += 1;
                transaction.execute("INSERT INTO a VALUES (?1, zeroblob(3000))", [number]).unwrap();
            }
            transaction.commit().unwrap();
        };
        write(5000);
        let mut steps = 0;
        let bytes = copy_database(&from, &to, &mut |progress| {
            steps += 1;
            assert!(progress.done <= progress.total);
            write(10);
        });
        assert!(bytes.unwrap() >= 5000 * 3000);
        assert!(steps >= 4, "{steps}");
        let copied = Connection::open(&to).unwrap();
        let found: (i64, i64) =
            copied.query_row("SELECT count(*), max(x) FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(found, (5000, 5000));
        assert_eq!(copied.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(matches!(copy_database(&from, &to, &mut |_| {}), Err(StoreError::CopyFile { .. })));
        assert!(matches!(
            copy_database(&directory.path().join("none"), &directory.path().join("other"), &mut |_| {}),
            Err(StoreError::Open { .. })
        ));
    }
}
