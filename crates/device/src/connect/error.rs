//! Why a stream could not be opened, in the words of the wire contract, section 8.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use tesaiot_tls::{CertificateFault, Diagnosis, HandshakeError};

use super::proxy::ProxyFault;
use super::tls_words::{tls_hint, tls_message};

/// The steps of opening a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Host name to addresses
    Dns,
    /// Address to a TCP connection
    Tcp,
    /// A connection to a proxy to one through it
    Proxy,
    /// TCP to TLS
    Tls,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
        })
    }
}

/// A stream that could not be opened.
#[derive(Debug)]
pub struct ConnectError {
    /// How far it came
    pub step: Step,
    /// The host asked for
    pub host: String,
    /// The port asked for
    pub port: u16,
    /// The proxy that the step was about
    pub proxy: Option<String>,
    /// What happened
    pub cause: Cause,
}

/// What ended an attempt.
#[derive(Debug)]
pub enum Cause {
    /// The operating system reported an error.
    Io(io::Error),
    /// The host name exists and has no address.
    NoAddress,
    /// The deadline of the step passed; this long it was.
    TimedOut(Duration),
    /// The proxy refused, or is none.
    Proxy(ProxyFault),
    /// The handshake failed; the diagnosis says who refused what.
    Tls(Box<HandshakeError>),
}

impl ConnectError {
    /// Who refused what, when the handshake failed.
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        match &self.cause {
            Cause::Tls(error) => Some(&error.diagnosis),
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match (&self.cause, self.step) {
            (Cause::Tls(error), _) => tls_hint(&error.diagnosis),
            (Cause::Proxy(fault), _) => fault.hint(),
            _ if self.proxy.is_some() => {
                "check host and port of the proxy: --proxy, HTTPS_PROXY or ALL_PROXY; --proxy none does without"
            }
            (_, Step::Dns) | (Cause::NoAddress, _) => "check host and port: the host name is not known here",
            (Cause::TimedOut(_), _) => "check host and port: nothing answers there; a firewall may be in between",
            (Cause::Io(error), _) if is_unreachable(error) => {
                "check host and port, and the network: no way leads there"
            }
            (Cause::Io(_), _) => "check host and port: is the broker running there?",
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, host, port, proxy, cause } = self;
        if let Some(proxy) = proxy {
            return match cause {
                Cause::Proxy(fault) => write!(f, "Proxy refused: {proxy}, on the way to {host}:{port}: {fault}"),
                Cause::Io(error) if *step == Step::Dns => write!(f, "Proxy not found: {proxy}: {}", os_words(error)),
                Cause::Io(error) => write!(f, "Proxy not reached: {proxy}: {}", os_words(error)),
                Cause::TimedOut(after) => {
                    write!(
                        f,
                        "Proxy timed out: {proxy}, on the way to {host}:{port}: no answer within {after:?} (step: {step})"
                    )
                }
                _ => write!(f, "Proxy not found: {proxy}: it has no address"),
            };
        }
        match cause {
            Cause::Io(error) if *step == Step::Dns => write!(f, "Host not found: {host}:{port}: {}", os_words(error)),
            Cause::Io(error) => write!(f, "{}: {host}:{port}", os_words(error)),
            Cause::NoAddress => write!(f, "Host not found: {host}:{port}: it has no address"),
            Cause::TimedOut(after) => {
                write!(f, "Connection timed out: {host}:{port}: no answer within {after:?} (step: {step})")
            }
            Cause::Tls(error) => f.write_str(&tls_message(&error.diagnosis, host, *port)),
            Cause::Proxy(fault) => write!(f, "{fault}"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Tls(error) if is_vague(&error.diagnosis) => error.source(),
            // The message says it all.
            _ => None,
        }
    }
}

/// Whether the words of the TLS library add something to the diagnosis.
fn is_vague(diagnosis: &Diagnosis) -> bool {
    match diagnosis {
        Diagnosis::ServerCertificate(fault, _) => *fault == CertificateFault::Other,
        Diagnosis::NothingInCommon(_) | Diagnosis::Misbehaved { .. } | Diagnosis::Internal => true,
        _ => false,
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable)
}

/// The operating system's words without its number: `Connection refused`.
pub(crate) fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
