//! A private mosquitto: the broker that the field knows, to compare with and to try our device side on.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::authority::CertificateFiles;
use super::process::{Running, program};
use super::{PATIENCE, wait_until};

/// What a TLS listener needs.
pub(crate) struct ServerTls {
    pub(crate) ca: PathBuf,
    pub(crate) server: CertificateFiles,
    /// Mutual TLS: a client without a certificate of `ca` is refused.
    pub(crate) require_client_certificate: bool,
}

/// A mosquitto of our own on a free port of 127.0.0.1, without persistence, killed when dropped.
pub(crate) struct Mosquitto {
    port: u16,
    running: Running,
    _directory: TempDir,
}

impl Mosquitto {
    /// Without TLS when `tls` is `None`. Anybody may log in.
    #[track_caller]
    pub(crate) fn start(tls: Option<&ServerTls>) -> Self {
        Self::start_with(tls, "")
    }

    /// The same with further lines of configuration.
    #[track_caller]
    pub(crate) fn start_with(tls: Option<&ServerTls>, further: &str) -> Self {
        // Between our finding a free port and mosquitto's taking it another program may be faster.
        (0..5).find_map(|_| Self::try_start(tls, further)).expect("mosquitto found no port to listen on")
    }

    fn try_start(tls: Option<&ServerTls>, further: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, configuration(port, tls) + further).expect("a configuration file");
        let mut running = Running::start(Command::new(program("mosquitto")).arg("-c").arg(&file));
        // Its own word comes after it has bound its port: a connection alone might reach a stranger.
        let said = |line: &str| (line.contains("mosquitto version") && line.ends_with("running")).then_some(());
        if running.stderr.wait_for(1, PATIENCE, said).is_none() {
            let log = running.stderr.text();
            let stuck = !running.has_ended();
            assert!(!stuck && log.contains("Address already in use"), "mosquitto did not start:\n{log}");
            return None;
        }
        wait_until("a connection to mosquitto", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { port, running, _directory: directory })
    }

    /// The port it listens on, at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.running.stderr.text()
    }
}

/// `mosquitto_pub` or `mosquitto_sub` aimed at `port` of this machine, with `ca` as trust anchor when TLS is spoken.
pub(crate) fn client(name: &str, port: u16, ca: Option<&Path>) -> Command {
    let mut command = Command::new(program(name));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    if let Some(ca) = ca {
        command.arg("--cafile").arg(ca);
    }
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn configuration(port: u16, tls: Option<&ServerTls>) -> String {
    // `user root`: started by root it would otherwise give up the right to read the certificates.
    // `set_tcp_nodelay`: without it Nagle and delayed acknowledgements cost a client 40 ms.
    let mut text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nuser root\n\
         log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n"
    );
    if let Some(tls) = tls {
        let (ca, server) = (tls.ca.display(), &tls.server);
        write!(
            text,
            "cafile {ca}\ncertfile {}\nkeyfile {}\nrequire_certificate {}\n",
            server.certificate.display(),
            server.key.display(),
            tls.require_client_certificate
        )
        .expect("a String takes what is written");
    }
    text
}
