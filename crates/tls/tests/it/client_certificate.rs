//! How a server names what is wrong with a client's certificate, and what the client learns.

use tesaiot_tls::{
    CertificateFault, ClientCertificates, ClientIdentity, Diagnosis, Refusal, Side, Step, TlsVersion, Versions,
    peer_summary,
};

use crate::support::{
    Ca, HOST, ca, client, client_parameters, converse, expired, handshake, not_yet_valid, refused, server,
    server_parameters,
};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// A certificate that is refused wherever one is looked at: required or optional, in both versions.
async fn judged(ca: &Ca, identity: &ClientIdentity, alert: Refusal) -> CertificateFault {
    let mut found = None;
    for clients in [ClientCertificates::Required(ca.trust()), ClientCertificates::Optional(ca.trust())] {
        let server = server(ca.server(), clients);
        for version in VERSIONS {
            let client = client(ca.trust(), Some(identity.clone()), version.into());
            let (server_says, client_says) = refused(&server, &client, HOST).await;
            assert_eq!(client_says, Diagnosis::PeerRefused(alert), "{version}");
            assert_eq!((client_says.side(), client_says.step()), (Side::Peer, Step::ClientCertificate));
            assert_eq!(server_says.side(), Side::Local);
            assert_eq!(server_says.step(), Step::ClientCertificate);
            assert_eq!(server_says.certificate(), Some(identity.summary()));
            let Diagnosis::ClientCertificate(fault, _) = server_says else {
                panic!("{server_says:?}");
            };
            found = Some(fault);
        }
    }
    found.unwrap()
}

#[tokio::test]
async fn a_required_certificate_that_is_missing_is_asked_for() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::Required(ca.trust()));
    for version in VERSIONS {
        let client = client(ca.trust(), None, version.into());
        let (server_says, client_says) = refused(&server, &client, HOST).await;
        assert_eq!(server_says, Diagnosis::ClientCertificate(CertificateFault::Missing, None), "{version}");
        assert_eq!(client_says, Diagnosis::PeerRefused(Refusal::ClientCertificateRequired), "{version}");
        assert_eq!(client_says.step(), Step::ClientCertificate);
    }
}

#[tokio::test]
async fn a_foreign_certificate_is_refused() {
    let (ours, theirs) = (ca("ours"), ca("theirs"));
    let fault = judged(&ours, &theirs.client("device"), Refusal::UnknownAuthority).await;
    assert_eq!(fault, CertificateFault::IncompleteChain { issuer: "CN=theirs".to_owned() });
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = ca("root");
    let identity = ca.client_with(&expired(client_parameters("device")));
    let fault = judged(&ca, &identity, Refusal::CertificateExpired).await;
    assert!(matches!(fault, CertificateFault::Expired { not_after, .. }
        if not_after == identity.summary().not_after));
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    let ca = ca("root");
    let identity = ca.client_with(&not_yet_valid(client_parameters("device")));
    let fault = judged(&ca, &identity, Refusal::CertificateExpired).await;
    assert!(matches!(fault, CertificateFault::NotYetValid { .. }), "{fault:?}");
}

#[tokio::test]
async fn a_server_certificate_does_not_make_a_device() {
    let ca = ca("root");
    let identity = ca.client_with(&server_parameters());
    let fault = judged(&ca, &identity, Refusal::UnsupportedCertificate).await;
    assert_eq!(fault, CertificateFault::WrongUsage);
}

#[tokio::test]
async fn a_good_certificate_is_seen_by_the_server() {
    let root = ca("root");
    let intermediate = root.intermediate("intermediate");
    let identity = intermediate.client("bed-17");
    for clients in [ClientCertificates::Required(root.trust()), ClientCertificates::Optional(root.trust())] {
        let server = server(intermediate.server(), clients);
        for version in VERSIONS {
            let client = client(root.trust(), Some(identity.clone()), version.into());
            let (accepted, connected) = handshake(&server, &client, HOST).await;
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            converse(&mut accepted, &mut connected).await.unwrap();
            let seen = peer_summary(accepted.get_ref().1.peer_certificates()).unwrap();
            assert_eq!(seen.as_ref(), Some(identity.summary()));
            assert_eq!(accepted.get_ref().1.peer_certificates(), Some(identity.chain()));
            assert_eq!(seen.unwrap().subject_common_name.as_deref(), Some("bed-17"));
        }
    }
}

#[tokio::test]
async fn without_a_certificate_an_optional_listener_goes_on() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::Optional(ca.trust()));
    for version in VERSIONS {
        let client = client(ca.trust(), None, version.into());
        let (accepted, connected) = handshake(&server, &client, HOST).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        converse(&mut accepted, &mut connected).await.unwrap();
        assert_eq!(peer_summary(accepted.get_ref().1.peer_certificates()).unwrap(), None);
    }
}

/// A listener that does not ask is not told, not even a bad certificate.
#[tokio::test]
async fn a_listener_that_asks_for_none_gets_none() {
    let (ours, theirs) = (ca("ours"), ca("theirs"));
    let server = server(ours.server(), ClientCertificates::NotRequested);
    let client = client(ours.trust(), Some(theirs.client("device")), Versions::Both);
    let (accepted, connected) = handshake(&server, &client, HOST).await;
    assert!(connected.is_ok());
    assert!(accepted.unwrap().get_ref().1.peer_certificates().is_none());
}
