//! Certificates for keys that devices made themselves: who may have one, and tokens with which a new device asks.
//!
//! A request, the right to it and the certificate are one transaction: a token is used up together with the certificate
//! it was used for, and a right that is taken back meanwhile is gone. A device that asks again with the same key, because
//! the answer did not reach it, is given the same certificate again.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use tesaiot_contract::secret::enrolment_token;
use tesaiot_contract::{DeviceId, Secret};

use super::certificates::{self, Certificate, CertificateStatus, normalised};
use super::credentials::{CredentialId, find_device, is_valid};
use super::devices::device_id;
use super::secrets::{random, token_hash};
use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Tokens of a device that are good at a time.
const MAXIMUM_GOOD: i64 = 16;

/// A right to one certificate of one device, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Its number.
    pub number: i64,
    /// Whose certificate.
    pub device: DeviceId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

/// What a request for a certificate is believed for.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// An enrolment token, without the fingerprint at its end.
    Token(&'a str),
    /// The certificate, by its serial number, with which the device came in. It is looked at again.
    Certificate(&'a str),
    /// A secret of the device that it came in with. Whether it is still good is looked at again.
    Secret(CredentialId),
    /// An operator: somebody looked already.
    Verified,
    /// Nothing but the key: the device's certificate for it has expired, by no more than this.
    ExpiredKey(Duration),
}

/// A request for a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Certification<'a> {
    /// For whom.
    pub device: &'a DeviceId,
    /// SHA-256 of the public key, in hexadecimal. The sender has proved to hold the key.
    pub key_fingerprint: &'a str,
    /// By what right.
    pub claim: Claim<'a>,
    /// The time.
    pub now: Timestamp,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certified {
    /// A new certificate is recorded.
    New(String),
    /// The certificate that this key has already: leaf and intermediate, in PEM.
    Again(String),
    /// It was not made.
    NotMade,
    /// There is no right to one.
    Refused(NotCertified),
}

/// Why a device is not given a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotCertified {
    /// No device of this id.
    NoSuchDevice,
    /// The device is disabled.
    DeviceDisabled,
    /// No such token, or another device's.
    TokenUnknown,
    /// The token has ended.
    TokenExpired,
    /// The token was taken back.
    TokenRevoked,
    /// The token was used, with another key.
    TokenUsed,
    /// The key had a certificate that was revoked.
    KeyRevoked,
    /// The key is another device's.
    KeyOfAnother,
    /// The certificate the device came in with is good no more.
    CertificateRefused,
    /// The secret the device came in with was taken back meanwhile.
    SecretRevoked,
    /// No certificate of the device is for this key, or a newer one is in use, or it has not expired.
    KeyUnknown,
    /// The certificate for this key expired too long ago.
    GraceOver,
}

impl NotCertified {
    /// A stable word for the audit log and for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchDevice => "no_such_device",
            Self::DeviceDisabled => "device_disabled",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::TokenUsed => "token_used",
            Self::KeyRevoked => "key_revoked",
            Self::KeyOfAnother => "key_of_another_device",
            Self::CertificateRefused => "certificate_refused",
            Self::SecretRevoked => "secret_revoked",
            Self::KeyUnknown => "key_unknown",
            Self::GraceOver => "grace_over",
        }
    }
}

/// A certificate that this key has had.
struct Known {
    serial: String,
    issued_at: i64,
    not_after: i64,
    chain: Option<String>,
    is_newest: bool,
}

impl Known {
    /// Whether it is sent again: it is the newest, and less than two thirds of its life are over.
    fn answer(&self, now: Timestamp) -> Option<String> {
        let due = self.issued_at.saturating_add(self.not_after.saturating_sub(self.issued_at) / 3 * 2);
        self.chain.clone().filter(|_| self.is_newest && to_nanoseconds(now) < due)
    }
}

impl Registry {
    /// Makes a token with which `device` gets one certificate, within `lifetime`. It is shown this once: the file has
    /// only its hash.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a device, [`StoreError::Invalid`] when it has 16 good ones already.
    pub fn create_enrolment_token(
        &self,
        device: &DeviceId,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(EnrolmentToken, Secret), StoreError> {
        let token = enrolment_token(device, random()?);
        let expires_at = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let number = self.write(|transaction| {
            if find_device(transaction, device)?.is_none() {
                return Err(Failure::not_found("device", device));
            }
            let good: i64 = transaction
                .prepare_cached(
                    "SELECT count(*) FROM enrolment_token
                     WHERE device = ?1 AND revoked_at IS NULL AND used_at IS NULL AND expires_at > ?2",
                )?
                .query_row(params![device.as_str(), to_nanoseconds(now)], |row| row.get(0))?;
            if good >= MAXIMUM_GOOD {
                let reason = "has 16 enrolment tokens that are good already; take them back first";
                return Err(Failure::Rule(StoreError::Invalid { what: "the device", reason }));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO enrolment_token (device, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    device.as_str(),
                    token_hash(token.expose()),
                    to_nanoseconds(now),
                    to_nanoseconds(expires_at)
                ])?;
            Ok(transaction.last_insert_rowid())
        })?;
        let (device, revoked_at, used_at) = (device.clone(), None, None);
        Ok((EnrolmentToken { number, device, created_at: now, expires_at, revoked_at, used_at }, token))
    }

    /// The enrolment tokens of a device, oldest first, those that are over too.
    pub fn enrolment_tokens(&self, device: &DeviceId) -> Result<Vec<EnrolmentToken>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, device, created_at, expires_at, revoked_at, used_at FROM enrolment_token
                 WHERE device = ?1 ORDER BY number",
            )?;
            let rows = statement.query_map([device.as_str()], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Takes back every enrolment token of a device that was not used. Returns how many were good.
    pub fn revoke_enrolment_tokens(&self, device: &DeviceId, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|transaction| Ok(revoke_tokens(transaction, device, now)?))
    }

    /// Decides on a request for a certificate. When there is a right to a new one, `make` makes it, with its chain in
    /// PEM, and it is recorded with the right used up; when `make` returns none, nothing has changed.
    ///
    /// # Errors
    /// When the registry cannot be written.
    pub fn certify(
        &self,
        request: &Certification<'_>,
        make: impl FnOnce() -> Option<(Certificate, String)>,
    ) -> Result<Certified, StoreError> {
        self.write(|transaction| certify(transaction, request, make))
    }
}

/// Takes back every token of a device that was not used. Returns how many were good.
pub(super) fn revoke_tokens(
    transaction: &Transaction<'_>,
    device: &DeviceId,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "UPDATE enrolment_token SET revoked_at = ?2
             WHERE device = ?1 AND revoked_at IS NULL AND used_at IS NULL AND expires_at > ?2",
        )?
        .execute(params![device.as_str(), to_nanoseconds(now)])
}

fn certify(
    transaction: &Transaction<'_>,
    request: &Certification<'_>,
    make: impl FnOnce() -> Option<(Certificate, String)>,
) -> Result<Certified, Failure> {
    let refused = |why| Ok(Certified::Refused(why));
    // First of all the right: whoever has none learns nothing of the device.
    let mut token = None;
    let mut is_repeated = false;
    match request.claim {
        Claim::Token(text) => match find_token(transaction, request, text)? {
            Ok((number, used)) => (token, is_repeated) = (Some(number), used),
            Err(why) => return refused(why),
        },
        Claim::Certificate(serial) => {
            let status = certificates::check(transaction, request.device, &normalised(serial), request.now)?;
            if !status.is_accepted() {
                return refused(match status {
                    CertificateStatus::DeviceDisabled => NotCertified::DeviceDisabled,
                    _ => NotCertified::CertificateRefused,
                });
            }
        }
        Claim::Secret(credential) => {
            if !is_valid(transaction, request.device, credential)? {
                return refused(NotCertified::SecretRevoked);
            }
        }
        Claim::Verified | Claim::ExpiredKey(_) => {}
    }
    match find_device(transaction, request.device)? {
        None if matches!(request.claim, Claim::ExpiredKey(_)) => return refused(NotCertified::KeyUnknown),
        None => return refused(NotCertified::NoSuchDevice),
        // Whoever has only a key is not told more of the device than of any other.
        Some(device) if !device.enabled && matches!(request.claim, Claim::ExpiredKey(_)) => {
            return refused(NotCertified::KeyUnknown);
        }
        Some(device) if !device.enabled => return refused(NotCertified::DeviceDisabled),
        Some(_) => {}
    }
    let known = match known(transaction, request)? {
        Ok(known) => known,
        // Another device's key is not told that this device exists.
        Err(NotCertified::KeyOfAnother) if matches!(request.claim, Claim::ExpiredKey(_)) => {
            return refused(NotCertified::KeyUnknown);
        }
        Err(why) => return refused(why),
    };
    if let Some(chain) = known.as_ref().and_then(|known| known.answer(request.now)) {
        if let (Some(number), false) = (token, is_repeated) {
            use_token(transaction, number, request)?;
        }
        return Ok(Certified::Again(chain));
    }
    if is_repeated {
        // What it was used for is no longer the newest certificate: it is not worth a second one.
        return refused(NotCertified::TokenUsed);
    }
    if let Claim::ExpiredKey(grace) = request.claim
        && let Err(why) = within_grace(transaction, request, known.as_ref(), grace)?
    {
        return refused(why);
    }
    let Some((certificate, chain)) = make() else { return Ok(Certified::NotMade) };
    certificates::insert(transaction, &certificate, Some(&chain))?;
    if let Some(number) = token {
        use_token(transaction, number, request)?;
    }
    Ok(Certified::New(chain))
}

/// The token, and whether it was used with this key already.
fn find_token(
    transaction: &Transaction<'_>,
    request: &Certification<'_>,
    text: &str,
) -> Result<Result<(i64, bool), NotCertified>, Failure> {
    let found = transaction
        .prepare_cached("SELECT number, device, expires_at, revoked_at, used_key FROM enrolment_token WHERE hash = ?1")?
        .query_row([token_hash(text)], |row| {
            let (number, device, expires_at) = (row.get(0)?, device_id(row, 1)?, row.get::<_, i64>(2)?);
            Ok((number, device, expires_at, row.get::<_, Option<i64>>(3)?, row.get::<_, Option<String>>(4)?))
        })
        .optional()?;
    Ok(match found {
        None => Err(NotCertified::TokenUnknown),
        Some((_, device, ..)) if device != *request.device => Err(NotCertified::TokenUnknown),
        Some((.., Some(_), _)) => Err(NotCertified::TokenRevoked),
        Some((.., Some(key))) if key != request.key_fingerprint => Err(NotCertified::TokenUsed),
        Some((_, _, expires_at, ..)) if expires_at <= to_nanoseconds(request.now) => Err(NotCertified::TokenExpired),
        Some((number, .., used_key)) => Ok((number, used_key.is_some())),
    })
}

fn use_token(transaction: &Transaction<'_>, number: i64, request: &Certification<'_>) -> Result<(), Failure> {
    transaction
        .prepare_cached("UPDATE enrolment_token SET used_at = ?2, used_key = ?3 WHERE number = ?1")?
        .execute(params![number, to_nanoseconds(request.now), request.key_fingerprint])?;
    Ok(())
}

/// The newest certificate for this key. A key that was revoked, or is another device's, gets no other.
fn known(
    transaction: &Transaction<'_>,
    request: &Certification<'_>,
) -> Result<Result<Option<Known>, NotCertified>, Failure> {
    let mut statement = transaction.prepare_cached(
        "SELECT device, serial, issued_at, not_after, chain, revoked_at,
                number = (SELECT max(number) FROM certificate WHERE device = ?2)
         FROM certificate WHERE key_fingerprint = ?1 ORDER BY number DESC",
    )?;
    let mut rows = statement.query(params![request.key_fingerprint, request.device.as_str()])?;
    let mut newest = None;
    while let Some(row) = rows.next()? {
        if row.get_ref(0)?.as_str().ok() != Some(request.device.as_str()) {
            return Ok(Err(NotCertified::KeyOfAnother));
        }
        if row.get::<_, Option<i64>>(5)?.is_some() {
            return Ok(Err(NotCertified::KeyRevoked));
        }
        if newest.is_none() {
            newest = Some(Known {
                serial: row.get(1)?,
                issued_at: row.get(2)?,
                not_after: row.get(3)?,
                chain: row.get(4)?,
                is_newest: row.get(6)?,
            });
        }
    }
    Ok(Ok(newest))
}

/// Whether the certificate for this key has expired a short while ago and would be the device's still.
fn within_grace(
    transaction: &Transaction<'_>,
    request: &Certification<'_>,
    known: Option<&Known>,
    grace: Duration,
) -> Result<Result<(), NotCertified>, Failure> {
    let now = to_nanoseconds(request.now);
    let Some(known) = known.filter(|known| known.not_after < now) else { return Ok(Err(NotCertified::KeyUnknown)) };
    // As it was judged in its last moment.
    let then = from_nanoseconds(known.not_after);
    if !certificates::check(transaction, request.device, &known.serial, then)?.is_accepted() {
        return Ok(Err(NotCertified::KeyUnknown));
    }
    let over = known.not_after.saturating_add(i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX));
    Ok(if over < now { Err(NotCertified::GraceOver) } else { Ok(()) })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<EnrolmentToken> {
    Ok(EnrolmentToken {
        number: row.get(0)?,
        device: device_id(row, 1)?,
        created_at: from_nanoseconds(row.get(2)?),
        expires_at: from_nanoseconds(row.get(3)?),
        revoked_at: row.get::<_, Option<i64>>(4)?.map(from_nanoseconds),
        used_at: row.get::<_, Option<i64>>(5)?.map(from_nanoseconds),
    })
}
