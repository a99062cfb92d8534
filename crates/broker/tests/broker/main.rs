//! The broker from outside: streams in, bytes out, and a host that does what the test says.
//!
//! Time is paused in almost every test: a deadline of thirty seconds passes in no time, and what a test calls
//! silence does not depend on the speed of the machine.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod acknowledgements;
mod back_pressure;
mod drain;
mod eviction;
mod exactly_once;
mod expiry;
mod host;
mod keep_alive;
mod limits;
mod loopback;
mod peer;
mod permissions;
mod properties;
mod proxy;
mod redelivery;
mod refusals;
mod retained;
mod sessions;
mod shares;
mod storage;
mod subscribers;
mod take_over;
mod websocket;
mod wills;
