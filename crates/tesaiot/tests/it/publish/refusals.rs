//! Everything that can go wrong before a message is sent: the words, the hint and the exit code of each row of the
//! wire contract, section 8.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use tesaiot_mqtt::packet::ConnectAckReason;

use super::forge::{Forge, Usage, Validity};
use super::place::{DEVICE, Place, mode, publish};
use super::scripted::{self, welcome};
use crate::support::mosquitto::free_port;
use crate::support::process::Outcome;

/// Fails unless the program ended with `code`, said each of `words`, and gave a hint on a line of its own.
#[track_caller]
fn expect(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:#?}");
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    // Behind warnings about the bundle, if there are any.
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{outcome:#?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome:#?}");
    }
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("hint: ")).count(), 1, "{outcome:#?}");
}

#[test]
fn nothing_listens() {
    let place = Place::new();
    let port = free_port();
    let outcome = publish(&place.certificate_bundle(port), &[]);
    expect(&outcome, 4, &[&format!("error: Connection refused: 127.0.0.1:{port}\n"), "hint: check host and port"]);
}

#[test]
fn the_host_does_not_exist() {
    let place = Place::new();
    // A name that cannot be one: no resolver is asked for long.
    let outcome = publish(&place.certificate_bundle(1), &["--broker-host", "no such host", "--broker-port", "7"]);
    expect(&outcome, 4, &["error: Host not found: no such host:7: ", "hint: check host and port"]);
}

#[test]
fn another_protocol_answers() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let outcome = publish(&place.certificate_bundle(port), &[]);
    expect(&outcome, 4, &[&format!("error: TLS failed: 127.0.0.1:{port}: the peer does not speak TLS"), "hint: check"]);
}

#[test]
fn the_server_is_of_another_authority() {
    let place = Place::new();
    let stranger = Forge::new(place.directory.path(), "stranger");
    let broker = place.broker_with(stranger.server(), false);
    let outcome = publish(&place.certificate_bundle(broker.port()), &[]);
    let port = broker.port();
    let words = [
        &format!(
            "error: Certificate verify failed: 127.0.0.1:{port}: not trusted: unknown issuer or incomplete chain: it came without the certificate of its issuer \"CN=stranger\"; the server showed"
        )[..],
        "subject \"CN=broker\", issuer \"CN=stranger\", valid from 2020-01-01T00:00:00Z until 2999-01-01T00:00:00Z",
        "hint: verify ca-chain.pem",
    ];
    expect(&outcome, 5, &words);
}

#[test]
fn the_server_has_another_name() {
    let place = Place::new();
    let server = place.forge.issue("broker", &["broker.example"], Usage::Server, Validity::Now);
    let broker = place.broker_with(server, false);
    let outcome = publish(&place.certificate_bundle(broker.port()), &[]);
    let words = ["Certificate verify failed", "not valid for \"127.0.0.1\"", "names broker.example", "CN=broker"];
    expect(&outcome, 5, &words);
}

#[test]
fn the_server_certificate_is_out_of_date() {
    for (validity, words) in [
        (
            Validity::Past,
            [
                "Certificate verify failed",
                "expired: this machine's clock says",
                "the certificate is valid until 2021-01-01T00:00:00Z",
            ],
        ),
        (
            Validity::Future,
            [
                "Certificate verify failed",
                "not yet valid: this machine's clock says",
                "the certificate is valid from 2998-01-01T00:00:00Z",
            ],
        ),
    ] {
        let place = Place::new();
        let server = place.forge.issue("broker", &["127.0.0.1"], Usage::Server, validity);
        let broker = place.broker_with(server, false);
        expect(&publish(&place.certificate_bundle(broker.port()), &[]), 5, &words);
    }
}

#[test]
fn the_broker_does_not_know_the_authority_of_the_client() {
    for version in ["tlsv1.2", "tlsv1.3"] {
        let place = Place::new();
        let broker = place.broker(true);
        let stranger = Forge::new(place.directory.path(), "stranger");
        let bundle = place.bundle(broker.port(), Some(&stranger.issue(DEVICE, &[], Usage::Client, Validity::Now)));
        let outcome = publish(&bundle, &["--tls-version", version]);
        let port = broker.port();
        let words = [
            &format!("error: Client certificate refused: 127.0.0.1:{port}: ")[..],
            "(TLS alert unknown_ca, step: client certificate)",
            "hint: check client cert and key",
        ];
        expect(&outcome, 6, &words);
    }
}

#[test]
fn the_broker_refuses_the_login() {
    for (reason, mqtt) in [
        (ConnectAckReason::BadUserNameOrPassword, "3.1.1"),
        (ConnectAckReason::NotAuthorized, "3.1.1"),
        (ConnectAckReason::BadUserNameOrPassword, "5"),
    ] {
        let place = Place::new();
        let port = scripted::broker(&place.server(), move |_, mut peer| async move {
            let _ = welcome(&mut peer, reason).await;
        });
        let outcome = publish(&place.key_bundle(port), &["--mqtt-version", mqtt]);
        let words =
            [&format!("error: Bad username or password: 127.0.0.1:{port}: ")[..], "hint: check client cert and key"];
        expect(&outcome, 6, &words);
    }
}

#[test]
fn a_broker_that_is_not_ready_is_not_the_fault_of_the_client() {
    let place = Place::new();
    let port = scripted::broker(&place.server(), |_, mut peer| async move {
        let _ = welcome(&mut peer, ConnectAckReason::ServerUnavailable).await;
    });
    expect(&publish(&place.key_bundle(port), &[]), 4, &["error: Broker not available: ", "hint: try again later"]);
}

#[test]
fn the_bundle_is_checked_before_connecting() {
    // Port 1: whoever tried to connect would end with 4.
    let place = Place::new();
    let other = place.forge.issue("bed-13", &[], Usage::Client, Validity::Now);
    let says = ["issued to \"bed-13\", not to the device bed-12", "hint: check client cert and key"];
    expect(&publish(&place.bundle(1, Some(&other)), &[]), 3, &says);

    let place = Place::new();
    let bundle = place.certificate_bundle(1);
    let other = place.forge.issue("other", &[], Usage::Client, Validity::Now);
    fs::copy(other.key, bundle.join("client_key.pem")).expect("another key");
    mode(&bundle.join("client_key.pem"), 0o600);
    let says = ["the private key does not match the certificate", "hint: take certificate and key"];
    expect(&publish(&bundle, &[]), 3, &says);

    for (validity, says) in [
        (Validity::Past, "client_cert.pem expired at 2021-01-01T00:00:00Z"),
        (Validity::Future, "client_cert.pem is not valid before 2998-01-01T00:00:00Z"),
    ] {
        let place = Place::new();
        let client = place.forge.issue(DEVICE, &[], Usage::Client, validity);
        expect(&publish(&place.bundle(1, Some(&client)), &[]), 3, &[says, "this machine's clock"]);
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in ["client_cert.pem", "client_key.pem", "ca-chain.pem"] {
        let place = Place::new();
        let bundle = place.certificate_bundle(1);
        fs::remove_file(bundle.join(name)).expect("it is there");
        let expected = format!("error: File not readable: {}\n", bundle.join(name).display());
        expect(&publish(&bundle, &[]), 3, &[&expected]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let place = Place::new();
    let bundle = place.certificate_bundle(1);
    let key = bundle.join("client_key.pem");
    // A directory cannot be read as a file, not even by root.
    fs::remove_file(&key).expect("it is there");
    fs::create_dir(&key).expect("a directory in its place");
    expect(&publish(&bundle, &[]), 3, &[&format!("error: File not readable: {}\n", key.display())]);
}

#[test]
fn a_key_that_others_may_read_is_a_warning_or_with_strict_an_error() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    mode(&bundle.join("client_key.pem"), 0o644);
    let outcome = publish(&bundle, &[]).expect_success();
    assert!(outcome.stderr.starts_with("warning: client_key.pem may be read by others (mode 644)"), "{outcome:#?}");
    let says = ["error: client_key.pem may be read by others (mode 644)", "hint: chmod 600 client_key.pem"];
    expect(&publish(&bundle, &["--strict"]), 3, &says);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let place = Place::new();
    let outcome = publish(&place.certificate_bundle(1), &["--period", "1", "--interval", "0"]);
    expect(&outcome, 2, &["error: --period needs an --interval above 0"]);
}
