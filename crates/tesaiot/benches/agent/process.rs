//! The agent as a process, and what the kernel knows of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::platform::Platform;

/// The program that is shipped to a device, as `cargo xtask bench agent` built it.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TESAIOT_DEVICE_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_tesaiot").into(), PathBuf::from)
}

pub(crate) struct Agent {
    process: Child,
    talk: BufReader<std::process::ChildStderr>,
    data: PathBuf,
}

impl Agent {
    pub(crate) fn start(platform: &Platform, bundle: &Path, data: &Path, more: &[&str]) -> Result<Self> {
        let mut process = Command::new(binary())
            .args(["agent", "--sensor", "environment", "--auth", "mtls", "--broker-host", "127.0.0.1"])
            .args(["--broker-port", &platform.mqtt_port.to_string(), "--certs-dir"])
            .arg(bundle)
            .arg("--data-dir")
            .arg(data)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let talk = BufReader::new(process.stderr.take().context("no stderr")?);
        Ok(Self { process, talk, data: data.to_owned() })
    }

    pub(crate) fn wait_for_first_acknowledgement(&mut self) -> Result<()> {
        let (mut line, mut said) = (String::new(), String::new());
        while self.talk.read_line(&mut line)? > 0 {
            if line.contains("acknowledged after") {
                return Ok(());
            }
            said.push_str(&line);
            line.clear();
        }
        bail!("the agent ended: {said}")
    }

    pub(crate) fn id(&self) -> String {
        self.process.id().to_string()
    }

    /// Time on a processor, of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().context("no time")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// A line of its `/proc/PID/status`, in megabytes.
    pub(crate) fn memory(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kilobytes: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024.0 / 1e6)
    }

    /// Samples in its outbox.
    pub(crate) fn waiting(&self) -> Result<u64> {
        let output =
            Command::new(binary()).args(["agent", "status", "--json", "--data-dir"]).arg(&self.data).output()?;
        ensure!(output.status.success(), "no status: {}", String::from_utf8_lossy(&output.stderr));
        let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        status["waiting"].as_u64().context("no count")
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.id()]).status()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the agent ended: {status}");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes that a process had written to the disk: pages, not bytes of the program.
pub(crate) fn written(process: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no count of bytes")?;
    Ok(line.parse()?)
}

/// The platform has the messages `1..=count` of this run of a device, all of them.
pub(crate) fn expect_complete(platform_data: &Path, device: &str, boot: &str, count: u64) -> Result<()> {
    let access: serde_json::Value = serde_json::from_slice(&fs::read(platform_data.join("operator.json"))?)?;
    let word = |name: &str| access[name].as_str().context("an incomplete operator.json");
    let url = format!("{}/api/v1/devices/{device}/gaps", word("url")?);
    let header = format!("Authorization: Bearer {}", word("token")?);
    let output =
        Command::new("curl").args(["-sS", "--fail", "--cacert", word("ca_file")?, "-H", &header, &url]).output()?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let runs = answer["boots"].as_array().context("no runs")?;
    let run = runs.iter().find(|run| run["boot"] == boot).context("the run is not known")?;
    let is_complete = run["first"] == 1 && run["last"] == count && run["missing"] == serde_json::json!([]);
    ensure!(is_complete, "numbers are missing: {run}");
    Ok(())
}
