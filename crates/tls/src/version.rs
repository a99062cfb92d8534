//! Which TLS versions an end speaks.

use std::fmt;
use std::str::FromStr;

use rustls::SupportedProtocolVersion;

/// One version of TLS. Written `tlsv1.2` and `tlsv1.3`, as the publish command takes it
/// (the wire contract, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    Tls12,
    /// TLS 1.3 (RFC 8446)
    Tls13,
}

impl TlsVersion {
    /// The version that a finished handshake agreed on; none for one that no configuration of
    /// this crate can negotiate.
    pub fn negotiated(version: Option<rustls::ProtocolVersion>) -> Option<Self> {
        match version? {
            rustls::ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tls12 => "tlsv1.2",
            Self::Tls13 => "tlsv1.3",
        })
    }
}

/// A TLS version that this program does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown TLS version {0:?}: expected tlsv1.2 or tlsv1.3")]
pub struct UnknownTlsVersion(String);

impl FromStr for TlsVersion {
    type Err = UnknownTlsVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tlsv1.2" => Ok(Self::Tls12),
            "tlsv1.3" => Ok(Self::Tls13),
            _ => Err(UnknownTlsVersion(text.to_owned())),
        }
    }
}

/// The versions a configuration offers or accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Versions {
    /// TLS 1.3, and TLS 1.2 for peers that have no better
    #[default]
    Both,
    /// Exactly this one; a peer without it is refused
    Only(TlsVersion),
}

impl Versions {
    pub(crate) fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Both => BOTH,
            Self::Only(TlsVersion::Tls12) => ONLY_12,
            Self::Only(TlsVersion::Tls13) => ONLY_13,
        }
    }
}

impl From<TlsVersion> for Versions {
    fn from(version: TlsVersion) -> Self {
        Self::Only(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_prints_as_it_is_parsed() {
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert!("tlsv1.1".parse::<TlsVersion>().is_err());
        assert!("TLSv1.3".parse::<TlsVersion>().is_err());
    }
}
