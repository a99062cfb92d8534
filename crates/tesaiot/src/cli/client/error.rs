//! What can go wrong between an operator and the platform, and what to do about it.

use std::io;
use std::path::PathBuf;

use tesaiot_tls::{ConfigError, Diagnosis};

use crate::exit;

/// Why the platform did not do what an operator asked. Every variant has a hint and an exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No address was given, and this machine's data directory names none.
    #[error("no platform to talk to: there is no {}", path.display())]
    NoPlatform {
        /// Where the platform of this machine would have left its address
        path: PathBuf,
    },
    /// There is no data directory to look in: neither `XDG_DATA_HOME` nor `HOME` is set.
    #[error("no platform to talk to: this user has no data directory")]
    NoDataDirectory,
    /// The address was given without a token.
    #[error("no token for {url}")]
    NoToken {
        /// The platform
        url: String,
    },
    /// The address was given without a file of trust anchors.
    #[error("nothing to verify {url} with")]
    NoTrust {
        /// The platform
        url: String,
    },
    /// The address is not `https://HOST[:PORT]`.
    #[error("\"{url}\" is not the address of a platform")]
    InvalidUrl {
        /// What was given
        url: String,
    },
    /// The token holds something that no HTTP header can carry.
    #[error("the token is not a token: it holds a space or a control character, or nothing")]
    InvalidToken,
    /// A file that names the platform or its authority cannot be read.
    #[error("File not readable: {}", path.display())]
    File {
        /// Which file
        path: PathBuf,
        /// Why
        #[source]
        source: io::Error,
    },
    /// The platform's note for operators of this machine is damaged.
    #[error("{} is damaged", path.display())]
    DamagedNote {
        /// Which file
        path: PathBuf,
        /// Where
        #[source]
        source: serde_json::Error,
    },
    /// The file of trust anchors holds nothing to trust.
    #[error("{} holds no trust anchors", path.display())]
    Trust {
        /// Which file
        path: PathBuf,
        /// Why not
        #[source]
        source: ConfigError,
    },
    /// The host of the address has no IP address.
    #[error("{host}: no such host")]
    HostNotFound {
        /// The host
        host: String,
    },
    /// No connection, or it broke.
    #[error("{url} was not reached")]
    Unreachable {
        /// The platform
        url: String,
        /// What the operating system says
        #[source]
        source: io::Error,
    },
    /// The platform took too long.
    #[error("{url} did not answer in time")]
    TimedOut {
        /// The platform
        url: String,
    },
    /// TLS with the platform failed.
    #[error("{url}: {}{diagnosis}", verify_failed(diagnosis))]
    Tls {
        /// The platform
        url: String,
        /// Who refused what
        diagnosis: Box<Diagnosis>,
    },
    /// Something answers there that does not speak the platform's HTTP.
    #[error("{url} answered with something else than a platform does: {what}")]
    NotAPlatform {
        /// The platform
        url: String,
        /// What was wrong with the answer
        what: String,
    },
    /// 401: the token is not known.
    #[error("{url} does not accept the token")]
    Unauthorised {
        /// The platform
        url: String,
    },
    /// 403: the token's role does not allow it.
    #[error("not allowed: {reason}")]
    Forbidden {
        /// What the platform says
        reason: String,
    },
    /// Any other refusal, in the platform's words.
    #[error("refused by the platform: {reason}")]
    Refused {
        /// HTTP status, 400 to 499
        status: u16,
        /// What the platform says
        reason: String,
    },
    /// The platform has a problem of its own.
    #[error("the platform failed ({status}): {reason}")]
    Failed {
        /// HTTP status, 500 to 599
        status: u16,
        /// What the platform says
        reason: String,
    },
}

/// The words that people search for (the wire contract, section 8).
fn verify_failed(diagnosis: &Diagnosis) -> &'static str {
    match diagnosis {
        Diagnosis::ServerCertificate(..) => "Certificate verify failed: ",
        _ => "",
    }
}

impl ClientError {
    /// What to do now, when the message does not say it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPlatform { .. } | Self::NoDataDirectory => {
                "start one here with `tesaiot up`, or name one: --url https://HOST:8443 --token TOKEN --ca ca-chain.pem \
                 (--data-dir when it keeps its data elsewhere)"
                    .to_owned()
            }
            Self::NoToken { .. } => "give --token or TESAIOT_TOKEN: POST /api/v1/auth/login returns one".to_owned(),
            Self::NoTrust { .. } => {
                "give --ca or TESAIOT_CA_CERT: the platform's ca-chain.pem, as it is in every bundle".to_owned()
            }
            Self::InvalidUrl { .. } => "write it as https://HOST:8443, with no path behind it".to_owned(),
            Self::InvalidToken => "give the token alone, without quotes or `Bearer`".to_owned(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run this as the user whose platform it is, or give --url, --token and --ca".to_owned()
            }
            Self::File { .. } | Self::Trust { .. } => "check the path of --ca or TESAIOT_CA_CERT".to_owned(),
            Self::DamagedNote { .. } => "restart the platform: it writes this file at every start".to_owned(),
            Self::HostNotFound { .. } => "check the host of --url, and this machine's name service".to_owned(),
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there: is the platform running? Start it with `tesaiot up`, or check --url".to_owned()
            }
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check host and port of --url, the network, and that the platform is running".to_owned()
            }
            Self::Tls { diagnosis, .. } => diagnosis.hint().to_owned(),
            Self::NotAPlatform { .. } => "check the port of --url: 8443 is the platform's default".to_owned(),
            Self::Unauthorised { .. } => {
                "log in again (POST /api/v1/auth/login) and give the new token with --token or TESAIOT_TOKEN".to_owned()
            }
            Self::Forbidden { .. } => "use the token of a user whose role allows it".to_owned(),
            Self::Refused { status: 404, .. } => "`tesaiot device list` shows the devices there are".to_owned(),
            Self::Refused { .. } => return None,
            Self::Failed { .. } => "look at the platform's log".to_owned(),
        })
    }

    /// The number to end with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoPlatform { .. } | Self::NoDataDirectory | Self::Unreachable { .. } | Self::TimedOut { .. } => {
                exit::NETWORK
            }
            Self::HostNotFound { .. } | Self::NotAPlatform { .. } => exit::NETWORK,
            Self::NoToken { .. } | Self::NoTrust { .. } | Self::InvalidUrl { .. } | Self::InvalidToken => exit::USAGE,
            Self::File { .. } | Self::DamagedNote { .. } | Self::Trust { .. } => exit::FILE,
            Self::Tls { diagnosis, .. } => match **diagnosis {
                Diagnosis::ServerCertificate(..) => exit::SERVER_CERTIFICATE,
                Diagnosis::PeerRefused(_) => exit::NOT_AUTHORISED,
                _ => exit::NETWORK,
            },
            Self::Unauthorised { .. } | Self::Forbidden { .. } => exit::NOT_AUTHORISED,
            Self::Refused { .. } => exit::REFUSED,
            Self::Failed { .. } => exit::FAILURE,
        }
    }

    /// Whether the same request may succeed later with nothing changed at this end.
    pub(crate) fn retry_may_help(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::HostNotFound { .. } | Self::Failed { .. } => true,
            Self::Tls { diagnosis, .. } => diagnosis.retry_may_help(),
            _ => false,
        }
    }
}
