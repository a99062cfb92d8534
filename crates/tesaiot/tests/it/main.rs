//! The product from outside: real clients, real sockets, real files.
//!
//! One test binary for all of it, so that it links once. `support` is what the tests
//! share; every other module is one subject.

#[cfg(feature = "device")]
mod agent;
#[cfg(all(feature = "device", feature = "platform"))]
mod agent_commands;
#[cfg(all(feature = "device", feature = "platform"))]
mod agent_faults;
#[cfg(all(feature = "device", feature = "platform"))]
mod agent_https;
#[cfg(all(feature = "device", feature = "platform"))]
mod agent_proxy;
#[cfg(all(feature = "device", feature = "platform"))]
mod agent_receipts;
#[cfg(feature = "platform")]
mod applications;
#[cfg(feature = "platform")]
mod backup;
#[cfg(feature = "platform")]
mod churn;
#[cfg(all(feature = "device", feature = "platform"))]
mod cli;
#[cfg(feature = "device")]
mod commands;
#[cfg(all(feature = "device", feature = "platform"))]
mod doctor;
#[cfg(feature = "platform")]
mod drain;
#[cfg(feature = "platform")]
mod edges;
#[cfg(feature = "platform")]
mod enrolment;
#[cfg(feature = "platform")]
mod exactly_once;
#[cfg(feature = "platform")]
mod export;
#[cfg(feature = "platform")]
mod fleet;
#[cfg(feature = "platform")]
mod full_disk;
#[cfg(feature = "platform")]
mod kill9;
#[cfg(feature = "platform")]
mod letters;
#[cfg(feature = "platform")]
mod limits;
#[cfg(feature = "platform")]
mod operations;
mod peers;
#[cfg(feature = "platform")]
mod presence;
#[cfg(feature = "device")]
mod publish;
#[cfg(feature = "platform")]
mod real_clients;
#[cfg(feature = "platform")]
mod refusals;
#[cfg(feature = "platform")]
mod renewal;
#[cfg(feature = "platform")]
mod retention;
#[cfg(feature = "device")]
mod sensors;
#[cfg(feature = "platform")]
mod sessions;
mod support;
#[cfg(all(feature = "device", feature = "platform"))]
mod zoo;
