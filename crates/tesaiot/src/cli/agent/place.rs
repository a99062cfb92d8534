//! Where an agent keeps its data, and how large that may get.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tesaiot_contract::DeviceId;

/// Bytes: digits and one of `K`, `M`, `G`, which are powers of 1,024; at least 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(u64);

/// Text that says no size.
#[derive(Debug, thiserror::Error)]
#[error("write a number and K, M or G, and at least 64K: 64M, 2G")]
pub(super) struct InvalidSize;

impl Size {
    pub(super) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 1 << 10),
            Some(b'M') => (&text[..text.len() - 1], 1 << 20),
            Some(b'G') => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| InvalidSize)?;
        number.checked_mul(unit).filter(|bytes| *bytes >= 64 << 10).map(Self).ok_or(InvalidSize)
    }
}

/// The data directory of a device's agent unless told otherwise.
pub(crate) fn data_directory(device: &DeviceId) -> PathBuf {
    let base = state_directories().into_iter().next().unwrap_or_else(|| Path::new("/var/lib/tesaiot").to_owned());
    base.join("agent").join(device.as_str())
}

/// Data directories of agents that may run on this machine, as far as this user can see.
pub(crate) fn known_directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in state_directories() {
        let Ok(entries) = base.join("agent").read_dir() else { continue };
        found.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    found.sort();
    found.dedup();
    found
}

/// Where programs keep their state, the one to use first: what systemd gives a service (systemd.exec(5)), the user's
/// (XDG Base Directory Specification), the system's.
fn state_directories() -> Vec<PathBuf> {
    // The specification: a relative path is to be ignored.
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let service = env::var_os("STATE_DIRECTORY").and_then(|list| env::split_paths(&list).next());
    let service = service.filter(|path| path.is_absolute());
    let user = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let user = user.map(|base| base.join("tesaiot"));
    let system = Some(Path::new("/var/lib/tesaiot").to_owned());
    [service, user, system].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("64K", 65_536), ("65536", 65_536), ("3M", 3 << 20), ("2G", 2 << 30)] {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes);
        }
        for text in ["", "K", "63K", "-1M", "1T", "1.5G", "99999999999999G", "64 M"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
