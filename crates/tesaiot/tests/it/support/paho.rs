//! Python devices: Paho 1.6 and 2.x as long-lived clients, driven and watched by a test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::PATIENCE;
use super::authority::CertificateFiles;
use super::process::{Outcome, Running};

/// Which Paho: the one the field's agent was written for, or what a new installation gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PahoVersion {
    One,
    Two,
}

/// How a client connects and what it publishes.
#[derive(Debug, Clone)]
pub(crate) struct PahoOptions {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TLS is spoken when there is a trust anchor.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) client: Option<CertificateFiles>,
    pub(crate) client_id: String,
    /// Username and password.
    pub(crate) login: Option<(String, String)>,
    /// `3.1.1` or `5`.
    pub(crate) protocol: &'static str,
    /// Over WebSocket, path `/mqtt`.
    pub(crate) websocket: bool,
    /// How many samples it publishes once it is subscribed to its commands.
    pub(crate) count: u32,
    pub(crate) interval: Duration,
}

impl PahoOptions {
    /// Plain TCP to this machine, 3.1.1, nothing to publish.
    pub(crate) fn new(port: u16, client_id: &str) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port,
            ca: None,
            client: None,
            client_id: client_id.into(),
            login: None,
            protocol: "3.1.1",
            websocket: false,
            count: 0,
            interval: Duration::ZERO,
        }
    }
}

/// A client at work, killed when dropped.
pub(crate) struct Paho {
    running: Running,
}

impl Paho {
    /// Starts a client; [`Paho::event`] tells how it fares.
    #[track_caller]
    pub(crate) fn start(version: PahoVersion, options: &PahoOptions) -> Self {
        let mut command = Command::new(python(version));
        command.args(["-u", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/paho_client.py")]);
        command.args(["--host", &options.host, "--port", &options.port.to_string()]);
        command.args(["--client-id", &options.client_id, "--protocol", options.protocol]);
        command.args(["--count", &options.count.to_string()]);
        command.args(["--interval", &options.interval.as_secs_f64().to_string()]);
        if options.websocket {
            command.args(["--transport", "websockets"]);
        }
        if let Some(ca) = &options.ca {
            command.arg("--ca").arg(ca);
        }
        if let Some((username, password)) = &options.login {
            command.args(["--username", username, "--password", password]);
        }
        if let Some(client) = &options.client {
            command.arg("--certificate").arg(&client.certificate).arg("--key").arg(&client.key);
        }
        Self { running: Running::start(&mut command) }
    }

    /// The first event of this kind; the kinds are listed at the top of `paho_client.py`.
    #[track_caller]
    pub(crate) fn event(&self, kind: &str) -> Value {
        self.events(kind, 1).remove(0)
    }

    /// The first `count` events of this kind, waiting for them; fails the test when they do not come.
    #[track_caller]
    pub(crate) fn events(&self, kind: &str, count: usize) -> Vec<Value> {
        let pick = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == kind).then_some(event)
        };
        self.running.stdout.wait_for(count, PATIENCE, pick).unwrap_or_else(|| {
            let (said, complained) = (self.running.stdout.text(), self.running.stderr.text());
            panic!("no {count} `{kind}` events; the client said:\n{said}\n{complained}")
        })
    }

    /// Publishes one message at QoS 1, beside those of `count`.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str) {
        self.running.write_line(&json!({"topic": topic, "payload": payload}).to_string());
    }

    /// Tells it to disconnect and exit. The code is 0 only when every message was acknowledged.
    pub(crate) fn stop(mut self) -> Outcome {
        self.running.write_line("stop");
        self.running.wait(PATIENCE)
    }
}

/// The environment's Python: named by the variable that `cargo xtask test` sets, else where setup puts it.
#[track_caller]
fn python(version: PahoVersion) -> PathBuf {
    match version {
        PahoVersion::One => environment("TESAIOT_TEST_PAHO1_PYTHON", "paho1"),
        PahoVersion::Two => environment("TESAIOT_TEST_PAHO2_PYTHON", "paho2"),
    }
}

/// The Python of an environment: named by its variable, else where setup puts it.
#[track_caller]
pub(crate) fn environment(variable: &str, folder: &str) -> PathBuf {
    let python = std::env::var_os(variable).map_or_else(
        || {
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/real-clients"))
                .join(folder)
                .join("bin/python")
        },
        PathBuf::from,
    );
    assert!(python.exists(), "{} is not there: run `cargo xtask setup`", python.display());
    python
}
