//! Reading the whole registry once, to find what is damaged.

use std::path::Path;

use super::audit::verify_chain;
use super::schema;
use crate::error::{During, StoreError};
use crate::file::{self, open_outside};

/// Reads every page of a registry, also one that is in use, and says what is damaged: pages and indexes, references
/// to rows that are not there, and the first record of the audit log that is not what was written.
///
/// # Errors
/// When the file cannot be opened, or not be read at all.
pub fn check_file(path: &Path) -> Result<Vec<String>, StoreError> {
    let connection = open_outside(path)?;
    let failed = |source| StoreError::from_sqlite(path, During::Read, source);
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let list = |sql: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = transaction.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let mut findings = list("PRAGMA integrity_check(100)").map_err(failed)?;
    findings.retain(|finding| finding != "ok");
    let dangling = list("SELECT DISTINCT \"table\" FROM pragma_foreign_key_check").map_err(failed)?;
    findings.extend(dangling.into_iter().map(|table| format!("a row of {table} refers to one that is not there")));
    match verify_chain(&transaction) {
        Ok(chain) => findings.extend(chain.broken_at.map(|number| format!("audit record {number} was changed"))),
        Err(error) => findings.push(format!("the audit log: {error}")),
    }
    Ok(findings)
}

/// Brings a copy that nobody has open, of a registry that an older program left, up to date.
///
/// # Errors
/// [`StoreError::Version`] for a file of a newer program, [`StoreError::Outdated`] for one that is no registry, and when
/// it cannot be read or written.
pub fn upgrade(path: &Path) -> Result<(), StoreError> {
    file::upgrade(path, schema::MIGRATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_of_any_format_is_brought_up_to_date() {
        let directory = tempfile::tempdir().unwrap();
        for format in 1..=schema::MIGRATIONS.len() {
            let path = directory.path().join(format!("{format}.db"));
            drop(file::open_writer(&path, &schema::MIGRATIONS[..format]).unwrap());
            upgrade(&path).unwrap();
            assert_eq!(check_file(&path).unwrap(), Vec::<String>::new());
            let found: i64 =
                open_outside(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, schema::MIGRATIONS.len() as i64);
        }
    }
}
