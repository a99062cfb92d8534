//! The other side: mosquitto's client, and its broker with the platform's certificates.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::platform::free_port;

/// A mosquitto with `TCP_NODELAY`, which stores nothing, and asks for client certificates as the platform does.
pub(crate) struct Broker {
    process: Child,
    pub(crate) port: u16,
}

impl Broker {
    pub(crate) fn start(data: &Path, directory: &Path) -> Result<Self> {
        let port = free_port()?;
        let configuration = directory.join("mosquitto.conf");
        let (ca, certificate, key) = (data.join("ca/ca-chain.pem"), data.join("server.pem"), data.join("server.key"));
        fs::write(
            &configuration,
            format!(
                "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
                 use_identity_as_username true\nallow_anonymous false\npersistence false\n\
                 set_tcp_nodelay true\nlog_type none\nuser root\n",
                ca.display(),
                certificate.display(),
                key.display()
            ),
        )?;
        let program = ["/usr/sbin/mosquitto", "mosquitto"].into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(program.unwrap_or("mosquitto"))
            .arg("-c")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("mosquitto could not start: `cargo xtask setup` installs it")?;
        let broker = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `mosquitto_pub` with the files of a bundle, at QoS 1.
pub(crate) fn publisher(bundle: &Path, port: u16) -> Command {
    let id = fs::read_to_string(bundle.join("device_id.txt")).unwrap_or_default();
    let id = id.trim();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-q", "1", "-i", id, "-p", &port.to_string()]);
    command.args(["-t", &format!("device/{id}/telemetry")]);
    command.arg("--cafile").arg(bundle.join("ca-chain.pem"));
    command.arg("--cert").arg(bundle.join("client_cert.pem"));
    command.arg("--key").arg(bundle.join("client_key.pem"));
    command
}
