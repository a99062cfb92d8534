//! A platform as the process that people run: to be killed, drained by a signal, or given a disk that is full.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::device::Device;
use super::process::{Outcome, Running, run};
use super::rest::Rest;

/// The program under test.
const TESAIOT: &str = env!("CARGO_BIN_EXE_tesaiot");

/// `tesaiot up` on free ports; killed when dropped. Every start has ports of its own: a port that was free again for a
/// moment may belong to somebody else.
pub(crate) struct PlatformProcess {
    running: Running,
    data_directory: PathBuf,
    said: Value,
}

impl PlatformProcess {
    /// Starts, or starts again, on a data directory.
    #[track_caller]
    pub(crate) fn start(data_directory: &Path) -> Self {
        let mut command = Command::new(TESAIOT);
        command.args(arguments(data_directory));
        Self::start_as(&mut command, data_directory)
    }

    /// Starts by a command that ends up running [`arguments`]. Operator commands use `data_directory`.
    #[track_caller]
    pub(crate) fn start_as(command: &mut Command, data_directory: &Path) -> Self {
        Self::start_logging(command, data_directory, "warn")
    }

    /// The same, with a log of this level.
    #[track_caller]
    pub(crate) fn start_logging(command: &mut Command, data_directory: &Path, level: &str) -> Self {
        command.env("RUST_LOG", level);
        let running = Running::start(command);
        let said = running.stdout.wait_for(1, PATIENCE, |line| serde_json::from_str(line).ok());
        let Some(mut said) = said else { panic!("it did not start: {:#?}", running.wait(PATIENCE)) };
        Self { running, data_directory: data_directory.to_owned(), said: said.remove(0) }
    }

    /// Where its MQTT port for certificates is.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.address("mqtt")
    }

    /// Where its MQTT port for passwords is.
    pub(crate) fn mqtt_tls(&self) -> SocketAddr {
        self.address("mqtt_tls")
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.said["addresses"][name].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// A new device, added by the operator's command, with its bundle in `directory`.
    #[track_caller]
    pub(crate) fn device(&self, id: &str, auth: &str, directory: &Path) -> Device {
        let out = directory.join(id);
        let mut command = Command::new(TESAIOT);
        command.args(["device", "add", id, "--auth", auth, "--out"]).arg(&out);
        command.arg("--data-dir").arg(&self.data_directory);
        run(&mut command, PATIENCE).expect_success();
        Device::new(out)
    }

    /// REST without credentials.
    pub(crate) fn rest(&self) -> Rest {
        Rest::new(&format!("https://{}", self.address("https")), &self.data_directory.join("ca/ca-chain.pem"))
    }

    /// REST with the rights of the platform's own operator.
    pub(crate) fn operator(&self) -> Rest {
        let access = std::fs::read(self.data_directory.join("operator.json")).expect("operator.json");
        let access: Value = serde_json::from_slice(&access).expect("operator.json is JSON");
        let token = access["token"].as_str().expect("a token");
        self.rest().with_header("Authorization", &format!("Bearer {token}"))
    }

    /// Its process id, of `command`'s own process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    /// Ends it without a warning, now.
    #[track_caller]
    pub(crate) fn kill(self) {
        self.running.signal("KILL");
        assert_eq!(self.running.wait(PATIENCE).code, None, "a signal ended it");
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(self, signal: &str) -> Outcome {
        self.running.signal(signal);
        self.running.wait(PATIENCE)
    }
}

/// The words of `tesaiot` for a platform on free ports of this machine.
pub(crate) fn arguments(data_directory: &Path) -> Vec<OsString> {
    let words = ["up", "--json", "--bind", "127.0.0.1", "--host", "localhost", "--host", "127.0.0.1"];
    let ports = ["--mqtt-port", "0", "--mqtt-tls-port", "0", "--wss-port", "0", "--https-port", "0", "--data-dir"];
    let words = words.into_iter().chain(ports).map(OsString::from);
    words.chain([data_directory.as_os_str().to_owned()]).collect()
}

/// The program under test, for a wrapper around it.
pub(crate) fn tesaiot() -> &'static Path {
    Path::new(TESAIOT)
}
