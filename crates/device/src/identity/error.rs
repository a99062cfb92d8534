//! Why a device has no certificate, or no new one.

use std::io;
use std::path::PathBuf;

use tesaiot_contract::bundle::BundleError;
use tesaiot_tls::ConfigError;

use crate::credentials::CredentialsError;
use crate::https::PostError;

/// An enrolment or a renewal that failed. What the device had before, it still has.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomNumbers,
    /// The key is of a kind that is not handled here.
    #[error("the private key is not a P-256 key in PKCS #8")]
    KeyKind,
    /// A file cannot be read or written.
    #[error("File not usable: {}", path.display())]
    File {
        /// The file or directory
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// What is kept there could be another user's.
    #[error("{} is a link, or another user's, or open to others", path.display())]
    NotPrivate {
        /// The file or directory
        path: PathBuf,
    },
    /// Somebody else is at it.
    #[error("another enrolment or renewal is at work in {}", path.display())]
    Busy {
        /// The directory
        path: PathBuf,
    },
    /// The bundle cannot be read or written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Certificate(#[from] ConfigError),
    /// What the platform sent is not a certificate of this device for its key.
    #[error("the platform's certificate cannot be used")]
    Unusable(#[source] CredentialsError),
    /// What the platform sent does not lead to the authority that is believed.
    #[error("the platform's certificate is not of the authority that this device believes: {0}")]
    OtherAuthority(String),
    /// The platform was not reached, or refused.
    #[error(transparent)]
    Platform(#[from] PostError),
    /// The platform answered with something else.
    #[error("the platform's answer holds no certificate")]
    Answer,
    /// An address that is none.
    #[error("\"{0}\" is not the address of a platform")]
    Url(String),
    /// There is no certificate to renew, and no API key to ask for one.
    #[error("the bundle in {} has neither a certificate to renew nor an API key to ask for one", path.display())]
    NothingToRenew {
        /// The bundle
        path: PathBuf,
    },
    /// The new certificate was not accepted. The old one stays.
    #[error("the new certificate did not prove good; the old one stays")]
    NotProved(#[source] PostError),
}

impl IdentityError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRandomNumbers => "check this machine's source of random numbers",
            Self::KeyKind => "renew it with the tool that made it, or enrol anew: tesaiot agent enroll --again",
            Self::File { .. } => {
                "the user this runs as must be allowed to write into the bundle's directory, and the disk must have space"
            }
            Self::NotPrivate { .. } => {
                "if you made it, give it to the user this runs as alone (chown, chmod go=); otherwise remove it"
            }
            Self::Busy { .. } => "wait for it to end; it is in no danger",
            Self::Bundle(error) => error.hint(),
            Self::Certificate(error) => error.hint(),
            Self::Unusable(error) => error.hint(),
            Self::OtherAuthority(_) => "do not trust this connection before the operator has confirmed the authority",
            Self::Platform(PostError::Refused { status: 401 | 403, .. }) => {
                "ask the operator for an enrolment token (tesaiot device enroll-token), and check the device's state"
            }
            Self::Platform(PostError::Refused { status: 400 | 413, .. }) => {
                "check that the token is for this device, and that both programs are of one version"
            }
            Self::Platform(error) => error.hint(),
            Self::Answer => "check the address: another program answers there",
            Self::Url(_) => "write it as https://HOST:8443, with no path behind it",
            Self::NothingToRenew { .. } => "enrol it: tesaiot agent enroll",
            Self::NotProved(_) => "it is tried again; check that ingest_base_url in endpoints.json can be reached",
        }
    }
}
