//! Secrets of devices: API keys and MQTT passwords.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tesaiot_contract::{DeviceId, Secret};

use super::devices::{self, Device};
use super::secrets::{api_key_lookup, equal, random, salted_hash};
use super::{Failure, Registry, unknown_word};
use super::{certificates, enrolment};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// The most credentials of a device that are valid at one time: each is compared at a login.
const MAXIMUM_VALID: i64 = 16;

/// What a secret is for. Either is accepted as the MQTT password; HTTPS takes API keys only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// An API key: generated, with 128 random bits.
    ApiKey,
    /// An MQTT password: generated, with 128 random bits.
    MqttPassword,
}

impl CredentialKind {
    /// The word for it in files and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::MqttPassword => "mqtt-password",
        }
    }

    /// The inverse of [`CredentialKind::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::ApiKey, Self::MqttPassword].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Names a credential without being it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(pub i64);

/// A credential as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub id: CredentialId,
    /// The device it belongs to.
    pub device: DeviceId,
    /// What it is for.
    pub kind: CredentialKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// What went when a device was given a new secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// The new one.
    pub credential: CredentialId,
    /// Certificates that were not revoked before.
    pub certificates: usize,
    /// Enrolment tokens that were good.
    pub enrolment_tokens: usize,
}

/// The answer to a device that presented a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAuthentication {
    /// It is the device, and the device is enabled.
    Accepted {
        /// The device.
        device: Device,
        /// The credential that fitted.
        credential_id: CredentialId,
    },
    /// It is not let in. The reason is for the audit log only: the peer is told the same
    /// for every reason (the wire contract, section 2).
    Refused(Refusal),
}

/// Why a device is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No device of this id.
    NoSuchDevice,
    /// The secret fits, but the device is disabled.
    DeviceDisabled,
    /// The device has no valid credential.
    NoCredential,
    /// No valid credential of the device fits.
    WrongSecret,
}

impl Refusal {
    /// A stable word for the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchDevice => "no_such_device",
            Self::DeviceDisabled => "device_disabled",
            Self::NoCredential => "no_credential",
            Self::WrongSecret => "wrong_secret",
        }
    }
}

impl Registry {
    /// Gives a device another secret, kept as a salted hash. The secret must be generated, with
    /// 128 random bits or more: the hash is a fast one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a device, [`StoreError::Invalid`] for an empty
    /// secret or when the device has 16 valid credentials already.
    pub fn add_secret(
        &self,
        device: &DeviceId,
        kind: CredentialKind,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<CredentialId, StoreError> {
        self.write(|transaction| insert(transaction, device, kind, secret, now))
    }

    /// Gives a device a new secret in place of all it had, of either kind. What those may have brought a thief goes with
    /// them, in the same change: every certificate of the device, and every enrolment token that was not used.
    ///
    /// # Errors
    /// As [`Registry::add_secret`].
    pub fn rotate_secret(
        &self,
        device: &DeviceId,
        kind: CredentialKind,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Replaced, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE credential SET revoked_at = ?2 WHERE device = ?1 AND revoked_at IS NULL")?
                .execute(params![device.as_str(), to_nanoseconds(now)])?;
            let enrolment_tokens = enrolment::revoke_tokens(transaction, device, now)?;
            let certificates = certificates::revoke_all(transaction, device, "the device's key was replaced", now)?;
            let credential = insert(transaction, device, kind, secret, now)?;
            Ok(Replaced { credential, certificates, enrolment_tokens })
        })
    }

    /// Makes a credential invalid, now. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn revoke_secret(&self, id: CredentialId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached("UPDATE credential SET revoked_at = coalesce(revoked_at, ?2) WHERE number = ?1")?
                .execute(params![id.0, to_nanoseconds(now)])?;
            if changed == 0 {
                return Err(Failure::not_found("credential", id.0));
            }
            Ok(())
        })
    }

    /// The credentials of a device, oldest first, revoked ones included.
    pub fn credentials(&self, device: &DeviceId) -> Result<Vec<Credential>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, kind, created_at, revoked_at FROM credential
                 WHERE device = ?1 ORDER BY number",
            )?;
            let rows = statement.query_map([device.as_str()], |row| {
                let kind: String = row.get(1)?;
                Ok(Credential {
                    id: CredentialId(row.get(0)?),
                    device: device.clone(),
                    kind: CredentialKind::parse(&kind).ok_or_else(|| unknown_word(1, &kind))?,
                    created_at: from_nanoseconds(row.get(2)?),
                    revoked_at: row.get::<_, Option<i64>>(3)?.map(from_nanoseconds),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether `secret` is one of the device's valid credentials, of either kind. Comparisons
    /// take constant time, and an unknown device costs the same work as a known one.
    pub fn verify_device_secret(&self, device: &DeviceId, secret: &[u8]) -> Result<DeviceAuthentication, StoreError> {
        self.read(|connection| {
            let found = find_device(connection, device)?;
            let mut statement = connection.prepare_cached(
                "SELECT number, salt, hash FROM credential
                 WHERE device = ?1 AND revoked_at IS NULL",
            )?;
            let candidates = statement
                .query_map([device.as_str()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            if candidates.is_empty() {
                std::hint::black_box(salted_hash(&[0; 16], secret));
            }
            // Every candidate is compared: which one fits must not show in the time it takes.
            let mut fitting = None;
            for (number, salt, hash) in &candidates {
                if equal(&salted_hash(salt, secret), hash) {
                    fitting = Some(CredentialId(*number));
                }
            }
            Ok(match (found, fitting) {
                (None, _) => DeviceAuthentication::Refused(Refusal::NoSuchDevice),
                (Some(_), None) if candidates.is_empty() => DeviceAuthentication::Refused(Refusal::NoCredential),
                (Some(_), None) => DeviceAuthentication::Refused(Refusal::WrongSecret),
                (Some(device), Some(_)) if !device.enabled => DeviceAuthentication::Refused(Refusal::DeviceDisabled),
                (Some(device), Some(credential_id)) => DeviceAuthentication::Accepted { device, credential_id },
            })
        })
    }

    /// The device that a valid API key belongs to, and the key's name, for requests that carry only the key. The
    /// device may be disabled: [`Registry::verify_device_secret`] says so.
    pub fn device_of_api_key(&self, key: &str) -> Result<Option<(DeviceId, CredentialId)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT device, salt, hash, number FROM credential
                 WHERE lookup = ?1 AND kind = 'api-key' AND revoked_at IS NULL",
            )?;
            let mut rows = statement.query([&api_key_lookup(key.as_bytes())[..]])?;
            while let Some(row) = rows.next()? {
                let salt: Vec<u8> = row.get(1)?;
                let hash: Vec<u8> = row.get(2)?;
                if equal(&salted_hash(&salt, key.as_bytes()), &hash) {
                    return Ok(Some((devices::device_id(row, 0)?, CredentialId(row.get(3)?))));
                }
            }
            Ok(None)
        })
    }
}

/// Whether this credential of the device is still good.
pub(super) fn is_valid(connection: &Connection, device: &DeviceId, id: CredentialId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM credential WHERE number = ?1 AND device = ?2 AND revoked_at IS NULL")?
        .exists(params![id.0, device.as_str()])
}

pub(super) fn find_device(connection: &Connection, id: &DeviceId) -> rusqlite::Result<Option<Device>> {
    connection
        .prepare_cached(&format!("SELECT {} FROM device WHERE id = ?1", devices::COLUMNS))?
        .query_row([id.as_str()], devices::from_row)
        .optional()
}

fn insert(
    transaction: &Transaction<'_>,
    device: &DeviceId,
    kind: CredentialKind,
    secret: &Secret,
    now: Timestamp,
) -> Result<CredentialId, Failure> {
    let secret = secret.expose().as_bytes();
    if secret.is_empty() {
        return Err(Failure::Rule(StoreError::Invalid { what: "a secret", reason: "must not be empty" }));
    }
    if find_device(transaction, device)?.is_none() {
        return Err(Failure::not_found("device", device));
    }
    let valid: i64 = transaction
        .prepare_cached("SELECT count(*) FROM credential WHERE device = ?1 AND revoked_at IS NULL")?
        .query_row([device.as_str()], |row| row.get(0))?;
    if valid >= MAXIMUM_VALID {
        return Err(Failure::Rule(StoreError::Invalid {
            what: "the device",
            reason: "has 16 valid credentials already; revoke one first",
        }));
    }
    let salt: [u8; 16] = random()?;
    let lookup = (kind == CredentialKind::ApiKey).then(|| api_key_lookup(secret));
    transaction
        .prepare_cached(
            "INSERT INTO credential (device, kind, salt, hash, lookup, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            device.as_str(),
            kind.as_str(),
            salt,
            salted_hash(&salt, secret),
            lookup,
            to_nanoseconds(now),
        ])?;
    Ok(CredentialId(transaction.last_insert_rowid()))
}
