//! What was wrong with a certificate that this end refused.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::{ServerName, UnixTime};

use crate::chain::ChainEnd;
use crate::summary::CertificateSummary;

/// Why a certificate, or the chain behind it, was refused.
///
/// `Display` begins with the words of the wire contract, section 8: `not trusted`, `wrong name`, `expired`,
/// `not yet valid`.
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
        /// It is an issuer of the certificate that expired, not the certificate itself
        of_issuer: bool,
    },
    /// The validity of the certificate, or of one of its issuers, has not begun by our clock.
    NotYetValid {
        /// First moment of validity
        not_before: Timestamp,
        /// Our clock at the time
        now: Timestamp,
        /// It is an issuer of the certificate whose time has not come, not the certificate itself
        of_issuer: bool,
    },
    /// The chain leads to an authority that is not one of ours.
    UnknownIssuer {
        /// The name at the end of the chain; none when the chain could not be followed
        issuer: Option<String>,
    },
    /// The certificate came without its issuer, and the issuer is not one of our anchors: an intermediate is missing,
    /// or the authority is unknown. The certificate alone cannot tell which.
    IncompleteChain {
        /// The name of the issuer
        issuer: String,
    },
    /// The certificate names itself as its issuer.
    SelfSigned,
    /// The chain leads to the name of one of our anchors and was signed with another key: the authority was made anew,
    /// or somebody pretends to be it.
    IssuerKeyDiffers {
        /// The name
        issuer: String,
    },
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
    pub(crate) fn new(
        error: &CertificateError,
        summary: Option<&CertificateSummary>,
        chain_end: Option<ChainEnd>,
    ) -> Self {
        match error {
            CertificateError::ExpiredContext { time, not_after } => {
                let not_after = timestamp(*not_after);
                let of_issuer = summary.is_some_and(|summary| summary.not_after != not_after);
                Self::Expired { not_after, now: timestamp(*time), of_issuer }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let not_before = timestamp(*not_before);
                let of_issuer = summary.is_some_and(|summary| summary.not_before != not_before);
                Self::NotYetValid { not_before, now: timestamp(*time), of_issuer }
            }
            CertificateError::Expired => match summary {
                Some(summary) => {
                    Self::Expired { not_after: summary.not_after, now: Timestamp::now(), of_issuer: false }
                }
                None => Self::Other,
            },
            CertificateError::NotValidYet => match summary {
                Some(summary) => {
                    Self::NotYetValid { not_before: summary.not_before, now: Timestamp::now(), of_issuer: false }
                }
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
            CertificateError::UnknownIssuer => Self::untrusted(chain_end),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::WrongUsage,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadSignature => match chain_end {
                Some(end @ ChainEnd::OtherKey { .. }) => Self::untrusted(Some(end)),
                _ => Self::BadSignature,
            },
            // What `openssl req -x509` makes is an authority, and an authority is no server: webpki says that first.
            _ => match chain_end {
                Some(ChainEnd::SelfSigned) => Self::SelfSigned,
                _ => Self::Other,
            },
        }
    }

    /// Whether the certificate is good and the time is wrong.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::NotYetValid { .. })
    }

    fn untrusted(chain_end: Option<ChainEnd>) -> Self {
        match chain_end {
            Some(ChainEnd::SelfSigned) => Self::SelfSigned,
            Some(ChainEnd::Alone { issuer }) => Self::IncompleteChain { issuer },
            Some(ChainEnd::OtherKey { issuer }) => Self::IssuerKeyDiffers { issuer },
            Some(ChainEnd::Stranger { issuer }) => Self::UnknownIssuer { issuer: Some(issuer) },
            None => Self::UnknownIssuer { issuer: None },
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("none was presented and one is required"),
            Self::Expired { not_after, now, of_issuer } => {
                let off = apart(*not_after, *now);
                let whose = whose(*of_issuer);
                write!(formatter, "expired: this machine's clock says {now}, {whose} is valid until {not_after}: {off}")
            }
            Self::NotYetValid { not_before, now, of_issuer } => {
                let off = apart(*not_before, *now);
                let whose = whose(*of_issuer);
                write!(
                    formatter,
                    "not yet valid: this machine's clock says {now}, {whose} is valid from {not_before}: {off}"
                )
            }
            Self::UnknownIssuer { issuer: Some(issuer) } => {
                write!(formatter, "not trusted: unknown issuer: its chain leads to \"{issuer}\"")
            }
            Self::UnknownIssuer { issuer: None } => formatter.write_str("not trusted: unknown issuer"),
            Self::IncompleteChain { issuer } => write!(
                formatter,
                "not trusted: unknown issuer or incomplete chain: it came without the certificate of its issuer \"{issuer}\""
            ),
            Self::SelfSigned => formatter.write_str("not trusted: self-signed"),
            Self::IssuerKeyDiffers { issuer } => {
                write!(
                    formatter,
                    "not trusted: its issuer \"{issuer}\" has the name of a trusted authority, not its key"
                )
            }
            Self::WrongName { expected, .. } => {
                write!(formatter, "wrong name: it is not valid for \"{expected}\"")
            }
            Self::WrongUsage => formatter.write_str("not trusted: issued for another purpose"),
            Self::Revoked => formatter.write_str("revoked"),
            Self::BadSignature => formatter.write_str("not trusted: bad signature"),
            Self::Other => formatter.write_str("not trusted: invalid"),
        }
    }
}

fn whose(of_issuer: bool) -> &'static str {
    if of_issuer { "the certificate of its issuer" } else { "the certificate" }
}

/// How far a clock is from a certificate's time, in the largest unit of which there are at least two.
fn apart(validity: Timestamp, clock: Timestamp) -> String {
    let seconds = clock.as_second().abs_diff(validity.as_second());
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("off by about {count} {unit}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_a_number_one_can_picture() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, words) in [(5, "5 seconds"), (150, "2 minutes"), (10_800, "3 hours"), (864_000, "10 days")] {
            assert_eq!(apart(at(0), at(seconds)), format!("off by about {words}"));
            assert_eq!(apart(at(seconds), at(0)), format!("off by about {words}"));
        }
    }
}
