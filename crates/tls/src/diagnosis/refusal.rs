//! What a fatal alert of the peer means.

use std::fmt;

use rustls::AlertDescription;

use crate::diagnosis::Step;
use crate::observe::Shown;

/// Why the peer refused, as far as its alert says (RFC 8446 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `certificate_required`: a server wants a client certificate.
    ClientCertificateRequired,
    /// `handshake_failure` after the server had asked for a client certificate and was shown none: how TLS 1.2 says
    /// that it requires one.
    ClientCertificateMissing,
    /// `handshake_failure` after the server was shown our certificate, and it says no more.
    ClientCertificateNotAccepted,
    /// `certificate_expired`: ours is outside of its validity by the peer's clock.
    CertificateExpired,
    /// `unknown_ca`: the peer does not know the issuer of ours.
    UnknownAuthority,
    /// `certificate_revoked`: ours was taken back.
    CertificateRevoked,
    /// `bad_certificate`, `certificate_unknown`: the peer does not accept ours and says no more.
    BadCertificate,
    /// `unsupported_certificate`: ours is of a kind the peer does not take, or for another purpose.
    UnsupportedCertificate,
    /// `decrypt_error`: a signature of ours did not verify: key and certificate do not belong together.
    BadSignature,
    /// `protocol_version`: no TLS version in common.
    ProtocolVersion,
    /// `handshake_failure`, `insufficient_security`: no cipher suite, group or signature in common.
    HandshakeFailure,
    /// `access_denied`: the peer does not want us, or has no certificate to show.
    AccessDenied,
    /// `unrecognized_name`: the server serves no such host.
    UnrecognisedName,
    /// `no_application_protocol`: the server speaks none of the application protocols offered.
    NoApplicationProtocol,
    /// `internal_error`: the peer has a problem of its own.
    InternalError,
    /// Any other alert.
    Other(AlertDescription),
}

impl Refusal {
    /// The step at which a peer normally sends it.
    pub fn step(self) -> Step {
        match self {
            Self::ClientCertificateRequired
            | Self::ClientCertificateMissing
            | Self::ClientCertificateNotAccepted
            | Self::CertificateExpired
            | Self::UnknownAuthority
            | Self::CertificateRevoked
            | Self::BadCertificate
            | Self::UnsupportedCertificate
            | Self::BadSignature => Step::ClientCertificate,
            _ => Step::Hello,
        }
    }

    /// What `alert` means to an end that was asked for its certificate, or was not.
    pub(crate) fn of(alert: AlertDescription, shown: Option<Shown>) -> Self {
        match (Self::from(alert), shown) {
            (Self::HandshakeFailure, Some(Shown::Nothing)) => Self::ClientCertificateMissing,
            (Self::HandshakeFailure, Some(Shown::Certificate)) => Self::ClientCertificateNotAccepted,
            (refusal, _) => refusal,
        }
    }
}

impl From<AlertDescription> for Refusal {
    fn from(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Self::ClientCertificateRequired,
            AlertDescription::CertificateExpired => Self::CertificateExpired,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::CertificateRevoked => Self::CertificateRevoked,
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => Self::BadCertificate,
            AlertDescription::UnsupportedCertificate => Self::UnsupportedCertificate,
            AlertDescription::DecryptError => Self::BadSignature,
            AlertDescription::ProtocolVersion => Self::ProtocolVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => Self::HandshakeFailure,
            AlertDescription::AccessDenied => Self::AccessDenied,
            AlertDescription::UnrecognisedName => Self::UnrecognisedName,
            AlertDescription::NoApplicationProtocol => Self::NoApplicationProtocol,
            AlertDescription::InternalError => Self::InternalError,
            alert => Self::Other(alert),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ClientCertificateRequired | Self::ClientCertificateMissing => {
                "it requires a client certificate and none was shown"
            }
            Self::CertificateExpired => "our certificate is outside of its validity by its clock",
            Self::UnknownAuthority => "it does not know the authority that issued our certificate",
            Self::CertificateRevoked => "our certificate is revoked",
            Self::BadCertificate | Self::ClientCertificateNotAccepted => "it does not accept our certificate",
            Self::UnsupportedCertificate => "our certificate is for another purpose, or of a kind it does not accept",
            Self::BadSignature => "our key does not prove our certificate",
            Self::ProtocolVersion => "no TLS version in common",
            Self::HandshakeFailure => "handshake failure",
            Self::AccessDenied => "access denied",
            Self::UnrecognisedName => "it serves no host of this name",
            Self::NoApplicationProtocol => "no application protocol in common",
            Self::InternalError => "it has an internal error",
            Self::Other(alert) => return write!(formatter, "alert {}", u8::from(*alert)),
        })
    }
}
