//! Opening a stream: the step that failed, and how long it was given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_device::connect::{Cause, Connector, Deadlines, Step};
use tesaiot_tls::{
    ClientCertificates, ClientSettings, ServerIdentity, ServerIdentityHandle, TlsVersion, TrustAnchors, Versions,
    accept, client_config, server_config,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

struct Server {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
    listener: TcpListener,
    port: u16,
}

impl Server {
    /// Listens for IPv4 only: `localhost` may have an address where nothing answers.
    async fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::generate_simple_self_signed(names).unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { certificate, listener, port }
    }

    fn connector(&self, host: &str, deadlines: Deadlines) -> Connector {
        let trust = TrustAnchors::from_pem(&self.certificate.cert.pem()).unwrap();
        Connector::new(host, self.port, client_config(ClientSettings::new(trust)).unwrap(), deadlines)
    }
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_until_one_answers() {
    let server = Server::new().await;
    let connector = server.connector("localhost", Deadlines::default());
    let key = server.certificate.signing_key.serialize_pem();
    let identity = ServerIdentity::from_pem(&server.certificate.cert.pem(), &key).unwrap();
    let handle = ServerIdentityHandle::fixed(identity);
    let config = server_config(&handle, ClientCertificates::NotRequested, Versions::Both, &[]).unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = server.listener.accept().await.unwrap();
        let mut stream = accept(&Arc::clone(&config), stream, Instant::now() + Duration::from_secs(5)).await.unwrap();
        stream.read_u8().await.map_err(|error| error.kind())
    });
    let (stream, _) = connector.connect().await.unwrap();
    assert_eq!(stream.version(), Some(TlsVersion::Tls13));
    drop(stream);
    assert!(serving.await.unwrap().is_err(), "nothing was sent");
}

#[tokio::test]
async fn a_server_that_never_answers_tls_runs_into_the_deadline_of_that_step() {
    let server = Server::new().await;
    let short = Deadlines { tls: Duration::from_millis(50), ..Deadlines::default() };
    // Nobody accepts: the operating system completes the TCP connection, and nothing more happens.
    let error = server.connector("127.0.0.1", short).connect().await.unwrap_err();
    assert_eq!((error.step, error.port), (Step::Tls, server.port));
    assert!(matches!(error.diagnosis(), Some(tesaiot_tls::Diagnosis::TimedOut { .. })), "{error:?}");
    let expected = format!("TLS failed: 127.0.0.1:{}: the peer did not answer in time", server.port);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_refused_connection_is_told_by_the_operating_system() {
    let server = Server::new().await;
    let connector = server.connector("127.0.0.1", Deadlines::default());
    drop(server.listener);
    let error = connector.connect().await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused), "{error:?}");
    assert_eq!(error.to_string(), format!("Connection refused: 127.0.0.1:{}", server.port));
}

#[tokio::test]
async fn a_write_after_a_refusal_reports_the_alert_and_not_the_broken_pipe() {
    let server = Server::new().await;
    let connector = server.connector("127.0.0.1", Deadlines::default());
    let key = server.certificate.signing_key.serialize_pem();
    let identity = ServerIdentity::from_pem(&server.certificate.cert.pem(), &key).unwrap();
    let required = ClientCertificates::Required(TrustAnchors::from_pem(&server.certificate.cert.pem()).unwrap());
    let config = server_config(&ServerIdentityHandle::fixed(identity), required, Versions::Both, &[]).unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = server.listener.accept().await.unwrap();
        // The socket is closed with the refusal: what is written to it afterwards meets a reset.
        accept(&config, stream, Instant::now() + Duration::from_secs(5)).await.unwrap_err();
    });
    let (mut stream, _) = connector.connect().await.unwrap();
    serving.await.unwrap();
    let error = loop {
        if let Err(error) = async {
            stream.write_all(b"hello").await?;
            stream.flush().await
        }
        .await
        {
            break error;
        }
        tokio::task::yield_now().await;
    };
    let refusal = tesaiot_tls::Diagnosis::PeerRefused(tesaiot_tls::Refusal::ClientCertificateRequired);
    assert_eq!(tesaiot_tls::diagnose_io(&error), Some(refusal), "{error:?}");
}
