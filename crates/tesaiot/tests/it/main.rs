//! The product from outside: real clients, real sockets, real files.
//!
//! One test binary for all of it, so that it links once. `support` is what the tests
//! share; every other module is one subject.

mod peers;
mod real_clients;
mod support;
