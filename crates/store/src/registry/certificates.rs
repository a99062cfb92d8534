//! Certificates of devices: which one is current, which are still let in, which are revoked.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use tesaiot_contract::DeviceId;

use super::credentials::find_device;
use super::devices::device_id;
use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Certificates of a device that were asked for, and never used, that are remembered.
const MOST_PENDING: i64 = 2;

/// A certificate that was issued to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The device: the subject's common name.
    pub device: DeviceId,
    /// The serial number in hexadecimal. Kept and compared in lower case, without leading zeros.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// SHA-256 of the public key, in hexadecimal; none when nobody noted it.
    pub key_fingerprint: Option<String>,
}

/// A recorded certificate and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// The certificate.
    pub certificate: Certificate,
    /// When a newer one replaced it for good.
    pub retired_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revocation_reason: Option<String>,
}

/// The answer to a device that presented a certificate. Only `Current` and `Previous` are let
/// in. The TLS layer checks the dates when a connection begins; here their end counts for all that comes later on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateStatus {
    /// The newest certificate of the device.
    Current,
    /// The one before the newest that is in use, still within its dates: a renewal may be under way. A certificate that
    /// the device asked for and never used does not make another one older: its answer may have been lost.
    Previous,
    /// The newest, and its time is over.
    Expired,
    /// Revoked.
    Revoked,
    /// Replaced for good by a newer one.
    Superseded,
    /// Never issued to this device.
    Unknown,
    /// The device is disabled.
    DeviceDisabled,
    /// No device of this id.
    NoSuchDevice,
}

impl CertificateStatus {
    /// Whether a device with this answer may connect.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Current | Self::Previous)
    }

    /// A stable word for the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Expired => "certificate_expired",
            Self::Revoked => "certificate_revoked",
            Self::Superseded => "certificate_superseded",
            Self::Unknown => "certificate_unknown",
            Self::DeviceDisabled => "device_disabled",
            Self::NoSuchDevice => "no_such_device",
        }
    }
}

const COLUMNS: &str = "device, serial, not_before, not_after, fingerprint, issued_at, \
                       retired_at, revoked_at, revocation_reason, key_fingerprint";

fn from_row(row: &Row<'_>) -> rusqlite::Result<CertificateState> {
    Ok(CertificateState {
        certificate: Certificate {
            device: device_id(row, 0)?,
            serial: row.get(1)?,
            not_before: from_nanoseconds(row.get(2)?),
            not_after: from_nanoseconds(row.get(3)?),
            fingerprint: row.get(4)?,
            issued_at: from_nanoseconds(row.get(5)?),
            key_fingerprint: row.get(9)?,
        },
        retired_at: row.get::<_, Option<i64>>(6)?.map(from_nanoseconds),
        revoked_at: row.get::<_, Option<i64>>(7)?.map(from_nanoseconds),
        revocation_reason: row.get(8)?,
    })
}

/// Tools print serials in either case, with colons and with leading zeros; these are one number.
pub(super) fn normalised(serial: &str) -> String {
    let digits: String =
        serial.chars().filter(|character| *character != ':').map(|character| character.to_ascii_lowercase()).collect();
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

impl Registry {
    /// Records a certificate that was issued. It becomes the device's current one; the one
    /// before it stays valid until its end or [`Registry::retire_previous_certificates`], and
    /// older ones are superseded.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a device, [`StoreError::AlreadyExists`] for a
    /// serial that is recorded already, [`StoreError::Invalid`] for one that is not hexadecimal.
    pub fn record_certificate(&self, certificate: &Certificate) -> Result<(), StoreError> {
        self.write(|transaction| {
            if find_device(transaction, &certificate.device)?.is_none() {
                return Err(Failure::not_found("device", &certificate.device));
            }
            insert(transaction, certificate, None)
        })
    }

    /// What the registry says of a serial number that a device presented.
    pub fn check_certificate(
        &self,
        device: &DeviceId,
        serial: &str,
        now: Timestamp,
    ) -> Result<CertificateStatus, StoreError> {
        let serial = normalised(serial);
        self.read(|connection| Ok(check(connection, device, &serial, now)?))
    }

    /// As [`Registry::check_certificate`], of a device that comes in with it: a new certificate is in use from here on.
    pub fn admit_certificate(
        &self,
        device: &DeviceId,
        serial: &str,
        now: Timestamp,
    ) -> Result<CertificateStatus, StoreError> {
        let serial = normalised(serial);
        let (status, is_pending) = self.read(|connection| {
            let mut pending = connection.prepare_cached("SELECT pending FROM certificate WHERE serial = ?1")?;
            let is_pending = pending.query_row([&serial], |row| row.get(0)).optional()?.unwrap_or(false);
            Ok((check(connection, device, &serial, now)?, is_pending))
        })?;
        if is_pending && status.is_accepted() {
            self.write(|transaction| {
                transaction
                    .prepare_cached("UPDATE certificate SET pending = 0 WHERE serial = ?1")?
                    .execute([&serial])?;
                Ok(())
            })?;
        }
        Ok(status)
    }

    /// Revokes every certificate of a device, now and in one change. Returns how many were not revoked before.
    pub fn revoke_certificates_of(&self, device: &DeviceId, reason: &str, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|transaction| Ok(revoke_all(transaction, device, reason, now)?))
    }

    /// Revokes a certificate, now. Revoking it again keeps the first time and reason. Sessions
    /// that are open are the caller's to close.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn revoke_certificate(&self, serial: &str, reason: &str, now: Timestamp) -> Result<DeviceId, StoreError> {
        let serial = normalised(serial);
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE certificate SET revoked_at = coalesce(revoked_at, ?2),
                     revocation_reason = coalesce(revocation_reason, ?3)
                 WHERE serial = ?1 RETURNING device",
            )?;
            let mut rows = statement.query(params![serial, to_nanoseconds(now), reason])?;
            let Some(row) = rows.next()? else {
                return Err(Failure::not_found("certificate", &serial));
            };
            let device = device_id(row, 0)?;
            // The statement must run to its end for the change to be made.
            while rows.next()?.is_some() {}
            Ok(device)
        })
    }

    /// Ends the time in which a device may still use the certificate before its current one.
    pub fn retire_previous_certificates(&self, device: &DeviceId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE certificate SET retired_at = ?2
                     WHERE device = ?1 AND retired_at IS NULL
                       AND number < (SELECT max(number) FROM certificate WHERE device = ?1)",
                )?
                .execute(params![device.as_str(), to_nanoseconds(now)])?;
            Ok(())
        })
    }

    /// The certificates of a device, newest first.
    pub fn certificates(&self, device: &DeviceId) -> Result<Vec<CertificateState>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM certificate WHERE device = ?1 ORDER BY number DESC"))?;
            let rows = statement.query_map([device.as_str()], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Revoked certificates that would still be within their dates: the content of a revocation list.
    pub fn revoked_certificates(&self, now: Timestamp) -> Result<Vec<CertificateState>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM certificate
                 WHERE revoked_at IS NOT NULL AND not_after >= ?1 ORDER BY number"
            ))?;
            let rows = statement.query_map([to_nanoseconds(now)], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Revokes every certificate of a device. Returns how many were not revoked before.
pub(super) fn revoke_all(
    transaction: &Transaction<'_>,
    device: &DeviceId,
    reason: &str,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "UPDATE certificate SET revoked_at = ?2, revocation_reason = ?3 WHERE device = ?1 AND revoked_at IS NULL",
        )?
        .execute(params![device.as_str(), to_nanoseconds(now), reason])
}

/// Adds a certificate. With `chain` it is one that the device asked for, and has yet to use.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    certificate: &Certificate,
    chain: Option<&str>,
) -> Result<(), Failure> {
    let serial = normalised(&certificate.serial);
    if !serial.chars().all(|character| character.is_ascii_hexdigit()) {
        return Err(Failure::Rule(StoreError::Invalid { what: "a serial number", reason: "must be hexadecimal" }));
    }
    transaction
        .prepare_cached(
            "INSERT INTO certificate (device, serial, not_before, not_after, fingerprint, issued_at, key_fingerprint,
                                      chain, pending)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            certificate.device.as_str(),
            serial,
            to_nanoseconds(certificate.not_before),
            to_nanoseconds(certificate.not_after),
            certificate.fingerprint,
            to_nanoseconds(certificate.issued_at),
            certificate.key_fingerprint,
            chain,
            chain.is_some(),
        ])
        .map_err(|error| Failure::from(error).or_exists("certificate", &serial))?;
    if chain.is_some() {
        // Of certificates that were never used only the newest can be: a device that asks without end fills nothing.
        transaction
            .prepare_cached(
                "DELETE FROM certificate WHERE device = ?1 AND pending AND revoked_at IS NULL AND number NOT IN
                 (SELECT number FROM certificate WHERE device = ?1 AND pending AND revoked_at IS NULL
                  ORDER BY number DESC LIMIT ?2)",
            )?
            .execute(params![certificate.device.as_str(), MOST_PENDING])?;
    }
    Ok(())
}

pub(super) fn check(
    connection: &Connection,
    device: &DeviceId,
    serial: &str,
    now: Timestamp,
) -> rusqlite::Result<CertificateStatus> {
    let found = find_device(connection, device)?;
    let mut statement = connection.prepare_cached(
        "SELECT serial, not_after, retired_at, revoked_at, pending FROM certificate
         WHERE device = ?1 ORDER BY number DESC",
    )?;
    let mut rows = statement.query([device.as_str()])?;
    // A revoked certificate says so even when its device is gone or disabled. The age of the
    // presented one counts all newer ones that came into use, revoked or not: revoking the current
    // certificate must not bring an old one back.
    let (mut is_newest, mut age) = (true, 0);
    let status = loop {
        let Some(row) = rows.next()? else {
            break CertificateStatus::Unknown;
        };
        let is_pending: bool = row.get(4)?;
        let is_revoked = row.get::<_, Option<i64>>(3)?.is_some();
        if row.get_ref(0)?.as_str()? != serial {
            is_newest = false;
            age += i32::from(!is_pending || is_revoked);
            continue;
        }
        let not_after: i64 = row.get(1)?;
        let is_retired = row.get::<_, Option<i64>>(2)?.is_some();
        break match age {
            _ if is_revoked => CertificateStatus::Revoked,
            _ if is_newest && to_nanoseconds(now) > not_after => CertificateStatus::Expired,
            _ if is_newest => CertificateStatus::Current,
            // Another one was asked for before this one was used.
            _ if is_pending => CertificateStatus::Superseded,
            0 | 1 if !is_retired && to_nanoseconds(now) <= not_after => CertificateStatus::Previous,
            _ => CertificateStatus::Superseded,
        };
    };
    Ok(match (found, status) {
        (_, CertificateStatus::Revoked) => CertificateStatus::Revoked,
        (None, _) => CertificateStatus::NoSuchDevice,
        (Some(device), _) if !device.enabled => CertificateStatus::DeviceDisabled,
        (Some(_), status) => status,
    })
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn serials_of_every_spelling_are_one_number() {
        for spelling in ["0A1b", "a1b", "0a:1B", "00000A1B"] {
            assert_eq!(normalised(spelling), "a1b", "{spelling}");
        }
        assert_eq!(normalised("00"), "0");
    }
}
