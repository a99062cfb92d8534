//! What can fail, one type per verb.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

/// An authority could not be created. Its directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Something is in the directory already; an authority is never overwritten.
    #[error("{} is not empty: an authority is never overwritten", path.display())]
    NotEmpty {
        /// The directory
        path: PathBuf,
    },
    /// The file for the offline root key exists already.
    #[error("{} exists already: a root key is never overwritten", path.display())]
    OfflineKeyExists {
        /// The offline path
        path: PathBuf,
    },
    /// The organization is empty, longer than 64 characters (RFC 5280 appendix A.1), or has control characters.
    #[error("the organization must have 1 to 64 printable characters")]
    InvalidOrganization,
    /// The passphrase is shorter than 8 characters.
    #[error("the passphrase of the root key must have at least 8 characters")]
    PassphraseTooShort,
    /// The clock stands at a time that no certificate can be issued for.
    #[error("the clock stands at {now}")]
    Clock {
        /// Our clock at the time
        now: Timestamp,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory
        path: PathBuf,
        /// What the operating system said
        #[source]
        source: io::Error,
    },
    /// The root key could not be encrypted.
    #[error("cannot encrypt the root key")]
    EncryptRootKey(#[source] pkcs8::Error),
    /// A key or certificate could not be made.
    #[error("cannot make the authority's keys and certificates")]
    Generate(#[source] rcgen::Error),
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}

/// An authority could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no authority in the directory.
    #[error("no certificate authority in {}", path.display())]
    NotFound {
        /// The directory
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// What the operating system said
        #[source]
        source: io::Error,
    },
    /// The intermediate key can be read by everyone on the machine.
    #[error("{} can be read by everyone (mode {mode:o}): chmod 600", path.display())]
    KeyNotPrivate {
        /// The key file
        path: PathBuf,
        /// Its permission bits
        mode: u32,
    },
    /// A file does not hold what its name says.
    #[error("{} is damaged or is another file", path.display())]
    Malformed {
        /// The file
        path: PathBuf,
    },
    /// The intermediate key belongs to another certificate.
    #[error("intermediate.key.pem does not belong to intermediate.pem")]
    KeyMismatch,
    /// The intermediate was not signed by the root.
    #[error("intermediate.pem was not signed by root.pem")]
    ForeignIntermediate,
}

/// A certificate could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A server certificate needs at least one name.
    #[error("a server certificate needs at least one name")]
    NoNames,
    /// More names than any server has.
    #[error("a server certificate takes at most {limit} names")]
    TooManyNames {
        /// The largest number accepted
        limit: usize,
    },
    /// A name is neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    InvalidName {
        /// As it was given
        name: String,
    },
    /// Nothing is left of the validity: the lifetime is zero, or the intermediate has expired.
    #[error("the certificate would be good for no time: the intermediate is good until {issuer_not_after}")]
    NoValidity {
        /// The last moment of the intermediate
        issuer_not_after: Timestamp,
    },
    /// The request was refused.
    #[error("the certificate signing request was refused")]
    Request(#[from] RequestError),
    /// The certificate could not be made.
    #[error("cannot make the certificate")]
    Sign(#[source] rcgen::Error),
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}

/// A certificate signing request was refused; its sender has to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than any request with an accepted key.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// The largest size accepted, in bytes
        limit: usize,
    },
    /// Not one PEM section `CERTIFICATE REQUEST`, or not PKCS #10 inside.
    #[error("not a PEM certificate signing request (PKCS #10)")]
    Malformed,
    /// The signature algorithm is obsolete or unknown.
    #[error("signed with an algorithm that is not accepted: use SHA-256, SHA-384 or Ed25519")]
    SignatureAlgorithm,
    /// The signature is not by the key in the request: its sender does not prove to hold the key.
    #[error("its signature is not by its own key")]
    BadSignature,
    /// The key is of a type that is not accepted.
    #[error("the key type is not accepted: use P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits")]
    KeyType,
    /// The subject has not exactly one common name, or it is not the device's id.
    #[error("its common name (CN) is not the device id, exactly")]
    WrongName,
}

impl RequestError {
    /// A stable word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "csr_too_large",
            Self::Malformed => "csr_malformed",
            Self::SignatureAlgorithm => "csr_signature_algorithm",
            Self::BadSignature => "csr_bad_signature",
            Self::KeyType => "csr_key_type",
            Self::WrongName => "csr_wrong_name",
        }
    }
}
