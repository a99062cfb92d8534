//! How many sockets this process may have.
//!
//! A shell gives a program 1,024 open files, and often allows it many more if it asks. Connections are bounded below
//! what there is, so that the databases can always open theirs: a stranger who opens sockets must not stop the store.

/// Files that are not connections: databases, listeners, the log, and some air.
const RESERVED: u64 = 128;
/// The part of the rest that is for HTTPS: one in so many.
const HTTPS_SHARE: u64 = 4;

/// Connections that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) mqtt: usize,
    pub(crate) https: usize,
}

/// Raises the limit as far as it is allowed, and divides what there is.
pub(crate) fn room() -> Room {
    divide(raised().unwrap_or(1024))
}

#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Failing to raise it leaves what there was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.or(Some(u64::MAX))
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

fn divide(files: u64) -> Room {
    let sockets = files.saturating_sub(RESERVED).max(16);
    let https = sockets / HTTPS_SHARE;
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Room { mqtt: size(sockets - https), https: size(https) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_databases() {
        for files in [0, 64, 1024, 1 << 20, u64::MAX] {
            let room = divide(files);
            assert!(room.mqtt > 0 && room.https > 0, "{files}: {room:?}");
            assert!(files < 256 || (room.mqtt as u64).saturating_add(room.https as u64) <= files - RESERVED, "{files}");
        }
    }
}
