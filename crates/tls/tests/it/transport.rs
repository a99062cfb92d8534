//! Peers that do not speak TLS, do not speak at all, or go away.

use std::io;
use std::time::Duration;

use tesaiot_tls::{
    CertificateFault, ClientCertificates, Diagnosis, Refusal, Role, Side, Step, TlsVersion, Versions, accept, connect,
    diagnose_error, diagnose_io,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::{HOST, ca, client, server, soon, very_soon};

#[tokio::test]
async fn a_client_without_tls_is_recognised() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    for words in [
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test".as_slice(),
        b"GET / HTTP/1.1\r\nHost: broker.example\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        let (near, mut far) = duplex(4096);
        far.write_all(words).await.unwrap();
        let (accepted, ()) = tokio::join!(accept(&server, near, soon()), async move {
            // The server's alert, and then the end: nothing else is ever sent.
            let mut answer = Vec::new();
            far.read_to_end(&mut answer).await.unwrap();
            assert!(answer.len() <= 7, "{answer:?}");
        });
        let error = accepted.unwrap_err();
        assert_eq!(error.diagnosis, Diagnosis::NotTls, "{words:?}");
        assert_eq!((error.role, error.diagnosis.side()), (Role::Server, Side::Local));
    }
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    let ca = ca("root");
    let client = client(ca.trust(), None, Versions::Both);
    for words in
        [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"\x20\x02\x00\x01 and more", b"220 mail.example ESMTP\r\n"]
    {
        let (near, mut far) = duplex(4096);
        far.write_all(words).await.unwrap();
        let (connected, ()) = tokio::join!(connect(&client, HOST, near, soon()), async move {
            let mut hello = Vec::new();
            far.read_to_end(&mut hello).await.unwrap();
        });
        let error = connected.unwrap_err();
        assert_eq!(error.diagnosis, Diagnosis::NotTls, "{words:?}");
        assert_eq!(error.role, Role::Client);
        assert!(error.diagnosis.hint().contains("port"));
    }
}

#[tokio::test]
async fn a_silent_peer_is_left_at_the_deadline() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    let hello = Diagnosis::TimedOut { step: Step::Hello };

    let (near, _silent) = duplex(4096);
    let deadline = very_soon();
    let error = accept(&server, near, deadline).await.unwrap_err();
    assert_eq!(error.diagnosis, hello);
    assert!(Instant::now() < deadline + Duration::from_secs(5));

    let (near, _silent) = duplex(4096);
    let error = connect(&client, HOST, near, very_soon()).await.unwrap_err();
    assert_eq!(error.diagnosis, hello);
    assert_eq!(error.diagnosis.side(), Side::Network);
    assert!(error.diagnosis.retry_may_help());
}

/// A client that says hello and then nothing more.
#[tokio::test]
async fn silence_after_the_hello_is_told_apart() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    let (near, mut far) = duplex(4096);
    far.write_all(&hello_of(&client).await).await.unwrap();
    let error = accept(&server, near, very_soon()).await.unwrap_err();
    assert_eq!(error.diagnosis, Diagnosis::TimedOut { step: Step::ServerCertificate });
}

/// The bytes of a real ClientHello.
async fn hello_of(client: &std::sync::Arc<rustls::ClientConfig>) -> Vec<u8> {
    let (near, mut far) = duplex(4096);
    let _ = connect(client, HOST, near, very_soon()).await.unwrap_err();
    let mut hello = Vec::new();
    far.read_to_end(&mut hello).await.unwrap();
    hello
}

#[tokio::test]
async fn a_peer_that_goes_away_is_named_with_the_step() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    let hello = hello_of(&client).await;

    // At the server: before a hello, in the middle of it, and after it.
    for (sent, step) in
        [(&hello[..0], Step::Hello), (&hello[..hello.len() / 2], Step::Hello), (&hello[..], Step::ServerCertificate)]
    {
        let (near, mut far) = duplex(4096);
        far.write_all(sent).await.unwrap();
        far.shutdown().await.unwrap();
        let error = accept(&server, near, soon()).await.unwrap_err();
        assert_eq!(error.diagnosis, Diagnosis::ConnectionClosed { step });
    }

    // At the client: the server hangs up instead of answering.
    let (near, far) = duplex(4096);
    drop(far);
    let error = connect(&client, HOST, near, soon()).await.unwrap_err();
    assert_eq!(error.diagnosis, Diagnosis::ConnectionClosed { step: Step::Hello });
}

/// With TLS 1.2 the client waits for the server after it has accepted its certificate: a server
/// that hangs up then has most likely refused the client.
#[tokio::test]
async fn a_connection_that_breaks_late_is_told_apart() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, TlsVersion::Tls12.into());
    let (server_end, mut to_server) = duplex(16 * 1024);
    let (client_end, mut to_client) = duplex(16 * 1024);
    // Carries the hello and the server's answer, and breaks when the client goes on.
    let wire = async move {
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let read = to_client.read(&mut up).await.unwrap();
        to_server.write_all(&up[..read]).await.unwrap();
        loop {
            tokio::select! {
                _ = to_client.read(&mut up) => break,
                read = to_server.read(&mut down) => {
                    to_client.write_all(&down[..read.unwrap()]).await.unwrap();
                }
            }
        }
    };
    let (accepted, connected, ()) =
        tokio::join!(accept(&server, server_end, soon()), connect(&client, HOST, client_end, soon()), wire);
    assert_eq!(accepted.unwrap_err().diagnosis, Diagnosis::ConnectionClosed { step: Step::ServerCertificate });
    assert_eq!(connected.unwrap_err().diagnosis, Diagnosis::ConnectionClosed { step: Step::ClientCertificate });
}

/// What a server once said to another client proves nothing to this one.
#[tokio::test]
async fn a_replayed_server_is_not_believed() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, TlsVersion::Tls12.into());
    let (near, mut far) = duplex(4096);
    far.write_all(&hello_of(&client).await).await.unwrap();
    let _ = accept(&server, near, very_soon()).await.unwrap_err();
    let mut flight = Vec::new();
    far.read_to_end(&mut flight).await.unwrap();

    let (near, mut far) = duplex(16 * 1024);
    far.write_all(&flight).await.unwrap();
    far.shutdown().await.unwrap();
    let error = connect(&client, HOST, near, soon()).await.unwrap_err();
    assert!(
        matches!(error.diagnosis, Diagnosis::ServerCertificate(CertificateFault::BadSignature, Some(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_of_tls_is_named() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    let mut words = hello_of(&client).await;
    // Application data in the middle of a handshake.
    words.extend_from_slice(b"\x17\x03\x03\x00\x04oops");
    let (near, mut far) = duplex(16 * 1024);
    far.write_all(&words).await.unwrap();
    far.shutdown().await.unwrap();
    let error = accept(&server, near, soon()).await.unwrap_err();
    assert_eq!(error.diagnosis, Diagnosis::Misbehaved { step: Step::ServerCertificate }, "{error:?}");
}

/// A connection's task is as large as its largest step for all its life: a handshake is a small
/// part of it, so it must not be held inside.
#[tokio::test]
async fn a_handshake_leaves_no_space_in_the_task_that_runs_it() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let client = client(ca.trust(), None, Versions::Both);
    let (near, far) = duplex(64);
    let (accepting, connecting) = (accept(&server, near, soon()), connect(&client, HOST, far, soon()));
    assert!(size_of_val(&accepting) < 512, "{}", size_of_val(&accepting));
    assert!(size_of_val(&connecting) < 512, "{}", size_of_val(&connecting));
    // They run in tasks of a runtime with many threads.
    fn sent(_: &impl Send) {}
    sent(&accepting);
    sent(&connecting);
}

/// A reset must not overtake the alert: the client of a real socket has sent data already when the
/// server refuses its missing certificate, and still learns the reason.
#[tokio::test]
async fn the_reason_reaches_a_client_that_is_already_sending() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::Required(ca.trust()));
    let client = client(ca.trust(), None, TlsVersion::Tls13.into());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..20 {
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            accept(&server, stream, soon()).await.map(drop)
        };
        let asking = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connect(&client, HOST, stream, soon()).await.unwrap();
            stream.write_all(&[0; 16 * 1024]).await.unwrap();
            stream.flush().await.unwrap();
            stream.read_u8().await.unwrap_err()
        };
        let (served, error) = tokio::join!(serving, asking);
        assert!(served.is_err());
        assert_eq!(diagnose_io(&error), Some(Diagnosis::PeerRefused(Refusal::ClientCertificateRequired)), "{error:?}");
    }
}

/// A refused peer that never closes is left after half a second, not at the deadline.
#[tokio::test]
async fn a_refused_peer_cannot_hold_the_listener() {
    let ca = ca("root");
    let server = server(ca.server(), ClientCertificates::NotRequested);
    let (near, mut far) = duplex(4096);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let error = accept(&server, near, soon()).await.unwrap_err();
    assert_eq!(error.diagnosis, Diagnosis::NotTls);
    assert!(start.elapsed() < Duration::from_secs(10));
    // Nor can one that sends without end.
    let (near, mut far) = duplex(4096);
    let flood = async move { while far.write_all(&[b'A'; 1024]).await.is_ok() {} };
    let (accepted, ()) = tokio::join!(accept(&server, near, soon()), flood);
    assert_eq!(accepted.unwrap_err().diagnosis, Diagnosis::NotTls);
}

#[test]
fn a_tls_error_is_found_inside_of_other_errors() {
    #[derive(Debug, thiserror::Error)]
    #[error("request failed")]
    struct Outer(#[source] io::Error);

    let alert = || rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRevoked);
    let expected = Some(Diagnosis::PeerRefused(Refusal::CertificateRevoked));
    let inner = || io::Error::new(io::ErrorKind::InvalidData, alert());
    assert_eq!(diagnose_io(&inner()), expected);
    assert_eq!(diagnose_error(&alert()), expected);
    assert_eq!(diagnose_error(&Outer(inner())), expected);
    assert_eq!(diagnose_io(&io::Error::other(Outer(io::Error::other(inner())))), expected);
    assert_eq!(diagnose_io(&io::ErrorKind::ConnectionReset.into()), None);
    assert_eq!(diagnose_io(&io::Error::other("words")), None);
}
