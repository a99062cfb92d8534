//! The verb *list*: which certificates are taken back, for verifiers that are not the platform (RFC 5280, section 5).
//!
//! The platform itself asks its registry at every login and needs no list.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use crate::authority::Authority;
use crate::error::IssueError;
use crate::profile::date_time;
use crate::serial::Serial;

/// How long a list is good: whoever fetched it must fetch another by then.
pub const LIST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Which
    pub serial: Serial,
    /// When
    pub at: Timestamp,
}

/// A revocation list, signed by the intermediate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// DER
    pub der: Vec<u8>,
    /// The same as PEM
    pub pem: String,
}

impl Authority {
    /// Signs the list of certificates that are taken back, as of `now`. Its number is the time in seconds, so that it
    /// rises with no counter to keep.
    ///
    /// # Errors
    /// The list could not be made.
    pub fn revocation_list(&self, revoked: &[Revoked], now: Timestamp) -> Result<RevocationList, IssueError> {
        let entry = |revoked: &Revoked| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(revoked.serial.as_bytes()),
                revocation_time: date_time(revoked.at)?.to_datetime(),
                reason_code: None,
                invalidity_date: None,
            })
        };
        let make = || {
            let next = now.checked_add(LIST_LIFETIME).map_err(|_| rcgen::Error::Time)?;
            let list = CertificateRevocationListParams {
                this_update: date_time(now)?.to_datetime(),
                next_update: date_time(next)?.to_datetime(),
                crl_number: SerialNumber::from(u64::try_from(now.as_second()).unwrap_or(0)),
                issuing_distribution_point: None,
                revoked_certs: revoked.iter().map(entry).collect::<Result<_, rcgen::Error>>()?,
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let list = list.signed_by(&self.issuer)?;
            Ok(RevocationList { pem: list.pem()?, der: list.der().as_ref().to_vec() })
        };
        make().map_err(IssueError::Sign)
    }
}
