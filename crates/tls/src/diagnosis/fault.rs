//! What was wrong with a certificate that this end refused.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::{ServerName, UnixTime};

use crate::summary::CertificateSummary;

/// Why a certificate, or the chain behind it, was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// The listener requires a client certificate and none was presented.
    Missing,
    /// The certificate, or one of its issuers, is past its validity by our clock.
    Expired {
        /// Last moment of validity
        not_after: Timestamp,
        /// Our clock at the time
        now: Timestamp,
    },
    /// The validity of the certificate, or of one of its issuers, has not begun by our clock.
    NotYetValid {
        /// First moment of validity
        not_before: Timestamp,
        /// Our clock at the time
        now: Timestamp,
    },
    /// No path leads to one of our trust anchors.
    UnknownIssuer,
    /// The server is not known to its authority by the name we connected to.
    WrongName {
        /// The host we connected to
        expected: String,
        /// The names of the certificate
        presented: Vec<String>,
    },
    /// The certificate was issued for another purpose: a device's shown by a server, or the other way.
    WrongUsage,
    /// The issuer has taken the certificate back.
    Revoked,
    /// A signature in the chain, or the proof that the peer holds the key, is false.
    BadSignature,
    /// Anything else: a damaged certificate, an unknown critical extension, a forbidden algorithm.
    Other,
}

impl CertificateFault {
    pub(crate) fn new(error: &CertificateError, summary: Option<&CertificateSummary>) -> Self {
        match error {
            CertificateError::ExpiredContext { time, not_after } => {
                Self::Expired { not_after: timestamp(*not_after), now: timestamp(*time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Self::NotYetValid { not_before: timestamp(*not_before), now: timestamp(*time) }
            }
            CertificateError::Expired => match summary {
                Some(summary) => Self::Expired { not_after: summary.not_after, now: Timestamp::now() },
                None => Self::Other,
            },
            CertificateError::NotValidYet => match summary {
                Some(summary) => Self::NotYetValid { not_before: summary.not_before, now: Timestamp::now() },
                None => Self::Other,
            },
            CertificateError::NotValidForNameContext { expected, .. } => Self::WrongName {
                expected: host(expected),
                presented: summary.map(CertificateSummary::names).unwrap_or_default(),
            },
            CertificateError::NotValidForName => Self::WrongName {
                expected: String::new(),
                presented: summary.map(CertificateSummary::names).unwrap_or_default(),
            },
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::WrongUsage,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadSignature => Self::BadSignature,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("none was presented and one is required"),
            Self::Expired { not_after, now } => {
                write!(formatter, "expired at {not_after}, our clock says {now}")
            }
            Self::NotYetValid { not_before, now } => {
                write!(formatter, "not valid before {not_before}, our clock says {now}")
            }
            Self::UnknownIssuer => formatter.write_str("unknown issuer"),
            Self::WrongName { expected, .. } => {
                write!(formatter, "wrong name: it is not valid for \"{expected}\"")
            }
            Self::WrongUsage => formatter.write_str("issued for another purpose"),
            Self::Revoked => formatter.write_str("revoked"),
            Self::BadSignature => formatter.write_str("bad signature"),
            Self::Other => formatter.write_str("invalid"),
        }
    }
}

fn host(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
        name => name.to_str().into_owned(),
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(Timestamp::MAX)
}
