//! The broker held against the specification, statement by statement, byte by byte.
//!
//! A test names the normative statements that it would break with, in lines of its comment that begin with the
//! version: `3.1.1:` and `5:`. [`table`] holds these lines against the list of all statements (`statements.txt`) and
//! against the table in `docs/mqtt-conformance.md`: a statement for servers has a test, or a reason why not.
//!
//! Everything is sent and compared as bytes: nothing here is encoded or decoded by the code under test.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod connack;
mod connect;
mod filters;
mod framing;
mod goodbye;
mod lab;
mod limits;
mod mutations;
mod publish;
mod quality;
mod retained;
mod sessions;
mod shares;
mod subscribe;
mod table;

mod wills;
