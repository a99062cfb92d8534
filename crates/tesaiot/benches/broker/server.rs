//! What is measured: mosquitto, and our broker alone, with the same certificate.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use tesaiot_tls::{ClientSettings, TrustAnchors, Versions, client_config};

use crate::platform::free_port;
use crate::process;

/// The program of `crates/broker/examples/open_broker.rs`; `cargo xtask bench broker` builds it.
const OPEN_BROKER: &str = "TESAIOT_BENCH_OPEN_BROKER";

/// A server's certificate, which is its own trust anchor.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?;
        let issuer = rcgen::Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        let files = Self { certificate: directory.join("server.pem"), key: directory.join("server.key") };
        fs::write(&files.certificate, certificate.pem() + &authority.pem())?;
        fs::write(directory.join("ca.pem"), authority.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }

    pub(crate) fn client(&self) -> Result<Arc<rustls::ClientConfig>> {
        let authority = fs::read_to_string(self.certificate.with_file_name("ca.pem"))?;
        let settings = ClientSettings {
            versions: Versions::Only(tesaiot_tls::TlsVersion::Tls13),
            ..ClientSettings::new(TrustAnchors::from_pem(&authority)?)
        };
        Ok(client_config(settings)?)
    }
}

/// A server process and how to reach it.
pub(crate) struct Server {
    process: Child,
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Server {
    /// mosquitto with `TCP_NODELAY`, over TLS 1.3, storing nothing and refusing nobody.
    pub(crate) fn mosquitto(directory: &Path, certificate: &Certificate) -> Result<Self> {
        let port = free_port()?;
        let configuration = directory.join("mosquitto.conf");
        let (chain, key) = (certificate.certificate.display(), certificate.key.display());
        fs::write(
            &configuration,
            format!(
                "listener {port} 127.0.0.1\ncertfile {chain}\nkeyfile {key}\ntls_version tlsv1.3\n\
                 allow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type none\nuser root\n\
                 max_queued_messages 0\nmax_connections -1\n",
            ),
        )?;
        let program = ["/usr/sbin/mosquitto", "mosquitto"].into_iter().find(|path| Path::new(path).exists());
        let mut command = process::command(program.unwrap_or("mosquitto"));
        command.arg("-c").arg(&configuration);
        Self::start("mosquitto", command, port, certificate)
    }

    /// Our broker alone. `options`: as its usage says.
    pub(crate) fn ours(certificate: &Certificate, options: &[&str]) -> Result<Self> {
        let program =
            std::env::var(OPEN_BROKER).with_context(|| format!("{OPEN_BROKER}: run `cargo xtask bench broker`"))?;
        let port = free_port()?;
        let mut command = process::command(&program);
        command.args(["--tls-port", &port.to_string()]).arg("--cert").arg(&certificate.certificate);
        command.arg("--key").arg(&certificate.key);
        command.args(options);
        Self::start("tesaiot (broker alone)", command, port, certificate)
    }

    /// This program again, as a loop that accepts TLS and does nothing else.
    pub(crate) fn bare(certificate: &Certificate) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(crate::bare::WORD).arg(&certificate.certificate).arg(&certificate.key);
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the accept loop names its port")?;
        Ok(Self { process, name: "a bare rustls accept loop", port, tls: certificate.client()? })
    }

    fn start(name: &'static str, mut command: Command, port: u16, certificate: &Certificate) -> Result<Self> {
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} could not start: `cargo xtask setup` installs what is needed"))?;
        let server = Self { process, name, port, tls: certificate.client()? };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
