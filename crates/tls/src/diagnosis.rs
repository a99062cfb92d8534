//! Who refused what, and at which step: the failures of TLS as a type.
//!
//! Everything is read from typed errors (`rustls::Error`, alerts, `io::ErrorKind`), never from
//! their text.

pub(crate) mod fault;
mod hint;
pub(crate) mod refusal;

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{InvalidMessage, PeerIncompatible};

use crate::diagnosis::fault::CertificateFault;
use crate::diagnosis::refusal::Refusal;
use crate::observe::Observed;
use crate::summary::CertificateSummary;

/// Which end of the connection we were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that connected
    Client,
    /// The end that accepted
    Server,
}

/// Which end ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// We refused
    Local,
    /// The peer refused
    Peer,
    /// Nobody said so: the connection broke, or stayed silent
    Network,
}

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Agreeing on version and suite
    Hello,
    /// The client judges the server's certificate
    ServerCertificate,
    /// The server judges the client's certificate, and both finish
    ClientCertificate,
    /// After the handshake
    Established,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hello => "hello",
            Self::ServerCertificate => "server certificate",
            Self::ClientCertificate => "client certificate",
            Self::Established => "established connection",
        })
    }
}

/// Why a handshake failed, or an established connection was refused after all.
///
/// `Display` is one line for a log; [`hint`](Self::hint) says what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Diagnosis {
    /// What the peer sent is not TLS: another protocol listens, or connects, there.
    NotTls,
    /// We refused the server's certificate, which said this.
    ServerCertificate(CertificateFault, Option<Box<CertificateSummary>>),
    /// We refused the client's certificate, which said this.
    ClientCertificate(CertificateFault, Option<Box<CertificateSummary>>),
    /// The peer sent a fatal alert.
    PeerRefused(Refusal),
    /// The peer speaks no TLS version that we accept.
    ProtocolVersion,
    /// The peer speaks no suite, group or signature scheme that we accept.
    NothingInCommon(PeerIncompatible),
    /// The client offers none of the application protocols of this listener.
    ApplicationProtocol,
    /// This server has no certificate yet.
    NoServerIdentity,
    /// The host to connect to is neither a DNS name nor an IP address.
    InvalidHost,
    /// The peer speaks TLS and broke its rules.
    Misbehaved {
        /// How far it had come
        step: Step,
    },
    /// The peer closed the connection without saying why.
    ConnectionClosed {
        /// How far it had come
        step: Step,
    },
    /// The deadline passed.
    TimedOut {
        /// How far it had come
        step: Step,
    },
    /// The operating system reported an error.
    Io {
        /// Which
        kind: io::ErrorKind,
        /// How far it had come
        step: Step,
    },
    /// Something on our own side failed: the random number generator, the clock.
    Internal,
}

impl Diagnosis {
    /// Which end ended it.
    pub fn side(&self) -> Side {
        match self {
            Self::PeerRefused(_) => Side::Peer,
            Self::ConnectionClosed { .. } | Self::TimedOut { .. } | Self::Io { .. } => Side::Network,
            _ => Side::Local,
        }
    }

    /// How far the connection had come.
    pub fn step(&self) -> Step {
        match self {
            Self::ServerCertificate(..) | Self::NoServerIdentity => Step::ServerCertificate,
            Self::ClientCertificate(..) => Step::ClientCertificate,
            Self::PeerRefused(refusal) => refusal.step(),
            Self::Misbehaved { step }
            | Self::ConnectionClosed { step }
            | Self::TimedOut { step }
            | Self::Io { step, .. } => *step,
            Self::NotTls
            | Self::ProtocolVersion
            | Self::NothingInCommon(_)
            | Self::ApplicationProtocol
            | Self::InvalidHost
            | Self::Internal => Step::Hello,
        }
    }

    /// Whether the same attempt may succeed later with nothing changed by a person at this end.
    pub fn retry_may_help(&self) -> bool {
        matches!(
            self,
            Self::ConnectionClosed { .. }
                | Self::TimedOut { .. }
                | Self::Io { .. }
                | Self::NoServerIdentity
                | Self::Internal
                | Self::PeerRefused(Refusal::InternalError)
        )
    }

    /// The certificate that we refused, when it could be read.
    pub fn certificate(&self) -> Option<&CertificateSummary> {
        match self {
            Self::ServerCertificate(_, summary) | Self::ClientCertificate(_, summary) => summary.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => formatter.write_str("the peer does not speak TLS on this port"),
            Self::ServerCertificate(fault, summary) => {
                write!(formatter, "server certificate refused: {fault}")?;
                with_summary(formatter, summary.as_deref())
            }
            Self::ClientCertificate(fault, summary) => {
                write!(formatter, "client certificate refused: {fault}")?;
                with_summary(formatter, summary.as_deref())
            }
            Self::PeerRefused(refusal) => write!(formatter, "refused by the peer: {refusal}"),
            Self::ProtocolVersion => formatter.write_str("the peer offers no TLS version that is accepted here"),
            Self::NothingInCommon(_) => {
                formatter.write_str("the peer offers no cipher suite, group or signature accepted here")
            }
            Self::ApplicationProtocol => formatter.write_str("the client offers no application protocol served here"),
            Self::NoServerIdentity => formatter.write_str("this server has no certificate to show yet"),
            Self::InvalidHost => formatter.write_str("the host is neither a DNS name nor an IP address"),
            Self::Misbehaved { step } => write!(formatter, "the peer broke the rules of TLS (step: {step})"),
            Self::ConnectionClosed { step } => {
                write!(formatter, "the peer closed the connection (step: {step})")
            }
            Self::TimedOut { step } => write!(formatter, "the peer did not answer in time (step: {step})"),
            Self::Io { kind, step } => write!(formatter, "the connection failed: {kind} (step: {step})"),
            Self::Internal => formatter.write_str("TLS failed on this side"),
        }
    }
}

fn with_summary(formatter: &mut fmt::Formatter<'_>, summary: Option<&CertificateSummary>) -> fmt::Result {
    match summary {
        Some(summary) => write!(formatter, " ({summary})"),
        None => Ok(()),
    }
}

/// Explains an error of reading or writing an established TLS connection; none when it does not
/// come from TLS.
///
/// With TLS 1.3 this is where a client learns that its certificate was refused.
pub fn diagnose_io(error: &io::Error) -> Option<Diagnosis> {
    diagnose_error(error)
}

/// Explains any error that has a TLS error somewhere in its chain of sources, as those of HTTP
/// libraries do; none when there is none. Certificates in it are taken for the server's.
pub fn diagnose_error(error: &(dyn StdError + 'static)) -> Option<Diagnosis> {
    let error = find_rustls_error(error)?;
    Some(of_rustls(error, Role::Client, Step::Established, &Observed::default()))
}

pub(crate) fn of_handshake(error: &io::Error, role: Role, step: Step, seen: &Observed) -> Diagnosis {
    if seen.identity_missing {
        return Diagnosis::NoServerIdentity;
    }
    if let Some(error) = find_rustls_error(error) {
        return of_rustls(error, role, step, seen);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Diagnosis::ConnectionClosed { step },
        io::ErrorKind::TimedOut => Diagnosis::TimedOut { step },
        kind => Diagnosis::Io { kind, step },
    }
}

fn find_rustls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // The source of an io::Error is the source of what it wraps: that itself is skipped.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn of_rustls(error: &rustls::Error, role: Role, step: Step, seen: &Observed) -> Diagnosis {
    use rustls::Error;
    let summary = || {
        let certificate = seen.certificate.as_ref()?;
        CertificateSummary::from_der(certificate).ok().map(Box::new)
    };
    let refused = |fault, summary| match role {
        Role::Client => Diagnosis::ServerCertificate(fault, summary),
        Role::Server => Diagnosis::ClientCertificate(fault, summary),
    };
    match error {
        Error::AlertReceived(alert) => Diagnosis::PeerRefused(Refusal::of(*alert, seen.client_certificate)),
        Error::NoCertificatesPresented => refused(CertificateFault::Missing, None),
        Error::InvalidCertificate(reason) => {
            let summary = summary();
            let fault = CertificateFault::new(reason, summary.as_deref(), seen.chain_end.clone());
            refused(fault, summary)
        }
        Error::UnsupportedNameType => Diagnosis::InvalidHost,
        Error::PeerIncompatible(reason) => incompatible(reason),
        Error::NoApplicationProtocol => Diagnosis::ApplicationProtocol,
        Error::InvalidMessage(reason) if is_not_tls(reason, step) => Diagnosis::NotTls,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Diagnosis::Misbehaved { step },
        _ => Diagnosis::Internal,
    }
}

fn incompatible(reason: &PeerIncompatible) -> Diagnosis {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Diagnosis::ProtocolVersion,
        reason => Diagnosis::NothingInCommon(reason.clone()),
    }
}

/// Before the first hello, bytes that do not even frame as a TLS record are another protocol.
fn is_not_tls(reason: &InvalidMessage, step: Step) -> bool {
    step == Step::Hello
        && matches!(
            reason,
            InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload
        )
}
