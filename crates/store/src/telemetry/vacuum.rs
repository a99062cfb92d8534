//! Giving back the space that nothing uses.

use super::append::Appender;
use crate::error::{During, StoreError};

impl Appender {
    /// Writes the database anew without its unused pages. Reading goes on meanwhile; appending
    /// waits. It needs as much free disk as the data takes.
    ///
    /// # Errors
    /// [`StoreError::Full`] without that space; nothing is changed then.
    pub fn vacuum(&mut self) -> Result<(), StoreError> {
        self.connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
            .map_err(|source| StoreError::from_sqlite(self.path(), During::Commit, source))
    }
}
