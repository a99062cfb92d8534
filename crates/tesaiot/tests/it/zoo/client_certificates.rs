//! A mosquitto that does not accept the device's certificate, and certificates that never leave the device.

use std::fs;
use std::path::PathBuf;

use rcgen::{ExtendedKeyUsagePurpose, SerialNumber};

use super::forge::{Authority, FUTURE, NOW, PAST, client};
use super::publish;
use crate::publish::place::{DEVICE, Place};
use crate::support::authority::CertificateFiles;
use crate::support::mosquitto::{Mosquitto, ServerTls};

/// A broker that believes devices of `devices`, whose own certificate is of the place's authority.
#[track_caller]
fn broker(place: &Place, devices: &Authority, further: &str) -> Mosquitto {
    let tls = ServerTls { ca: devices.file(), server: place.server(), require_client_certificate: true };
    Mosquitto::start_with(Some(&tls), further)
}

fn bundle(place: &Place, port: u16, files: &CertificateFiles) -> PathBuf {
    place.bundle(port, Some(files))
}

/// What is said with this certificate, over both versions of TLS.
#[track_caller]
fn said(place: &Place, broker: &Mosquitto, files: &CertificateFiles) -> String {
    let bundle = bundle(place, broker.port(), files);
    let in_12 = publish(&bundle, broker.port(), &["--tls-version", "tlsv1.2"]);
    assert_eq!(publish(&bundle, broker.port(), &["--tls-version", "tlsv1.3"]), in_12);
    in_12
}

#[test]
fn none_is_shown_and_one_is_required() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.key_bundle(broker.port());
    let versions = ["tlsv1.2", "tlsv1.3"];
    let said = versions.map(|version| publish(&bundle, broker.port(), &["--tls-version", version]));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn one_of_another_authority() {
    let place = Place::new();
    let broker = place.broker(true);
    let stranger = Authority::root(place.directory(), "stranger", NOW);
    insta::assert_snapshot!(said(&place, &broker, &stranger.client(DEVICE, NOW)));
}

#[test]
fn one_for_another_purpose() {
    let place = Place::new();
    let devices = Authority::root(place.directory(), "devices", NOW);
    let broker = broker(&place, &devices, "");
    let mut parameters = client(DEVICE, NOW);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    insta::assert_snapshot!(said(&place, &broker, &devices.issue(&parameters)));
}

#[test]
fn one_whose_authority_has_expired() {
    let place = Place::new();
    let devices = Authority::root(place.directory(), "devices", PAST);
    let broker = broker(&place, &devices, "");
    insta::assert_snapshot!(said(&place, &broker, &devices.client(DEVICE, NOW)));
}

#[test]
fn one_that_was_taken_back() {
    let place = Place::new();
    let devices = Authority::root(place.directory(), "devices", NOW);
    let broker = broker(&place, &devices, &format!("crlfile {}\n", devices.revoke(77).display()));
    let mut parameters = client(DEVICE, NOW);
    parameters.serial_number = Some(SerialNumber::from(77));
    insta::assert_snapshot!(said(&place, &broker, &devices.issue(&parameters)));
}

/// Port 1: whoever tried to connect would say that it is refused.
#[test]
fn ones_that_are_not_sent() {
    let place = Place::new();
    let devices = Authority::root(place.directory(), "devices", NOW);
    let said = [devices.client(DEVICE, PAST), devices.client(DEVICE, FUTURE), devices.client("bed-13", NOW)]
        .map(|files| publish(&bundle(&place, 1, &files), 1, &[]));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn one_whose_key_is_another_s() {
    let place = Place::new();
    let bundle = place.certificate_bundle(1);
    let other = Authority::root(place.directory(), "devices", NOW).client(DEVICE, NOW);
    fs::copy(other.key, bundle.join("client_key.pem")).expect("another key");
    insta::assert_snapshot!(publish(&bundle, 1, &[]));
}
