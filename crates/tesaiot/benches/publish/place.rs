//! A bundle of a real platform, and a mosquitto with that platform's certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{mosquitto, platform};

const DEVICE: &str = "bench-device";

pub(crate) struct Place {
    directory: TempDir,
    pub(crate) bundle: PathBuf,
    broker: mosquitto::Broker,
    full_build: PathBuf,
}

impl Place {
    pub(crate) fn new(full_build: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (data, bundle) = (directory.path().join("data"), directory.path().join(DEVICE));
        let platform = platform::Platform::start(&data)?;
        platform.add_device(DEVICE, &bundle)?;
        platform.stop()?;
        let broker = mosquitto::Broker::start(&data, directory.path())?;
        // The bundle leads to mosquitto from here on.
        let endpoints = format!(r#"{{"mqtt_host":"localhost","mqtt_mtls_port":{}}}"#, broker.port);
        fs::write(bundle.join("endpoints.json"), endpoints)?;
        fs::remove_file(bundle.join(".env"))?;
        Ok(Self { directory, bundle, broker, full_build: full_build.to_owned() })
    }

    pub(crate) fn publish(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["publish", "--certs-dir"]).arg(&self.bundle).args(arguments);
        command
    }

    pub(crate) fn port(&self) -> u16 {
        self.broker.port
    }

    pub(crate) fn mosquitto_pub(&self) -> Command {
        mosquitto::publisher(&self.bundle, self.broker.port)
    }

    /// This many payloads, one a line: the first of them, and the file of all.
    pub(crate) fn lines(&self, count: usize) -> Result<(String, PathBuf)> {
        let path = self.directory.path().join(format!("{count}.jsonl"));
        let run = ["--dry-run", "--interval", "0", "--count", &count.to_string()];
        let output = self.publish(&self.full_build, &run).output()?;
        ensure!(output.status.success(), "the dry run failed");
        fs::write(&path, &output.stdout)?;
        let text = String::from_utf8(output.stdout)?;
        Ok((text.lines().next().context("no payload")?.to_owned(), path))
    }
}
