//! The checksum of a row: CRC32C over its columns, in a column of its own.
//!
//! SQLite does not notice a bit that flips inside a value. Blobs of this store carry their own
//! checksum; this one keeps what stands beside them (whose chunk it is, which message it was)
//! from being served when it is not what was written.
//!
//! Integers are 8 bytes little-endian; texts and blobs are their length as such an integer, then
//! their bytes; an absent text is the length -1. A row of format 1 has no checksum (NULL).
//!
//! The number of a message or dead letter is not in it, because SQLite gives it while the row is
//! written. A number that changed leaves the row out of order, which `check` finds.

/// The checksum of a row while its columns are taken in, in the order of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowChecksum(u32);

impl RowChecksum {
    pub(super) fn integer(self, value: i64) -> Self {
        Self(crc32c::crc32c_append(self.0, &value.to_le_bytes()))
    }

    pub(super) fn bytes(self, value: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.integer(value.len() as i64).0, value))
    }

    pub(super) fn text(self, value: Option<&str>) -> Self {
        match value {
            Some(text) => self.bytes(text.as_bytes()),
            None => self.integer(-1),
        }
    }

    /// As it stands in the column.
    pub(super) fn finish(self) -> i64 {
        i64::from(self.0)
    }

    /// Whether this is what was written, and was compared. Rows of format 1 had no checksum.
    pub(super) fn is(self, stored: Option<i64>) -> bool {
        stored == Some(self.finish())
    }

    /// Whether this is what was written. Rows of format 1 had no checksum.
    pub(super) fn matches(self, stored: Option<i64>) -> bool {
        stored.is_none_or(|stored| stored == self.finish())
    }
}

/// The row of a device.
pub(super) fn of_device(id: &str, sealed_through: i64, snapshot: &[u8]) -> RowChecksum {
    RowChecksum::default().text(Some(id)).integer(sealed_through).bytes(snapshot)
}

/// The row of a chunk.
pub(super) fn of_chunk(number: i64, device: i64, times: (i64, i64), samples: i64, blob: &[u8]) -> RowChecksum {
    let row = RowChecksum::default().integer(number).integer(device).integer(times.0).integer(times.1);
    row.integer(samples).bytes(blob)
}

/// The row of a message.
pub(super) fn of_message(device: &str, topic: &str, received_at: i64, payload: &[u8]) -> RowChecksum {
    RowChecksum::default().text(Some(device)).text(Some(topic)).integer(received_at).bytes(payload)
}

/// The row of a dead letter.
pub(super) fn of_dead_letter(
    device: Option<&str>,
    topic: &str,
    received_at: i64,
    payload: &[u8],
    (code, reason): (&str, &str),
) -> RowChecksum {
    let row = RowChecksum::default().text(device).text(Some(topic)).integer(received_at).bytes(payload);
    row.text(Some(code)).text(Some(reason))
}

/// The row of a page of rollups.
pub(super) fn of_rollup(device: i64, resolution: i64, first_day: i64, page: &[u8]) -> RowChecksum {
    RowChecksum::default().integer(device).integer(resolution).integer(first_day).bytes(page)
}
