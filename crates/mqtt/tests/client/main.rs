//! The client against a server that does exactly what the test says, packet by packet, over a stream in memory.
//!
//! Time is paused: deadlines pass in no time, and silence does not depend on the speed of the machine.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod connecting;
mod direct;
mod keep_alive;
mod publishing;
mod receiving;
mod reconnecting;
mod server;
