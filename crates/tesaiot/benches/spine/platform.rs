//! A `tesaiot up` process.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config, connect};

/// Longest start that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running platform.
pub(crate) struct Platform {
    process: Child,
    data: PathBuf,
    pub(crate) mqtt_port: u16,
    /// From the start of the process to the first TLS handshake served.
    pub(crate) started_in: Duration,
}

impl Platform {
    pub(crate) fn start(data: &Path) -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?, free_port()?].map(|port| port.to_string());
        let started = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_tesaiot"))
            .args(["up", "--host", "localhost", "--bind", "127.0.0.1", "--data-dir"])
            .arg(data)
            .args(["--mqtt-port", &ports[0], "--mqtt-tls-port", &ports[1]])
            .args(["--wss-port", &ports[2], "--https-port", &ports[3], "--ingest-port", "0"])
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mqtt_port = ports[0].parse()?;
        let mut platform = Self { process, data: data.to_owned(), mqtt_port, started_in: Duration::ZERO };
        platform.wait_until_served(started)?;
        platform.started_in = started.elapsed();
        Ok(platform)
    }

    /// A port is bound early and served last: only a handshake proves that the platform serves.
    fn wait_until_served(&mut self, started: Instant) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let chain = self.data.join("ca/ca-chain.pem");
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("`tesaiot up` ended: {status}");
            }
            ensure!(started.elapsed() < PATIENCE, "`tesaiot up` does not serve");
            let attempt = || -> Result<()> {
                let stream = TcpStream::connect(("127.0.0.1", self.mqtt_port))?;
                stream.set_nonblocking(true)?;
                let trust = TrustAnchors::from_pem(&fs::read_to_string(&chain)?)?;
                let config = client_config(ClientSettings::new(trust))?;
                runtime.block_on(async {
                    let stream = tokio::net::TcpStream::from_std(stream)?;
                    let deadline = tokio::time::Instant::now() + PATIENCE;
                    connect(&config, "localhost", stream, deadline).await?;
                    Ok(())
                })
            };
            if attempt().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn add_device(&self, id: &str, bundle: &Path) -> Result<()> {
        let status = Command::new(env!("CARGO_BIN_EXE_tesaiot"))
            .args(["device", "add", id, "--auth", "mtls", "--data-dir"])
            .arg(&self.data)
            .arg("--out")
            .arg(bundle)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "`tesaiot device add` failed");
        Ok(())
    }

    /// Messages committed since the platform started, by its own count.
    pub(crate) fn messages_stored(&self) -> Result<u64> {
        let access: Value = serde_json::from_slice(&fs::read(self.data.join("operator.json"))?)?;
        let url = format!("{}/api/v1/health", access["url"].as_str().context("no url")?);
        let ca = access["ca_file"].as_str().context("no ca_file")?;
        let output = Command::new("curl").args(["-sS", "--fail", "--cacert", ca, &url]).output()?;
        ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
        let health: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(health["ingest"]["dead_letters"] == 0, "a sample was not understood");
        health["ingest"]["messages"].as_u64().context("no count of messages")
    }

    #[allow(dead_code, reason = "one benchmark of two asks for it")]
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    #[allow(dead_code, reason = "one benchmark of two asks for it")]
    pub(crate) fn resident_megabytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "`tesaiot up` ended: {status}");
        Ok(())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
