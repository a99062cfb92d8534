//! Keeping the dead letters within their bounds: the oldest are dropped, and counted.

use rusqlite::Connection;

use super::append::Appender;
use super::shared::{add, subtract, value};
use crate::error::StoreError;

/// Dead letters dropped in one transaction.
const DROP_PER_TRANSACTION: usize = 256;
/// Transactions of one call: as many letters as no append brings, so that the bounds hold however
/// fast they come.
const TRANSACTIONS_PER_CALL: usize = 64;

/// What the oldest dead letters are, or were.
#[derive(Debug, Clone, Copy, Default)]
struct Letters {
    count: u64,
    bytes: u64,
}

impl Appender {
    /// Drops the oldest dead letters until the others are within their bounds.
    pub(super) fn drop_dead_letters(&mut self) -> Result<(), StoreError> {
        for _ in 0..TRANSACTIONS_PER_CALL {
            let excess = self.dead_letters_over();
            if excess.count == 0 && excess.bytes == 0 {
                break;
            }
            let dropped = self.relaxed(|appender| drop_oldest(&mut appender.connection, excess))?;
            if dropped.count == 0 {
                break;
            }
            let totals = &self.shared.totals;
            subtract(&totals.dead_letters, dropped.count);
            subtract(&totals.dead_letter_bytes, dropped.bytes);
            add(&totals.dead_letters_dropped, dropped.count);
            self.log_bytes += dropped.count << 12;
        }
        Ok(())
    }

    /// Whether there are more dead letters than may be kept.
    pub(super) fn has_too_many_dead_letters(&self) -> bool {
        let excess = self.dead_letters_over();
        excess.count > 0 || excess.bytes > 0
    }

    fn dead_letters_over(&self) -> Letters {
        let (options, totals) = (&self.shared.options, &self.shared.totals);
        let count = value(&totals.dead_letters);
        let bytes = value(&totals.dead_letter_bytes).saturating_sub(options.dead_letter_bytes);
        Letters {
            count: count.saturating_sub(options.dead_letters),
            // Without a letter there is nothing to drop, whatever the bytes say.
            bytes: if count == 0 { 0 } else { bytes },
        }
    }
}

/// Drops the oldest until `excess` is reached in both, or as many as one transaction may.
fn drop_oldest(connection: &mut Connection, excess: Letters) -> rusqlite::Result<Letters> {
    let transaction = connection.transaction()?;
    let mut dropped = Letters::default();
    let mut last = None;
    {
        let mut statement =
            transaction.prepare_cached("SELECT number, length(payload) FROM dead_letter ORDER BY number LIMIT ?1")?;
        let mut rows = statement.query([DROP_PER_TRANSACTION as i64])?;
        while (dropped.count < excess.count || dropped.bytes < excess.bytes)
            && let Some(row) = rows.next()?
        {
            last = Some(row.get::<_, i64>(0)?);
            dropped.count += 1;
            dropped.bytes += row.get::<_, i64>(1)?.unsigned_abs();
        }
    }
    transaction.prepare_cached("DELETE FROM dead_letter WHERE number <= ?1")?.execute([last])?;
    transaction
        .prepare_cached("UPDATE total SET dead_letters_dropped = dead_letters_dropped + ?1")?
        .execute([dropped.count as i64])?;
    transaction.commit()?;
    Ok(dropped)
}
