//! How an agent ends or is refused, in the words of its command line.

use std::error::Error;
use std::path::PathBuf;

use tesaiot_device::AgentError;
use tesaiot_device::agent::StatusError;
use tesaiot_device::https::PostError;
use tesaiot_device::identity::IdentityError;
use tesaiot_tls::Diagnosis;

use crate::cli::publish::failure::NOT_ACKNOWLEDGED;
use crate::exit;
use crate::output::failure::Advice;

/// What only the command line knows to be wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentFailure {
    /// No `--sensor`.
    #[error("no sensor was chosen, and this agent does not simulate one unless asked")]
    NoSensor,
    /// `--mode https` and nothing to post to.
    #[error("endpoints.json names no https://host:port to post to, but {0:?}")]
    NoHttps(String),
    /// Samples were taken and will not arrive.
    #[error("of {sampled} samples {gone} were not delivered and are gone, {dropped} dropped, {refused} refused")]
    Undelivered {
        /// Taken
        sampled: u64,
        /// In memory alone at the end
        gone: u64,
        /// Given up for want of room, or damaged
        dropped: u64,
        /// Refused by the broker
        refused: u64,
    },
    /// `agent enroll` without a token, or with something else.
    #[error("that is not an enrolment token")]
    NoToken,
    /// `agent enroll` without anything to verify the platform with.
    #[error("nothing to verify the platform with: the token carries no fingerprint")]
    NoAuthority,
    /// The token says one authority, the command line another.
    #[error("--ca-fingerprint is not the authority of the token")]
    TwoAuthorities,
    /// A file that the command line names cannot be read.
    #[error("File not readable: {}", path.display())]
    File {
        /// The file
        path: PathBuf,
        /// Why
        source: std::io::Error,
    },
    /// `agent status` finds no agent.
    #[error("no agent is running on this machine as far as this user can see")]
    NoAgent,
    /// `agent status` finds several agents.
    #[error("several agents are running here: {0}")]
    SeveralAgents(String),
}

/// What to do about one of them, or about an error of the agent.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    if let Some(error) = error.downcast_ref::<AgentFailure>() {
        return Some(error.advice());
    }
    if let Some(error) = error.downcast_ref::<StatusError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: exit::NETWORK });
    }
    if let Some(error) = error.downcast_ref::<IdentityError>() {
        return Some(Advice { hint: Some(error.hint().to_owned()), code: identity_code(error) });
    }
    match error.downcast_ref::<AgentError>()? {
        AgentError::Outbox(error) => Some(Advice { hint: Some(error.hint().to_owned()), code: exit::FILE }),
        AgentError::StatusSocket { .. } => {
            let hint = "check the path and who may write there; it must be shorter than 90 characters".to_owned();
            Some(Advice { hint: Some(hint), code: exit::FILE })
        }
        _ => None,
    }
}

fn identity_code(error: &IdentityError) -> u8 {
    match error {
        IdentityError::Platform(PostError::Refused { status: 401 | 403, .. }) => exit::NOT_AUTHORISED,
        IdentityError::Platform(PostError::Refused { .. }) | IdentityError::Answer => exit::REFUSED,
        IdentityError::Platform(PostError::Connect(error)) | IdentityError::NotProved(PostError::Connect(error)) => {
            match error.diagnosis() {
                Some(Diagnosis::ServerCertificate(..)) => exit::SERVER_CERTIFICATE,
                Some(Diagnosis::PeerRefused(_)) => exit::NOT_AUTHORISED,
                _ => exit::NETWORK,
            }
        }
        IdentityError::Platform(PostError::Broken { .. }) => exit::NETWORK,
        IdentityError::OtherAuthority(_) => exit::SERVER_CERTIFICATE,
        IdentityError::NotProved(_) => exit::NOT_AUTHORISED,
        IdentityError::Url(_) => exit::USAGE,
        IdentityError::NoRandomNumbers => exit::FAILURE,
        _ => exit::FILE,
    }
}

impl AgentFailure {
    fn advice(&self) -> Advice {
        let (hint, code) = match self {
            Self::NoSensor => {
                ("choose: --config FILE, --sensor host, or a simulator: --sensor environment", exit::USAGE)
            }
            Self::NoHttps(_) => ("correct ingest_base_url in endpoints.json, or use --mode mqtt", exit::FILE),
            Self::Undelivered { .. } => {
                ("see --durability, --outbox-size and --when-full: what is kept, and for how long", NOT_ACKNOWLEDGED)
            }
            Self::NoToken => {
                ("give --token or --token-file with what `tesaiot device enroll-token ID` printed", exit::USAGE)
            }
            Self::NoAuthority => (
                "give the whole token, --ca-fingerprint, or --ca with the platform's ca-chain.pem; the platform is not \
                 believed without",
                exit::USAGE,
            ),
            Self::TwoAuthorities => {
                ("ask the operator which of the two is right, and do not go on before", exit::USAGE)
            }
            Self::File { .. } => ("check the path and who may read it", exit::FILE),
            Self::NoAgent => {
                ("start one, name its directory with --data-dir, or ask as the agent's user", exit::NETWORK)
            }
            Self::SeveralAgents(_) => ("name one of these directories with --data-dir", exit::USAGE),
        };
        Advice { hint: Some(hint.to_owned()), code }
    }
}
