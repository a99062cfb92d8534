//! Devices: who they are, how they authenticate, whether they may.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tesaiot_contract::DeviceId;

use super::{Failure, Registry, unknown_word};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// How a device proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMode {
    /// With a client certificate.
    Mtls,
    /// With a secret, over TLS that authenticates the server.
    ServerTls,
}

impl AuthMode {
    /// The word for it in files, interfaces and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::ServerTls => "server-tls",
        }
    }

    /// The inverse of [`AuthMode::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Mtls, Self::ServerTls].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// A device to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id, which is also its MQTT client id and its certificate's common name.
    pub id: DeviceId,
    /// A name for people; may be empty.
    pub name: String,
    /// How it authenticates.
    pub auth_mode: AuthMode,
}

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// A name for people; may be empty.
    pub name: String,
    /// How it authenticates.
    pub auth_mode: AuthMode,
    /// Whether it may connect.
    pub enabled: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// The network address it was last heard from.
    pub last_address: Option<String>,
    /// Whether it is online.
    pub online: bool,
    /// Since when it is that, or is not.
    pub presence_at: Option<Timestamp>,
    /// How it left, when it is not.
    pub offline_cause: Option<String>,
}

/// A device came, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// Which of them.
    pub online: bool,
    /// When.
    pub at: Timestamp,
    /// How it left.
    pub cause: Option<String>,
}

/// One sign of life of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The device.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
    /// From which network address; `None` keeps the one that is known.
    pub address: Option<String>,
    /// Whether it came or went.
    pub change: Option<PresenceChange>,
}

pub(super) const COLUMNS: &str = "id, name, auth_mode, enabled, created_at, last_seen_at, last_address, online, \
     presence_at, offline_cause";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Device> {
    let mode: String = row.get(2)?;
    Ok(Device {
        id: device_id(row, 0)?,
        name: row.get(1)?,
        auth_mode: AuthMode::parse(&mode).ok_or_else(|| unknown_word(2, &mode))?,
        enabled: row.get(3)?,
        created_at: from_nanoseconds(row.get(4)?),
        last_seen_at: row.get::<_, Option<i64>>(5)?.map(from_nanoseconds),
        last_address: row.get(6)?,
        online: row.get(7)?,
        presence_at: row.get::<_, Option<i64>>(8)?.map(from_nanoseconds),
        offline_cause: row.get(9)?,
    })
}

/// A device id in a column. Only valid ones were ever written.
pub(super) fn device_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceId> {
    let id: String = row.get(column)?;
    DeviceId::new(&id).map_err(|_| unknown_word(column, &id))
}

impl Registry {
    /// Registers a device, enabled and without credentials.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the id is taken.
    pub fn create_device(&self, new: &NewDevice, now: Timestamp) -> Result<Device, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO device (id, name, auth_mode, enabled, created_at)
                     VALUES (?1, ?2, ?3, 1, ?4)",
                )?
                .execute(params![new.id.as_str(), new.name, new.auth_mode.as_str(), to_nanoseconds(now),])
                .map_err(|error| Failure::from(error).or_exists("device", new.id.as_str()))?;
            Ok(())
        })?;
        Ok(Device {
            id: new.id.clone(),
            name: new.name.clone(),
            auth_mode: new.auth_mode,
            enabled: true,
            created_at: now,
            last_seen_at: None,
            last_address: None,
            online: false,
            presence_at: None,
            offline_cause: None,
        })
    }

    /// One device.
    pub fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE id = ?1"))?
                .query_row([id.as_str()], from_row)
                .optional()?)
        })
    }

    /// Devices in the order of their ids, at most `limit` of them, after the id `after`.
    pub fn list_devices(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<Device>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            // The empty string sorts before every id.
            let after = after.map_or("", DeviceId::as_str);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let devices = statement.query_map(params![after, limit], from_row)?;
            Ok(devices.collect::<Result<_, _>>()?)
        })
    }

    /// How many devices are registered.
    pub fn count_devices(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM device", [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }

    /// Lets a device connect, or not. Sessions that are open are the caller's to close.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn set_device_enabled(&self, id: &DeviceId, enabled: bool) -> Result<(), StoreError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached("UPDATE device SET enabled = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), enabled])?;
            if changed == 0 {
                return Err(Failure::not_found("device", id));
            }
            Ok(())
        })
    }

    /// Gives a device another name for people.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn rename_device(&self, id: &DeviceId, name: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached("UPDATE device SET name = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), name])?;
            if changed == 0 {
                return Err(Failure::not_found("device", id));
            }
            Ok(())
        })
    }

    /// Removes a device and its credentials. Its certificates are kept, revoked, so that they
    /// are refused by name and can be listed in an audit. Its telemetry is not touched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn remove_device(&self, id: &DeviceId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            let removed = transaction.prepare_cached("DELETE FROM device WHERE id = ?1")?.execute([id.as_str()])?;
            if removed == 0 {
                return Err(Failure::not_found("device", id));
            }
            transaction
                .prepare_cached(
                    "UPDATE certificate SET revoked_at = ?2, revocation_reason = 'device removed'
                     WHERE device = ?1 AND revoked_at IS NULL",
                )?
                .execute(params![id.as_str(), to_nanoseconds(now)])?;
            Ok(())
        })
    }

    /// The devices that were online when this was last written, and when they were last heard of.
    pub fn online_devices(&self) -> Result<Vec<(DeviceId, Option<Timestamp>)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, last_seen_at FROM device WHERE online = 1")?;
            let row = |row: &Row<'_>| Ok((device_id(row, 0)?, row.get::<_, Option<i64>>(1)?.map(from_nanoseconds)));
            let devices = statement.query_map([], row)?;
            Ok(devices.collect::<Result<_, _>>()?)
        })
    }

    /// Remembers when devices were last heard of, and who came or went; many at once, because each call is a commit.
    /// Unknown devices are passed over, and an older time never replaces a newer one.
    pub fn touch_seen(&self, seen: &[Seen]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE device SET last_seen_at = ?2, last_address = coalesce(?3, last_address)
                 WHERE id = ?1 AND (last_seen_at IS NULL OR last_seen_at <= ?2)",
            )?;
            let mut change = transaction
                .prepare_cached("UPDATE device SET online = ?2, presence_at = ?3, offline_cause = ?4 WHERE id = ?1")?;
            for one in seen {
                statement.execute(params![one.device.as_str(), to_nanoseconds(one.at), one.address])?;
                if let Some(PresenceChange { online, at, cause }) = &one.change {
                    change.execute(params![one.device.as_str(), online, to_nanoseconds(*at), cause])?;
                }
            }
            Ok(())
        })
    }
}
