//! A device's identity on the device: a key that is made here and never leaves, and the certificate for it.
//!
//! | Module | Is |
//! |---|---|
//! | `key` | a key pair in memory and in PEM |
//! | `request` | a certificate signing request for it |
//! | `files` | key and certificate on disk: always a pair that works, whenever the power goes |
//! | [`enrol`] | the first certificate, with a one-time token |
//! | [`renew`](mod@renew) | the next one, proved by a connection before it takes the place of the last |
//! | [`schedule`] | when that is due |

pub mod enrol;
mod error;
mod files;
mod key;
mod platform;
pub mod renew;
mod request;
pub mod schedule;

pub use enrol::{Authority, Enrolled, Enrolment, enrol};
pub use error::IdentityError;
pub(crate) use files::{IdentityFiles, Pending};
pub(crate) use key::DeviceKey;
pub(crate) use platform::check;
pub use renew::{Renewed, renew};
pub(crate) use request::signing_request;
