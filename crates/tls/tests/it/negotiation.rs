//! Versions, suites and application protocols.

use std::sync::Arc;

use rustls::PeerIncompatible;
use rustls::crypto::CryptoProvider;
use tesaiot_tls::{
    ClientCertificates, ClientSettings, Diagnosis, Refusal, ServerIdentityHandle, Side, Step, TlsVersion, Versions,
    client_config, provider, server_config,
};

use crate::support::{HOST, ca, client, converse, handshake, refused, server_of};

use TlsVersion::{Tls12, Tls13};

#[tokio::test]
async fn exactly_the_pinned_version_is_negotiated() {
    let ca = ca("root");
    for (at_server, at_client, expected) in [
        (Versions::Both, Versions::Both, Tls13),
        (Versions::Both, Versions::Only(Tls12), Tls12),
        (Versions::Both, Versions::Only(Tls13), Tls13),
        (Versions::Only(Tls12), Versions::Both, Tls12),
        (Versions::Only(Tls13), Versions::Both, Tls13),
        (Versions::Only(Tls12), Versions::Only(Tls12), Tls12),
        (Versions::Only(Tls13), Versions::Only(Tls13), Tls13),
    ] {
        let server = server_of(ca.server(), ClientCertificates::NotRequested, at_server);
        let client = client(ca.trust(), None, at_client);
        let (accepted, connected) = handshake(&server, &client, HOST).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        let seen = |version| TlsVersion::negotiated(version).unwrap();
        assert_eq!(seen(accepted.get_ref().1.protocol_version()), expected);
        assert_eq!(seen(connected.get_ref().1.protocol_version()), expected);
        converse(&mut accepted, &mut connected).await.unwrap();
    }
}

#[tokio::test]
async fn a_version_pinned_on_one_side_only_is_refused_by_the_server() {
    let ca = ca("root");
    for (at_server, at_client) in [(Tls12, Tls13), (Tls13, Tls12)] {
        let server = server_of(ca.server(), ClientCertificates::NotRequested, at_server.into());
        let client = client(ca.trust(), None, at_client.into());
        let (server_says, client_says) = refused(&server, &client, HOST).await;
        assert_eq!(server_says, Diagnosis::ProtocolVersion, "{at_server}");
        assert_eq!(server_says.side(), Side::Local);
        assert_eq!(client_says, Diagnosis::PeerRefused(Refusal::ProtocolVersion));
        assert_eq!((client_says.side(), client_says.step()), (Side::Peer, Step::Hello));
    }
}

#[tokio::test]
async fn ends_without_a_suite_in_common_say_so() {
    let ca = ca("root");
    let server = server_of(ca.server(), ClientCertificates::NotRequested, Tls12.into());
    // The server's key is ECDSA; this client takes RSA only.
    let mut rsa_only = CryptoProvider::clone(&provider());
    rsa_only.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("_RSA_"));
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(rsa_only))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (server_says, client_says) = refused(&server, &Arc::new(client), HOST).await;
    assert_eq!(server_says, Diagnosis::NothingInCommon(PeerIncompatible::NoCipherSuitesInCommon));
    assert_eq!(client_says, Diagnosis::PeerRefused(Refusal::HandshakeFailure));
}

#[tokio::test]
async fn application_protocols_are_agreed_on_or_refused() {
    let ca = ca("root");
    let server = server_config(
        &ServerIdentityHandle::fixed(ca.server()),
        ClientCertificates::NotRequested,
        Versions::Both,
        &[b"mqtt", b"http/1.1"],
    )
    .unwrap();
    let client = |protocols: &[&[u8]]| {
        let mut settings = ClientSettings::new(ca.trust());
        settings.alpn = protocols.iter().map(|name| name.to_vec()).collect();
        client_config(settings).unwrap()
    };
    for (offered, agreed) in [
        (&[b"http/1.1".as_slice(), b"mqtt"][..], Some(b"mqtt".as_slice())),
        (&[b"http/1.1".as_slice()][..], Some(b"http/1.1")),
        (&[][..], None),
    ] {
        let (accepted, connected) = handshake(&server, &client(offered), HOST).await;
        assert_eq!(accepted.unwrap().get_ref().1.alpn_protocol(), agreed);
        assert_eq!(connected.unwrap().get_ref().1.alpn_protocol(), agreed);
    }
    let (server_says, client_says) = refused(&server, &client(&[b"h2"]), HOST).await;
    assert_eq!(server_says, Diagnosis::ApplicationProtocol);
    assert_eq!(client_says, Diagnosis::PeerRefused(Refusal::NoApplicationProtocol));
}
