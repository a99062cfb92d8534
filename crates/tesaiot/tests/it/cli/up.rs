//! `tesaiot up` as a process, and what it says.

use std::path::Path;

use serde_json::Value;

use super::tesaiot;
use crate::support::PATIENCE;
use crate::support::process::{Outcome, Running};

/// A platform of its own process, in the standard place of a home of its own.
pub(super) struct Up {
    running: Running,
    /// What `--json` said
    pub(super) said: Value,
}

impl Up {
    /// On free ports of 127.0.0.1.
    #[track_caller]
    pub(super) fn start(home: &Path) -> Self {
        Self::start_on(home, [0, 0, 0, 0])
    }

    /// On these ports: MQTT, MQTT with passwords, MQTT over WebSocket, HTTPS.
    #[track_caller]
    pub(super) fn start_on(home: &Path, ports: [u16; 4]) -> Self {
        let [mqtt, mqtt_tls, wss, https] = ports.map(|port| port.to_string());
        let place = ["up", "--json", "--bind", "127.0.0.1", "--host", "127.0.0.1"];
        let ports = ["--mqtt-port", &mqtt, "--mqtt-tls-port", &mqtt_tls, "--wss-port", &wss, "--https-port", &https];
        let ports = [&ports[..], &["--ingest-port", "0"]].concat();
        let running = Running::start(&mut tesaiot(home, &[&place[..], &ports[..]].concat()));
        let said = running.stdout.wait_for(1, PATIENCE, |line| serde_json::from_str(line).ok());
        let said = said.unwrap_or_else(|| panic!("it did not start: {}", running.stderr.text())).remove(0);
        Self { running, said }
    }

    /// The ports it listens on, in the order of [`Up::start_on`].
    pub(super) fn ports(&self) -> [u16; 4] {
        ["mqtt", "mqtt_tls", "mqtt_wss", "https"].map(|name| {
            let address = self.said["addresses"][name].as_str().expect("an address");
            address.rsplit_once(':').expect("a port").1.parse().expect("a number")
        })
    }

    /// Asks it to end, with this signal, and waits for that.
    #[track_caller]
    pub(super) fn stop(self, signal: &str) -> Outcome {
        self.running.signal(signal);
        self.running.wait(PATIENCE)
    }
}

#[test]
fn the_first_start_says_the_passwords_and_later_ones_do_not() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = Up::start(home.path());
    let password = first.said["first_start"]["admin_password"].as_str().expect("a password").to_owned();
    assert!(password.len() >= 20, "a made-up password is long");
    assert!(first.said["first_start"]["root_passphrase"].is_string());
    assert_eq!(first.said["first_start"]["admin_email"], "admin@localhost");
    let ports = first.ports();
    let outcome = first.stop("TERM");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(!outcome.stderr.contains(&password), "the log knows no password");

    let second = Up::start_on(home.path(), ports);
    assert!(second.said["first_start"].is_null(), "{}", second.said);
    assert_eq!(second.ports(), ports);
    assert_eq!(second.stop("INT").code, Some(0));
}

#[test]
fn a_person_reads_where_it_listens_and_what_to_do_next() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let arguments = [
        "up",
        "--bind",
        "127.0.0.1",
        "--mqtt-port",
        "0",
        "--mqtt-tls-port",
        "0",
        "--wss-port",
        "0",
        "--https-port",
        "0",
    ];
    let mut command = tesaiot(home.path(), &arguments);
    let running = Running::start(command.args(["--host", "localhost", "--data-dir", "the data"]));
    let complete = |line: &str| (line == "Ctrl-C ends it.").then_some(());
    assert!(running.stdout.wait_for(1, PATIENCE, complete).is_some(), "{}", running.stderr.text());
    running.signal("INT");
    let outcome = running.wait(PATIENCE).expect_success();
    insta::assert_snapshot!(outcome.stdout.lines().map(masked).collect::<Vec<_>>().join("\n"), @r"
    tesaiot is up.
      MQTT, certificate or password  127.0.0.1:PORT
      MQTT, password                 127.0.0.1:PORT
      MQTT over WebSocket, password  wss://localhost:PORT/mqtt
      HTTPS                          https://localhost:PORT
      HTTPS, certificate             https://localhost:PORT
      Data directory                 the data

    First start. These are shown once and kept nowhere:
      Administrator                  admin@localhost
      Password                       WORD
      Passphrase of the root key     WORD

    Next, in another terminal:
      tesaiot device add pump-7 --data-dir 'the data'
      tesaiot publish --certs-dir ./pump-7
      tesaiot telemetry get pump-7 --data-dir 'the data'

    Ctrl-C ends it.
    ");
}

/// Without what changes from run to run: ports and made-up words.
fn masked(line: &str) -> String {
    if let Some(masked) = line.strip_suffix("/mqtt").map(masked) {
        return masked + "/mqtt";
    }
    let secret = ["  Password ", "  Passphrase "].iter().any(|start| line.starts_with(start));
    match line.rsplit_once([' ', ':']) {
        Some((start, _)) if secret => format!("{start} WORD"),
        Some((start, port)) if port.parse::<u16>().is_ok() => format!("{start}:PORT"),
        _ => line.to_owned(),
    }
}

#[test]
fn a_port_in_use_and_a_bad_name_are_said() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let running = Up::start(home.path());
    let [mqtt, ..] = running.ports();
    let place = [
        "up",
        "--bind",
        "127.0.0.1",
        "--data-dir",
        "other",
        "--mqtt-tls-port",
        "0",
        "--wss-port",
        "0",
        "--https-port",
        "0",
    ];
    let mut command = tesaiot(home.path(), &place);
    let outcome = crate::support::process::run(command.args(["--mqtt-port", &mqtt.to_string()]), PATIENCE);
    assert_eq!(outcome.code, Some(4), "{outcome:#?}");
    assert!(outcome.stderr.contains(&format!("port {mqtt} cannot be bound")), "{outcome:#?}");
    assert!(outcome.stderr.contains("hint: another program listens there"), "{outcome:#?}");

    let outcome = super::tesaiot_run(home.path(), &["up", "--data-dir", "other", "--host", "not a name"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("'not a name'"), "{outcome:#?}");
}

#[test]
fn a_first_start_that_failed_or_could_not_be_heard_shows_its_passwords_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let free =
        ["--bind", "127.0.0.1", "--mqtt-port", "0", "--mqtt-tls-port", "0", "--wss-port", "0", "--https-port", "0"];
    std::fs::write(home.path().join("root.key"), "mine").expect("a file");
    let offline = [&["up", "--root-key-offline", "root.key"][..], &free[..]].concat();
    let failed = Running::start(&mut tesaiot(home.path(), &offline)).wait(PATIENCE);
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    assert!(failed.stderr.contains("exists already") && failed.stderr.contains("--root-key-offline"), "{failed:#?}");

    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut unheard = tesaiot(home.path(), &[&["up"][..], &free[..]].concat());
    let unheard = unheard.stdout(full).stderr(std::process::Stdio::null()).status().expect("a status");
    assert!(!unheard.success(), "what cannot be printed is not served");

    let heard = Up::start(home.path());
    let password = heard.said["first_start"]["admin_password"].as_str().expect("a password").to_owned();
    let email = heard.said["first_start"]["admin_email"].as_str().expect("an address");
    let ca = home.path().join("data/tesaiot/ca/ca-chain.pem");
    let ca = if ca.exists() { ca } else { home.path().join(".local/share/tesaiot/ca/ca-chain.pem") };
    let login = serde_json::json!({"email": email, "password": password}).to_string();
    let url = format!("https://127.0.0.1:{}/api/v1/auth/login", heard.ports()[3]);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--fail", "-H", "Content-Type: application/json", "-d", &login, "--cacert"]).arg(ca).arg(url);
    let answer = curl.output().expect("curl");
    assert!(answer.status.success(), "the password that is shown is the one that works: {answer:?}");
    assert_eq!(heard.stop("TERM").code, Some(0));

    let later = Up::start(home.path());
    assert!(later.said["first_start"].is_null(), "shown once");
    assert_eq!(later.stop("HUP").code, Some(0), "a terminal that closes ends it in good order");
}

#[test]
fn the_names_of_the_platform_are_remembered_and_operators_need_none() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let free = ["--json", "--mqtt-port", "0", "--mqtt-tls-port", "0", "--wss-port", "0", "--https-port", "0"];
    let start = |names: &[&str]| {
        let running = Running::start(&mut tesaiot(home.path(), &[&["up"][..], &free[..], names].concat()));
        let said = running.stdout.wait_for(1, PATIENCE, |line| serde_json::from_str::<Value>(line).ok());
        let said = said.unwrap_or_else(|| panic!("it did not start: {}", running.stderr.text())).remove(0);
        (running, said)
    };
    for names in [&["--host", "iot.example.org", "--host", "192.0.2.7"][..], &[]] {
        let (running, said) = start(names);
        assert_eq!(said["host"], "iot.example.org");
        // The public name does not resolve here, and operator commands on this machine work all the same.
        let list = Running::start(&mut tesaiot(home.path(), &["device", "list"])).wait(PATIENCE);
        assert_eq!(list.code, Some(0), "{list:#?}");
        running.signal("TERM");
        assert_eq!(running.wait(PATIENCE).code, Some(0));
    }
}
