//! Servers whose certificate must not be believed.

use std::fs;
use std::path::PathBuf;

use super::forge::{Authority, FUTURE, NOW, PAST, self_signed, server, without_chain};
use super::publish;
use crate::publish::place::Place;
use crate::publish::scripted;
use crate::support::authority::CertificateFiles;

/// An authority, and a bundle that trusts it.
struct Scene {
    place: Place,
    root: Authority,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let root = Authority::root(place.directory(), "authority", NOW);
        Self { place, root }
    }

    /// What is said of a server with this certificate, in both versions of TLS alike.
    #[track_caller]
    fn said(&self, server: &CertificateFiles) -> String {
        let port = scripted::broker(server, |_, _| async { panic!("it was believed") });
        let bundle = self.bundle(port);
        let said = publish(&bundle, port, &["--tls-version", "tlsv1.3"]);
        assert_eq!(publish(&bundle, port, &["--tls-version", "tlsv1.2"]), said);
        said
    }

    fn bundle(&self, port: u16) -> PathBuf {
        let bundle = self.place.key_bundle(port);
        fs::copy(self.root.file(), bundle.join("ca-chain.pem")).expect("the trust anchor is copied");
        bundle
    }
}

#[test]
fn an_expired_certificate() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.said(&scene.root.server(PAST)));
}

#[test]
fn a_certificate_that_is_not_yet_valid() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.said(&scene.root.server(FUTURE)));
}

#[test]
fn a_certificate_whose_issuer_has_expired() {
    let scene = Scene::new();
    let intermediate = scene.root.below("intermediate", PAST);
    insta::assert_snapshot!(scene.said(&intermediate.server(NOW)));
}

#[test]
fn a_certificate_for_other_names() {
    let scene = Scene::new();
    let files = scene.root.issue(&server(&["broker.example", "10.1.2.3"], NOW));
    insta::assert_snapshot!(scene.said(&files));
}

#[test]
fn a_certificate_of_another_authority() {
    let scene = Scene::new();
    let stranger = Authority::root(scene.place.directory(), "stranger", NOW);
    let intermediate = stranger.below("stranger's intermediate", NOW);
    insta::assert_snapshot!(scene.said(&intermediate.server(NOW)));
}

#[test]
fn a_certificate_that_came_without_its_chain() {
    let scene = Scene::new();
    let files = scene.root.below("intermediate", NOW).server(NOW);
    without_chain(&files);
    insta::assert_snapshot!(scene.said(&files));
}

#[test]
fn a_self_signed_certificate() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.said(&self_signed(scene.place.directory())));
}

#[test]
fn an_authority_that_was_made_anew() {
    let scene = Scene::new();
    let again = Authority::root(scene.place.directory(), "authority", NOW);
    insta::assert_snapshot!(scene.said(&again.server(NOW)));
}

#[test]
fn a_device_that_pretends_to_be_a_server() {
    let scene = Scene::new();
    let mut parameters = server(&["127.0.0.1"], NOW);
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    insta::assert_snapshot!(scene.said(&scene.root.issue(&parameters)));
}
