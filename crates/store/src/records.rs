//! Keyed records in a file of their own: what the broker's sessions are made of, opaque to this crate.
//!
//! One table, one writer, `synchronous=FULL`: a [`Records::commit`] is one transaction and one sync, however many
//! changes it carries. A crash leaves the file as after one of the commits. It is a file of its own because it changes
//! with every message for an absent subscriber and is worth nothing without the broker beside it, while the registry is
//! small, rarely written and belongs into every backup.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::error::{During, StoreError};
use crate::file::{Migrations, open_writer};

const MIGRATIONS: Migrations = &["
    CREATE TABLE record (
        owner TEXT    NOT NULL,
        kind  INTEGER NOT NULL,
        name  BLOB    NOT NULL,
        value BLOB    NOT NULL,
        PRIMARY KEY (owner, kind, name)
    ) STRICT, WITHOUT ROWID;
"];

/// Names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey<'a> {
    /// Whose it is.
    pub owner: &'a str,
    /// What it is.
    pub kind: u8,
    /// Which one. Ordered as bytes.
    pub name: &'a [u8],
}

/// A change of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordChange<'a> {
    /// A record, new or in place of the one before.
    Put(RecordKey<'a>, &'a [u8]),
    /// A record is gone; it may never have been.
    Remove(RecordKey<'a>),
    /// All records of one owner are gone.
    RemoveOwner(&'a str),
}

/// The file of records.
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    path: PathBuf,
}

impl Records {
    /// Opens the file, creating it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened or created, is damaged, or was written by a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_writer(path, MIGRATIONS)?, path: path.to_owned() })
    }

    /// Calls `each` with every record, by owner, kind and name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, mut each: impl FnMut(RecordKey<'_>, &[u8])) -> Result<(), StoreError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement =
                self.connection.prepare("SELECT owner, kind, name, value FROM record ORDER BY owner, kind, name")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let owner = row.get_ref(0)?.as_str()?;
                let (name, value) = (row.get_ref(2)?.as_blob()?, row.get_ref(3)?.as_blob()?);
                each(RecordKey { owner, kind: row.get(1)?, name }, value);
            }
            Ok(())
        };
        read().map_err(|source| StoreError::from_sqlite(&self.path, During::Read, source))
    }

    /// Makes changes, in this order, all or none of them. They are on disk when it returns.
    ///
    /// # Errors
    /// When they could not be committed: nothing has changed then.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = RecordChange<'a>>) -> Result<(), StoreError> {
        let path = &self.path;
        let commit = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            {
                let mut put = transaction.prepare_cached(
                    "INSERT INTO record (owner, kind, name, value) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET value = excluded.value",
                )?;
                let mut remove =
                    transaction.prepare_cached("DELETE FROM record WHERE owner = ?1 AND kind = ?2 AND name = ?3")?;
                let mut remove_owner = transaction.prepare_cached("DELETE FROM record WHERE owner = ?1")?;
                for change in changes {
                    match change {
                        RecordChange::Put(key, value) => put.execute(params![key.owner, key.kind, key.name, value])?,
                        RecordChange::Remove(key) => remove.execute(params![key.owner, key.kind, key.name])?,
                        RecordChange::RemoveOwner(owner) => remove_owner.execute([owner])?,
                    };
                }
            }
            transaction.commit()
        };
        commit().map_err(|source| StoreError::from_sqlite(path, During::Commit, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(owner: &'a str, kind: u8, name: &'a [u8]) -> RecordKey<'a> {
        RecordKey { owner, kind, name }
    }

    fn all(records: &Records) -> Vec<String> {
        let mut all = Vec::new();
        let line = |key: RecordKey<'_>, value: &[u8]| format!("{} {} {:?} {value:?}", key.owner, key.kind, key.name);
        records.read(|key, value| all.push(line(key, value))).unwrap();
        all
    }

    #[test]
    fn changes_are_made_in_order_and_survive_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sessions.db");
        let mut records = Records::open(&path).unwrap();
        let changes = [
            RecordChange::Put(key("b", 1, b""), b"gone"),
            RecordChange::RemoveOwner("b"),
            RecordChange::Put(key("b", 3, &[0, 2]), b"second"),
            RecordChange::Put(key("b", 3, &[0, 1]), b"old"),
            RecordChange::Put(key("b", 3, &[0, 1]), b"new"),
            RecordChange::Put(key("a", 2, b"a/#"), b""),
            RecordChange::Put(key("a", 2, b"b/#"), b""),
        ];
        records.commit(changes).unwrap();
        records.commit([RecordChange::Remove(key("a", 2, b"b/#")), RecordChange::Remove(key("c", 1, b""))]).unwrap();
        let expected =
            ["a 2 [97, 47, 35] []", "b 3 [0, 1] [110, 101, 119]", "b 3 [0, 2] [115, 101, 99, 111, 110, 100]"];
        assert_eq!(all(&records), expected);
        drop(records);
        assert_eq!(all(&Records::open(&path).unwrap()), expected);
    }
}
