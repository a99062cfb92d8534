//! The platform: one process that is certificate authority, MQTT broker, REST interface and time-series store.
//!
//! | Module | Is |
//! |---|---|
//! | [`app`] | the wiring diagram: every part, in the order data flows |
//! | [`config`] | what an operator may choose, checked before anything opens |
//! | [`ingest`] | from a received message to a durable commit, and only then to its acknowledgement |
//! | `gate` | the broker's four seams: who is it, may it, keep this, it was here |
//! | `applications` | programs that read what their token grants |
//! | `administrators` | who reads `$SYS/…`, and what is told there |
//! | `incidents` | what was refused: named in the log once, counted, audited |
//! | `presence` | who is online, and when each device was last seen |
//! | `commands` | commands and configurations on their way to devices |
//! | `receipts` | devices that ask hear what is stored of them |
//! | `open_files` | how many connections fit |
//! | `server_renewal` | the server's certificate, renewed while it runs |
//! | `sessions` | the broker's sessions on disk |
//! | [`provisioning`] | devices and their credentials, from creation to revocation |
//! | `enrolment` | certificates for keys that devices made themselves |
//! | `revocations` | which certificates are taken back, for other verifiers |
//! | `api` | HTTPS: REST and the live feed |
//! | `first_start` | what exists after the first start and not before |
//! | [`data_dir`] | what is where on disk |
//! | [`backup`] | a copy of all of it while it runs, and its way back |
//! | [`error`] | why a platform does not start |

mod administrators;
mod api;
pub mod app;
mod applications;
pub mod backup;
mod commands;
pub mod config;
pub mod data_dir;
mod enrolment;
pub mod error;
mod first_start;
mod gate;
mod incidents;
pub mod ingest;
mod open_files;
mod presence;
pub mod provisioning;
mod receipts;
mod revocations;
mod server_renewal;
mod sessions;

pub use app::{Addresses, App, Platform};
pub use config::{Config, RootKey};
pub use error::{BuildError, RunError};
pub use first_start::FirstStart;
pub use ingest::Stored;
pub use provisioning::ProvisioningError;
pub use tesaiot_broker::{Network, Rate};
