//! How a client names what is wrong with a server's certificate.

use jiff::Timestamp;
use rcgen::{BasicConstraints, IsCa};
use tesaiot_tls::{
    CertificateFault, ClientCertificates, Diagnosis, Refusal, Role, ServerIdentity, Side, Step, TlsVersion,
    TrustAnchors, Versions,
};

use crate::support::{
    Ca, HOST, ca, client, client_parameters, expired, handshake, not_yet_valid, refused, self_signed, server,
    server_parameters,
};

/// What a client that trusts `trusted` says about `identity`, in both versions; the server must
/// learn `alert`.
async fn judged(identity: ServerIdentity, trusted: TrustAnchors, host: &str, alert: Refusal) -> CertificateFault {
    let server = server(identity.clone(), ClientCertificates::NotRequested);
    let mut faults = Vec::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let client = client(trusted.clone(), None, version.into());
        let (server_says, client_says) = refused(&server, &client, host).await;
        assert_eq!(server_says, Diagnosis::PeerRefused(alert), "{version}");
        assert_eq!(client_says.side(), Side::Local);
        assert_eq!(client_says.step(), Step::ServerCertificate);
        assert!(!client_says.retry_may_help());
        // A failed verification names the certificate it is about.
        assert_eq!(client_says.certificate(), Some(identity.summary()));
        let line = client_says.to_string();
        assert!(line.contains(&identity.summary().subject) && !line.contains('\n'), "{line}");
        let Diagnosis::ServerCertificate(fault, _) = client_says else {
            panic!("{client_says:?}");
        };
        faults.push(fault);
    }
    // The versions judge alike, apart from the clock that ticks between them.
    assert_eq!(std::mem::discriminant(&faults[0]), std::mem::discriminant(&faults[1]));
    faults.remove(0)
}

fn date(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_expired_certificate_is_named_with_both_times() {
    let ca = ca("root");
    let identity = ca.server_with(&expired(server_parameters()));
    let before = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let fault = judged(identity, ca.trust(), HOST, Refusal::CertificateExpired).await;
    let CertificateFault::Expired { not_after, now, of_issuer: false } = fault else {
        panic!("{fault:?}");
    };
    assert_eq!(not_after, date("2021-01-01T00:00:00Z"));
    assert!(before <= now && now <= Timestamp::now());
    assert!(fault.to_string().contains("2021-01-01"), "{fault}");
}

#[tokio::test]
async fn a_certificate_of_the_future_is_named_with_both_times() {
    let ca = ca("root");
    let identity = ca.server_with(&not_yet_valid(server_parameters()));
    let fault = judged(identity, ca.trust(), HOST, Refusal::CertificateExpired).await;
    let CertificateFault::NotYetValid { not_before, now, of_issuer: false } = fault else {
        panic!("{fault:?}");
    };
    assert_eq!(not_before, date("2200-01-01T00:00:00Z"));
    assert!(now <= Timestamp::now());
}

#[tokio::test]
async fn a_foreign_authority_is_unknown() {
    let (ours, theirs) = (ca("ours"), ca("theirs"));
    let fault = judged(theirs.server(), ours.trust(), HOST, Refusal::UnknownAuthority).await;
    // It came alone: whether its authority is a stranger, or below ours, is not to be seen.
    assert_eq!(fault, CertificateFault::IncompleteChain { issuer: "CN=theirs".to_owned() });
    let below = theirs.intermediate("below theirs").server();
    let fault = judged(below, ours.trust(), HOST, Refusal::UnknownAuthority).await;
    assert_eq!(fault, CertificateFault::UnknownIssuer { issuer: Some("CN=theirs".to_owned()) });
}

/// As people make them: an authority by its own word, or none.
#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_named() {
    let ours = ca("ours");
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut parameters = server_parameters();
        parameters.is_ca = is_ca;
        let server = server(self_signed(&parameters), ClientCertificates::NotRequested);
        let client = client(ours.trust(), None, Versions::Both);
        let (_, client_says) = refused(&server, &client, HOST).await;
        let Diagnosis::ServerCertificate(fault, Some(_)) = client_says else { panic!("{client_says:?}") };
        assert_eq!(fault, CertificateFault::SelfSigned);
    }
}

#[tokio::test]
async fn an_issuer_that_expired_is_told_from_the_certificate_that_did() {
    let root = ca("root");
    let intermediate = root.intermediate_with("old", expired);
    let fault = judged(intermediate.server(), root.trust(), HOST, Refusal::CertificateExpired).await;
    assert!(matches!(fault, CertificateFault::Expired { of_issuer: true, .. }), "{fault:?}");
    assert!(fault.to_string().contains("the certificate of its issuer"), "{fault}");
}

/// An authority that calls itself as ours does, with another key.
#[tokio::test]
async fn an_authority_with_a_borrowed_name_is_not_believed() {
    let (ours, impostor) = (ca("ours"), ca("ours"));
    let server = server(impostor.server(), ClientCertificates::NotRequested);
    let client = client(ours.trust(), None, Versions::Both);
    let (_, client_says) = refused(&server, &client, HOST).await;
    let Diagnosis::ServerCertificate(fault, Some(_)) = client_says else { panic!("{client_says:?}") };
    assert_eq!(fault, CertificateFault::IssuerKeyDiffers { issuer: "CN=ours".to_owned() });
}

#[tokio::test]
async fn a_wrong_name_is_shown_beside_the_right_ones() {
    let ca = ca("root");
    let presented = ["broker.example", "::1", "127.0.0.1"].map(str::to_owned).to_vec();
    for host in ["other.example", "10.9.8.7"] {
        let fault = judged(ca.server(), ca.trust(), host, Refusal::BadCertificate).await;
        let expected = host.to_owned();
        let presented = presented.clone();
        assert_eq!(fault, CertificateFault::WrongName { expected, presented });
    }
}

#[tokio::test]
async fn a_device_certificate_does_not_make_a_server() {
    let ca = ca("root");
    let mut parameters = server_parameters();
    parameters.extended_key_usages = client_parameters("device").extended_key_usages;
    let identity = ca.server_with(&parameters);
    let fault = judged(identity, ca.trust(), HOST, Refusal::UnsupportedCertificate).await;
    assert_eq!(fault, CertificateFault::WrongUsage);
}

#[tokio::test]
async fn a_server_is_believed_by_name_and_by_address() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    for host in [HOST, "BROKER.example", "127.0.0.1", "::1", "[::1]"] {
        let (accepted, connected) = handshake(&server, &client, host).await;
        assert!(accepted.is_ok() && connected.is_ok(), "{host}: {connected:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_no_name_is_refused_before_anything_is_sent() {
    let ca = ca("root");
    let client = client(ca.trust(), None, Versions::Both);
    for host in ["", "https://broker.example", "a b", "broker.example:8883", "[::1", "[]"] {
        let (near, _far) = tokio::io::duplex(64);
        let error = tesaiot_tls::connect(&client, host, near, crate::support::soon()).await.unwrap_err();
        assert_eq!(error.diagnosis, Diagnosis::InvalidHost, "{host}");
        assert_eq!(error.role, Role::Client);
    }
}

fn chained() -> (Ca, Ca) {
    let root = ca("root");
    let intermediate = root.intermediate("intermediate");
    (root, intermediate)
}

#[tokio::test]
async fn a_chain_is_believed_by_its_root_and_by_the_whole_trust_file() {
    let (root, intermediate) = chained();
    let server = server(intermediate.server(), ClientCertificates::NotRequested);
    for file in [
        root.pem.clone(),
        format!("{}{}", intermediate.pem, root.pem),
        format!("{}{}", root.pem, intermediate.pem),
        intermediate.pem.clone(),
    ] {
        let trust = TrustAnchors::from_pem(&file).unwrap();
        assert_eq!(trust.anchor_count(), 1);
        let (accepted, connected) = handshake(&server, &client(trust, None, Versions::Both), HOST).await;
        assert!(accepted.is_ok() && connected.is_ok(), "{connected:?}");
    }
}

/// A server set up with its leaf alone: the intermediate of the trust file completes the path.
#[tokio::test]
async fn a_leaf_alone_is_believed_when_the_trust_file_has_its_issuer() {
    let (root, intermediate) = chained();
    let (chain, key) = intermediate.leaf(&server_parameters());
    let end = "-----END CERTIFICATE-----\n";
    let leaf = format!("{}{end}", chain.split(end).next().unwrap());
    let identity = ServerIdentity::from_pem(&leaf, &key).unwrap();
    let server = server(identity, ClientCertificates::NotRequested);

    let whole = TrustAnchors::from_pem(&format!("{}{}", intermediate.pem, root.pem)).unwrap();
    let (accepted, connected) = handshake(&server, &client(whole, None, Versions::Both), HOST).await;
    assert!(accepted.is_ok() && connected.is_ok(), "{connected:?}");

    let (_, client_says) = refused(&server, &client(root.trust(), None, Versions::Both), HOST).await;
    let missing = CertificateFault::IncompleteChain { issuer: "CN=intermediate".to_owned() };
    assert!(matches!(&client_says, Diagnosis::ServerCertificate(fault, Some(_)) if *fault == missing));
}

/// The intermediate of the trust file helps to find a path. It is no anchor: without its root in
/// the file, and with another one, nothing below it is believed.
#[tokio::test]
async fn an_intermediate_in_the_trust_file_is_not_trusted_by_itself() {
    let (_, intermediate) = chained();
    let stranger = ca("stranger");
    let file = format!("{}{}", intermediate.pem, stranger.pem);
    let trust = TrustAnchors::from_pem(&file).unwrap();
    let server = server(intermediate.server(), ClientCertificates::NotRequested);
    let (_, client_says) = refused(&server, &client(trust, None, Versions::Both), HOST).await;
    let stranger = CertificateFault::UnknownIssuer { issuer: Some("CN=root".to_owned()) };
    assert!(matches!(&client_says, Diagnosis::ServerCertificate(fault, Some(_)) if *fault == stranger));
}
