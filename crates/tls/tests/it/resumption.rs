//! No session of a client certificate is ever resumed.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use tesaiot_tls::{ClientCertificates, TlsVersion};

use crate::support::{HOST, ca, client, converse, handshake, server};

/// Ours never resumes; other people's clients do.
fn resuming(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

#[tokio::test]
async fn only_listeners_that_ask_for_no_certificate_resume() {
    let ca = ca("root");
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let ours = client(ca.trust(), Some(ca.client("device")), version.into());
        for (clients, config, second) in [
            (ClientCertificates::Required(ca.trust()), resuming(&ours), HandshakeKind::Full),
            (ClientCertificates::Optional(ca.trust()), resuming(&ours), HandshakeKind::Full),
            (ClientCertificates::NotRequested, resuming(&ours), HandshakeKind::Resumed),
            (ClientCertificates::NotRequested, ours.clone(), HandshakeKind::Full),
        ] {
            let asks = !matches!(clients, ClientCertificates::NotRequested);
            let server = server(ca.server(), clients);
            for expected in [HandshakeKind::Full, second] {
                let (accepted, connected) = handshake(&server, &config, HOST).await;
                let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
                converse(&mut accepted, &mut connected).await.unwrap();
                let connection = accepted.get_ref().1;
                assert_eq!(connection.handshake_kind(), Some(expected), "{version}");
                assert_eq!(connection.peer_certificates().is_some(), asks);
            }
        }
    }
}
