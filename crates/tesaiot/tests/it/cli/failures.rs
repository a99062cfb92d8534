//! What a person reads when something is wrong, and the number the program ends with.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{tesaiot, tesaiot_run};
use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::mosquitto::{Mosquitto, ServerTls, free_port};
use crate::support::process::{Outcome, run};

/// `device list` at this port of 127.0.0.1 with these trust anchors.
fn list_at(home: &Path, port: u16, ca: &Path) -> Outcome {
    let url = format!("https://127.0.0.1:{port}");
    let arguments = ["device", "list", "--url", &url, "--token", "t", "--ca"];
    run(tesaiot(home, &arguments).arg(ca), PATIENCE)
}

/// Exit code and stderr, with what changes from run to run replaced.
fn said(outcome: &Outcome, replaced: &[(&str, &str)]) -> String {
    assert_eq!(outcome.stdout, "", "an error is no data: {outcome:#?}");
    let mut stderr = outcome.stderr.clone();
    for (from, to) in replaced {
        stderr = stderr.replace(from, to);
    }
    format!("exit {}\n{stderr}", outcome.code.map_or("by a signal".to_owned(), |code| code.to_string()))
}

#[test]
fn no_platform_here() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let outcome = tesaiot_run(home.path(), &["device", "list"]);
    insta::assert_snapshot!(said(&outcome, &[(&home.path().display().to_string(), "HOME")]), @r"
    exit 4
    error: no platform to talk to: there is no HOME/.local/share/tesaiot/operator.json
    hint: start one here with `tesaiot up`, or name one: --url https://HOST:8443 --token TOKEN --ca ca-chain.pem (--data-dir when it keeps its data elsewhere)
    ");
}

#[test]
fn the_platform_is_not_running() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(home.path());
    let port = free_port();
    let outcome = list_at(home.path(), port, &authority.ca());
    insta::assert_snapshot!(said(&outcome, &[(&port.to_string(), "PORT")]), @r"
    exit 4
    error: https://127.0.0.1:PORT was not reached
      cause: Connection refused (os error 111)
    hint: nothing listens there: is the platform running? Start it with `tesaiot up`, or check --url
    ");
    let url = format!("https://127.0.0.1:{port}");
    let watch = ["telemetry", "watch", "--url", &url, "--token", "t", "--ca"];
    let watching = run(tesaiot(home.path(), &watch).arg(authority.ca()), PATIENCE);
    assert_eq!((watching.code, watching.stderr), (outcome.code, outcome.stderr));
}

#[test]
fn a_server_of_another_authority_is_not_trusted() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));
    for directory in [&ours, &theirs] {
        std::fs::create_dir(directory).expect("a directory");
    }
    let (ours, theirs) = (Authority::new(&ours), Authority::new(&theirs));
    let tls = ServerTls { ca: theirs.ca(), server: theirs.server(), require_client_certificate: false };
    let server = Mosquitto::start(Some(&tls));
    let outcome = list_at(home.path(), server.port(), &ours.ca());
    assert_eq!(outcome.code, Some(5), "{outcome:#?}");
    assert!(outcome.stderr.contains("Certificate verify failed: "), "{outcome:#?}");
    assert!(outcome.stderr.contains("\nhint: "), "{outcome:#?}");

    let url = format!("https://127.0.0.1:{}", server.port());
    let watch = ["telemetry", "watch", "--url", &url, "--token", "t", "--ca"];
    let outcome = run(tesaiot(home.path(), &watch).arg(ours.ca()), PATIENCE);
    assert_eq!(outcome.code, Some(5), "{outcome:#?}");
    assert!(outcome.stderr.contains("Certificate verify failed: "), "{outcome:#?}");
}

#[test]
fn something_without_tls_answers() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(home.path());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").expect("a greeting");
        // Read until the client gives up: closing at once would be a reset.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let outcome = list_at(home.path(), port, &authority.ca());
    server.join().expect("the server ends");
    assert_eq!(outcome.code, Some(4), "{outcome:#?}");
    assert!(outcome.stderr.contains("hint: "), "{outcome:#?}");
}

#[test]
fn addresses_tokens_and_files_are_checked_before_anything_is_sent() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(home.path());
    let ca = authority.ca().display().to_string();
    let garbage = home.path().join("garbage.pem");
    std::fs::write(&garbage, "garbage").expect("a file");
    let list = |extra: &[&str]| {
        let outcome = tesaiot_run(home.path(), &[&["device", "list"], extra].concat());
        said(&outcome, &[(&home.path().display().to_string(), "HOME")])
    };
    insta::assert_snapshot!(list(&["--url", "http://localhost:8443", "--token", "t", "--ca", &ca]), @r#"
    exit 2
    error: "http://localhost:8443" is not the address of a platform
    hint: write it as https://HOST:8443, with no path behind it
    "#);
    insta::assert_snapshot!(list(&["--url", "https://localhost:8443", "--ca", &ca]), @r"
    exit 2
    error: no token for https://localhost:8443
    hint: give --token or TESAIOT_TOKEN: POST /api/v1/auth/login returns one
    ");
    insta::assert_snapshot!(list(&["--url", "https://localhost:8443", "--token", "t"]), @r"
    exit 2
    error: nothing to verify https://localhost:8443 with
    hint: give --ca or TESAIOT_CA_CERT: the platform's ca-chain.pem, as it is in every bundle
    ");
    insta::assert_snapshot!(list(&["--url", "https://localhost:8443", "--token", "t\nX: 1", "--ca", &ca]), @r"
    exit 2
    error: the token is not a token: it holds a space or a control character, or nothing
    hint: give the token alone, without quotes or `Bearer`
    ");
    insta::assert_snapshot!(list(&["--url", "https://localhost:8443", "--token", "t", "--ca", "none.pem"]), @r"
    exit 3
    error: File not readable: none.pem
      cause: No such file or directory (os error 2)
    hint: check the path of --ca or TESAIOT_CA_CERT
    ");
    let garbage = garbage.display().to_string();
    insta::assert_snapshot!(list(&["--url", "https://localhost:8443", "--token", "t", "--ca", &garbage]), @r"
    exit 3
    error: HOME/garbage.pem holds no trust anchors
      cause: the trust anchor file holds no certificate
    hint: check the path of --ca or TESAIOT_CA_CERT
    ");
}

#[test]
fn a_damaged_note_is_named() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let data_dir = home.path().join(".local/share/tesaiot");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    let note = json!({"url": "https://localhost:8443", "token": "secret-token"}).to_string();
    std::fs::write(data_dir.join("operator.json"), note).expect("a file");
    let outcome = tesaiot_run(home.path(), &["device", "list"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("operator.json is damaged"), "{outcome:#?}");
    assert!(!outcome.stderr.contains("secret-token"), "{outcome:#?}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for arguments in [
        &["device", "add", "a/b"][..],
        &["device", "add"],
        &["device", "show", "x"],
        &["telemetry", "get", "pump-7", "--since", "15"],
        &["telemetry", "get", "pump-7", "--since", "15m", "--from", "2026-01-01T00:00:00Z"],
        &["telemetry", "get", "pump-7", "--from", "yesterday"],
        &["telemetry", "get", "pump-7", "--limit", "0"],
        &["telemetry", "get", "pump-7", "--bucket", "1m"],
        &["demo", "--for", "0s"],
        &["up", "--bind", "localhost"],
        &["up", "--mqtt-port", "70000"],
        &["nonsense"],
    ] {
        let outcome = tesaiot_run(home.path(), arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?}: {outcome:#?}");
        assert!(outcome.stderr.starts_with("error: "), "{arguments:?}: {outcome:#?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let script = format!("'{}' demo --for 1s | head -n 1", env!("CARGO_BIN_EXE_tesaiot"));
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {script}")]).env("HOME", home.path());
    let outcome = run(&mut command, PATIENCE);
    assert!(outcome.stdout.starts_with("A platform is up"), "{outcome:#?}");
    assert!(!outcome.stderr.contains("panicked") && !outcome.stderr.contains("Broken pipe"), "{outcome:#?}");
}
