//! Swapping a server's certificate under a listener that runs.

use std::io;

use tesaiot_tls::{
    CertificateSummary, ClientCertificates, Diagnosis, Refusal, Versions, server_config, server_identity_channel,
};

use crate::support::{HOST, ca, client, converse, handshake, refused};

#[tokio::test]
async fn before_the_first_identity_every_handshake_is_refused() {
    let ca = ca("root");
    let (publisher, handle) = server_identity_channel();
    let server = server_config(&handle, ClientCertificates::NotRequested, Versions::Both, &[]).unwrap();
    let client = client(ca.trust(), None, Versions::Both);
    assert!(handle.current().is_none());
    let (server_says, client_says) = refused(&server, &client, HOST).await;
    assert_eq!(server_says, Diagnosis::NoServerIdentity);
    assert!(server_says.retry_may_help());
    assert_eq!(client_says, Diagnosis::PeerRefused(Refusal::AccessDenied));

    publisher.publish(ca.server());
    let (accepted, connected) = handshake(&server, &client, HOST).await;
    assert!(accepted.is_ok() && connected.is_ok());
}

#[tokio::test]
async fn a_new_identity_is_shown_by_the_next_handshake_and_old_connections_stand() -> io::Result<()> {
    let ca = ca("root");
    let (publisher, handle) = server_identity_channel();
    let server = server_config(&handle, ClientCertificates::NotRequested, Versions::Both, &[]).unwrap();
    let client = client(ca.trust(), None, Versions::Both);

    let mut standing = Vec::new();
    for _ in 0..2 {
        let identity = ca.server();
        publisher.publish(identity.clone());
        let (accepted, connected) = handshake(&server, &client, HOST).await;
        let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
        let shown = connected.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert_eq!(&CertificateSummary::from_der(&shown).unwrap(), identity.summary());
        assert_eq!(handle.current().unwrap().summary(), identity.summary());
        standing.push((accepted, connected, identity));
    }
    assert_ne!(standing[0].2.summary().serial, standing[1].2.summary().serial);
    for (accepted, connected, _) in &mut standing {
        converse(accepted, connected).await?;
    }
    // The last identity outlives its publisher.
    drop(publisher);
    let (accepted, connected) = handshake(&server, &client, HOST).await;
    assert!(accepted.is_ok() && connected.is_ok());
    Ok(())
}
