//! `tesaiot publish` from outside: what arrives, what it says and how it ends (the wire contract, section 8).

mod deadline;
mod delivery;
mod dry_run;
mod forge;
mod payloads;
pub(crate) mod place;
mod preflight;
mod progress;
mod refusals;
pub(crate) mod scripted;
mod spool;
