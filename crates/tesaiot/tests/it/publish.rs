//! `tesaiot publish` from outside: what arrives, what it says and how it ends (the wire contract, section 8).

mod delivery;
mod dry_run;
mod forge;
pub(crate) mod place;
mod refusals;
pub(crate) mod scripted;
