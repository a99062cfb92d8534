//! Exit codes: one meaning each, the same for every command that can end with it.

use std::process::ExitCode;

/// What was asked for was done.
pub(crate) const OK: u8 = 0;
/// Something failed that has no code of its own.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong; clap ends with this number too.
pub(crate) const USAGE: u8 = 2;
/// A file is missing, unreadable, damaged, or in the way.
pub(crate) const FILE: u8 = 3;
/// The other end was not reached: name, route, refused, too slow.
pub(crate) const NETWORK: u8 = 4;
/// The other end was reached and is not trusted.
pub(crate) const SERVER_CERTIFICATE: u8 = 5;
/// The other end does not accept who we are, or what we may do.
pub(crate) const NOT_AUTHORISED: u8 = 6;
/// The other end understood the request and refused it: no such device, it exists already.
pub(crate) const REFUSED: u8 = 7;

/// Messages were sent and not acknowledged: the broker may or may not have them. Or a command, and not answered.
pub(crate) const NOT_ACKNOWLEDGED: u8 = 8;
/// Messages were not delivered and wait in the spool: the next run, or the agent, sends them.
#[cfg(feature = "device")]
pub(crate) const SPOOLED: u8 = 9;
/// Interrupted by a person or a service manager: 128 + SIGINT, as shells say it.
#[cfg(feature = "device")]
pub(crate) const INTERRUPTED: u8 = 130;

/// The table at the end of the help of every operator command.
#[cfg(feature = "platform")]
pub(crate) const OPERATOR_CODES: &str = "\
Exit codes:
  0  done
  1  unexpected failure
  2  wrong command line
  3  a file is missing, unreadable, damaged or in the way
  4  the platform was not reached
  5  the platform's certificate is not trusted
  6  not logged in, or not allowed
  7  refused by the platform: no such device, it exists already, a bad value";

/// One of the numbers above, for `main`.
pub(crate) fn code(number: u8) -> ExitCode {
    ExitCode::from(number)
}
