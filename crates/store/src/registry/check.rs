//! Reading the whole registry once, to find what is damaged.

use std::path::Path;

use super::audit::verify_chain;
use crate::error::{During, StoreError};
use crate::file::open_outside;

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
