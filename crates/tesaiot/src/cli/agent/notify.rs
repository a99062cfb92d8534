//! What systemd wants to hear of a service of `Type=notify` (sd_notify(3)): a datagram with a line or two.

use std::env;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the service manager; silent when there is none.
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Half of the time after which the manager gives the program up
    watchdog: Option<Duration>,
}

impl Notify {
    /// By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        let for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let watchdog = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let watchdog = watchdog.filter(|microseconds| for_us && *microseconds > 0);
        Self { socket: socket(), watchdog: watchdog.map(|time| Duration::from_micros(time) / 2) }
    }

    /// Says it; a manager that does not listen is no reason to fail.
    pub(crate) fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }

    /// When the next sign of life is due. Never, when nobody waits for one.
    pub(crate) async fn watchdog(&self) {
        match self.watchdog {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    }
}

fn socket() -> Option<(UnixDatagram, SocketAddr)> {
    let name = env::var_os("NOTIFY_SOCKET")?;
    let address = address(&name)?;
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address))
}

#[cfg(target_os = "linux")]
fn address(name: &std::ffi::OsStr) -> Option<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;

    match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name).ok(),
        None => SocketAddr::from_pathname(name).ok(),
    }
}

/// There is no systemd: whoever names a socket means a file.
#[cfg(not(target_os = "linux"))]
fn address(name: &std::ffi::OsStr) -> Option<SocketAddr> {
    SocketAddr::from_pathname(name).ok()
}
