//! The certificate authority: root, intermediate, server and device certificates.
//!
//! The shape is `root → intermediate → leaf`, P-256 throughout. The root signs the intermediate
//! once and is not needed again: its key is encrypted at rest, or never stays on the machine. The
//! intermediate signs servers and devices.
//!
//! One file per verb ([`Authority::create`], [`Authority::open`], [`Authority::issue_server`] and
//! [`Authority::issue_device`], [`Authority::sign_csr`]). What a certificate may say is decided
//! here and nowhere else: nothing of a request reaches a certificate but its public key, and its common name must be
//! the device's.

mod authority;
mod create;
mod error;
mod files;
mod issue;
mod issued;
mod key;
mod names;
mod open;
mod profile;
mod request;
mod revocation;
mod root_key;
mod serial;
mod sign;
mod validity;

pub use authority::Authority;
pub use create::{CreateOptions, RootKey};
pub use error::{CreateError, IssueError, OpenError, RequestError};
pub use issued::{Issued, Signed};
pub use request::Request;
pub use revocation::{LIST_LIFETIME, RevocationList, Revoked};
pub use serial::{InvalidSerial, Serial};
pub use validity::{BACKDATED, DEVICE_LIFETIME, SERVER_LIFETIME, Validity};
