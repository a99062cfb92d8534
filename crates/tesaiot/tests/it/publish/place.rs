//! A directory with an authority, and what a device and a broker of it need.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::forge::{Forge, Usage, Validity};
use crate::support::PATIENCE;
use crate::support::authority::CertificateFiles;
use crate::support::mosquitto::{Mosquitto, ServerTls, client};
use crate::support::process::{Outcome, Running, run};

/// The device of every test here.
pub(crate) const DEVICE: &str = "bed-12";

pub(crate) struct Place {
    pub(super) directory: TempDir,
    pub(super) forge: Forge,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let forge = Forge::new(directory.path(), "authority");
        Self { directory, forge }
    }

    /// Everything of this place lies below it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A certificate for a broker on this machine.
    pub(crate) fn server(&self) -> CertificateFiles {
        self.forge.server()
    }

    /// A mosquitto that wants a client certificate, or one that takes any login.
    pub(crate) fn broker(&self, require_client_certificate: bool) -> Mosquitto {
        self.broker_with(self.server(), require_client_certificate)
    }

    pub(super) fn broker_with(&self, server: CertificateFiles, require_client_certificate: bool) -> Mosquitto {
        Mosquitto::start(Some(&ServerTls { ca: self.forge.ca(), server, require_client_certificate }))
    }

    /// A mosquitto that takes any login, with further lines of configuration.
    pub(crate) fn broker_and(&self, further: &str) -> Mosquitto {
        let tls = ServerTls { ca: self.forge.ca(), server: self.server(), require_client_certificate: false };
        Mosquitto::start_with(Some(&tls), further)
    }

    /// A bundle with a certificate.
    pub(crate) fn certificate_bundle(&self, port: u16) -> PathBuf {
        self.bundle(port, Some(&self.forge.issue(DEVICE, &[], Usage::Client, Validity::Now)))
    }

    /// A bundle with a certificate that is valid for so many seconds.
    pub(crate) fn short_lived_bundle(&self, port: u16, seconds: u64) -> PathBuf {
        self.bundle(port, Some(&self.forge.issue(DEVICE, &[], Usage::Client, Validity::Seconds(seconds))))
    }

    /// A bundle with an API key.
    pub(crate) fn key_bundle(&self, port: u16) -> PathBuf {
        let directory = self.bundle(port, None);
        fs::write(directory.join("api_key.txt"), "tesa_dak_bed12_00112233445566778899aabbccddeeff").expect("a key");
        directory
    }

    pub(crate) fn bundle(&self, port: u16, client: Option<&CertificateFiles>) -> PathBuf {
        let directory = self.directory.path().join("bundle");
        fs::create_dir_all(&directory).expect("a directory");
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("a file of the bundle");
        write("device_id.txt", &format!("{DEVICE}\n"));
        write(
            "endpoints.json",
            &format!(r#"{{"mqtt_host":"127.0.0.1","mqtt_mtls_port":{port},"mqtt_tls_port":{port}}}"#),
        );
        fs::copy(self.forge.ca(), directory.join("ca-chain.pem")).expect("the trust anchor is copied");
        if let Some(client) = client {
            fs::copy(&client.certificate, directory.join("client_cert.pem")).expect("the certificate is copied");
            fs::copy(&client.key, directory.join("client_key.pem")).expect("the key is copied");
            mode(&directory.join("client_key.pem"), 0o600);
        }
        directory
    }

    /// A subscriber to everything, ready to receive.
    pub(crate) fn watcher(&self, port: u16) -> Running {
        let files = self.forge.issue("watcher", &[], Usage::Client, Validity::Now);
        let mut command = client("mosquitto_sub", port, Some(&self.forge.ca()));
        command.arg("--cert").arg(files.certificate).arg("--key").arg(files.key);
        let running = Running::start(command.args(["-q", "1", "-t", "device/#", "-t", "ready", "-v"]));
        // Its own message tells that its subscription stands.
        let ready = || self.send(port, "ready", "now").code == Some(0);
        assert!(ready(), "the broker takes a message");
        let heard = |line: &str| (line == "ready now").then_some(());
        while running.stdout.wait_for(1, std::time::Duration::from_millis(200), heard).is_none() {
            assert!(ready(), "the broker takes a message");
        }
        running
    }

    /// Publishes one message as somebody else.
    pub(crate) fn send(&self, port: u16, topic: &str, payload: &str) -> Outcome {
        let files = self.forge.issue("sender", &[], Usage::Client, Validity::Now);
        let mut command = client("mosquitto_pub", port, Some(&self.forge.ca()));
        command.arg("--cert").arg(files.certificate).arg("--key").arg(files.key);
        run(command.args(["-q", "1", "-t", topic, "-m", payload]), PATIENCE)
    }
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
}

/// The program, alone: no setting of this machine reaches it, and no `.env` lies where it runs.
pub(crate) fn tesaiot(bundle: &Path, word: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
    let place = bundle.parent().expect("a bundle lies in a directory");
    command.env_clear().env("HOME", place).current_dir(place).arg(word).arg("--certs-dir").arg(bundle);
    command
}

/// Runs `tesaiot publish` with a bundle and these arguments.
#[track_caller]
pub(super) fn publish(bundle: &Path, arguments: &[&str]) -> Outcome {
    run(tesaiot(bundle, "publish").args(arguments), PATIENCE)
}
