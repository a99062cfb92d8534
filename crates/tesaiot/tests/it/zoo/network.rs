//! Nobody there, or somebody who does not speak TLS as it must be spoken.

use std::io::Write;

use super::{publish, raw};
use crate::publish::place::Place;
use crate::support::mosquitto::{Mosquitto, free_port};

/// What is said of whoever listens at `port`.
#[track_caller]
fn at(port: u16) -> String {
    publish(&Place::new().certificate_bundle(port), port, &[])
}

#[test]
fn nothing_listens() {
    insta::assert_snapshot!(at(free_port()));
}

#[test]
fn the_name_is_not_resolved() {
    // A name that cannot be one: no resolver is asked for long.
    let bundle = Place::new();
    let bundle = bundle.certificate_bundle(7);
    insta::assert_snapshot!(publish(&bundle, 7, &["--broker-host", "no such host"]));
}

#[test]
fn the_network_is_unreachable() {
    let place = Place::new();
    let bundle = place.certificate_bundle(7);
    insta::assert_snapshot!(publish(&bundle, 7, &["--broker-host", "255.255.255.255"]));
}

#[test]
fn a_broker_without_tls() {
    let broker = Mosquitto::start(None);
    insta::assert_snapshot!(at(broker.port()));
}

#[test]
fn a_web_server() {
    let port = raw::answers_hello(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    insta::assert_snapshot!(at(port));
}

#[test]
fn a_server_that_speaks_first() {
    let port = raw::server(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        raw::read_record(&mut stream);
    });
    insta::assert_snapshot!(at(port));
}

#[test]
fn a_server_that_hangs_up() {
    insta::assert_snapshot!(at(raw::server(drop)));
}

#[test]
fn a_server_that_hangs_up_after_the_hello() {
    insta::assert_snapshot!(at(raw::answers_hello(b"")));
}

/// ServerHello of TLS 1.1: version 3.2, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
const HELLO_OF_TLS_1_1: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

#[test]
fn a_server_of_tls_1_1() {
    insta::assert_snapshot!(at(raw::answers_hello(HELLO_OF_TLS_1_1)));
}

#[test]
fn a_server_that_knows_no_version_of_ours() {
    insta::assert_snapshot!(at(raw::answers_hello(&[21, 3, 2, 0, 2, 2, 70])));
}

#[test]
fn a_server_that_knows_no_suite_of_ours() {
    insta::assert_snapshot!(at(raw::answers_hello(&[21, 3, 3, 0, 2, 2, 40])));
}

#[test]
fn a_server_for_other_names() {
    insta::assert_snapshot!(at(raw::answers_hello(&[21, 3, 3, 0, 2, 2, 112])));
}

#[test]
fn a_server_that_has_troubles_of_its_own() {
    insta::assert_snapshot!(at(raw::answers_hello(&[21, 3, 3, 0, 2, 2, 80])));
}

#[test]
fn a_server_whose_tls_is_nonsense() {
    insta::assert_snapshot!(at(raw::answers_hello(b"\x16\x03\x03\x00\x08\x02\x00\x00\x04junk")));
}
