//! The registry of devices and the telemetry store, embedded in two SQLite files.
//!
//! [`Telemetry`] keeps what devices send: every append is one durable commit, and what it
//! returned for is on disk. [`Registry`] keeps who may send: devices, their credentials and
//! certificates, the people who operate the platform, and the audit log.
//!
//! [`Records`] keeps what the broker must not forget.
//!
//! Every call blocks on the disk. An asynchronous program calls from a thread that may block.

mod copy;
mod error;
mod file;
mod pool;
pub mod records;
pub mod registry;
pub mod telemetry;
mod time;

pub use copy::copy_database;
pub use error::StoreError;
pub use records::Records;
pub use registry::Registry;
pub use telemetry::{Appender, Telemetry};
