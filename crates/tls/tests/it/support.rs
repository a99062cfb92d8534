//! Throw-away authorities, and one handshake between two ends in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{ClientConfig, ServerConfig};
use tesaiot_tls::{
    ClientCertificates, ClientIdentity, ClientSettings, ClientStream, Diagnosis, HandshakeError, ServerIdentity,
    ServerIdentityHandle, ServerStream, Step, TrustAnchors, Versions, accept, client_config, connect, diagnose_io,
    server_config,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

pub const HOST: &str = "broker.example";

/// An authority: a root, or one below a root.
pub struct Ca {
    pub pem: String,
    /// What a leaf's chain has behind the leaf
    below: String,
    issuer: Issuer<'static, KeyPair>,
}

pub fn ca(name: &str) -> Ca {
    let (parameters, key) = (ca_parameters(name), KeyPair::generate().unwrap());
    let pem = parameters.self_signed(&key).unwrap().pem();
    Ca { pem, below: String::new(), issuer: Issuer::new(parameters, key) }
}

impl Ca {
    pub fn intermediate(&self, name: &str) -> Ca {
        self.intermediate_with(name, |parameters| parameters)
    }

    pub fn intermediate_with(&self, name: &str, change: fn(CertificateParams) -> CertificateParams) -> Ca {
        let (parameters, key) = (change(ca_parameters(name)), KeyPair::generate().unwrap());
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Ca { below: pem.clone(), pem, issuer: Issuer::new(parameters, key) }
    }

    pub fn trust(&self) -> TrustAnchors {
        TrustAnchors::from_pem(&self.pem).unwrap()
    }

    /// The chain and the key of a leaf with these parameters.
    pub fn leaf(&self, parameters: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let leaf = parameters.signed_by(&key, &self.issuer).unwrap();
        (format!("{}{}", leaf.pem(), self.below), key.serialize_pem())
    }

    pub fn server(&self) -> ServerIdentity {
        self.server_with(&server_parameters())
    }

    pub fn server_with(&self, parameters: &CertificateParams) -> ServerIdentity {
        let (chain, key) = self.leaf(parameters);
        ServerIdentity::from_pem(&chain, &key).unwrap()
    }

    pub fn client(&self, id: &str) -> ClientIdentity {
        self.client_with(&client_parameters(id))
    }

    pub fn client_with(&self, parameters: &CertificateParams) -> ClientIdentity {
        let (chain, key) = self.leaf(parameters);
        ClientIdentity::from_pem(&chain, &key).unwrap()
    }
}

/// A server that is its own authority.
pub fn self_signed(parameters: &CertificateParams) -> ServerIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    ServerIdentity::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap()
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn ca_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

pub fn server_parameters() -> CertificateParams {
    let names = vec![HOST.to_owned(), "::1".to_owned(), "127.0.0.1".to_owned()];
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = named(HOST);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}

pub fn client_parameters(id: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(id);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

/// Good in the year 2020 only.
pub fn expired(mut parameters: CertificateParams) -> CertificateParams {
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2021, 1, 1);
    parameters
}

/// Good from the year 2200 on.
pub fn not_yet_valid(mut parameters: CertificateParams) -> CertificateParams {
    parameters.not_before = date_time_ymd(2200, 1, 1);
    parameters
}

pub fn server(identity: ServerIdentity, clients: ClientCertificates) -> Arc<ServerConfig> {
    server_of(identity, clients, Versions::Both)
}

pub fn server_of(identity: ServerIdentity, clients: ClientCertificates, versions: Versions) -> Arc<ServerConfig> {
    server_config(&ServerIdentityHandle::fixed(identity), clients, versions, &[]).unwrap()
}

pub fn client(trust: TrustAnchors, identity: Option<ClientIdentity>, versions: Versions) -> Arc<ClientConfig> {
    let mut settings = ClientSettings::new(trust);
    settings.identity = identity;
    settings.versions = versions;
    client_config(settings).unwrap()
}

/// Far enough away that no test that passes comes near it.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Long enough for a silent peer to be noticed.
pub fn very_soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

pub type Accepted = Result<ServerStream<DuplexStream>, HandshakeError>;
pub type Connected = Result<ClientStream<DuplexStream>, HandshakeError>;

/// One handshake in memory, judged at both ends.
pub async fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, host: &str) -> (Accepted, Connected) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(accept(server, near, soon()), connect(client, host, far, soon()))
}

/// A handshake that both ends refuse; what they say about it.
pub async fn refused(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, host: &str) -> (Diagnosis, Diagnosis) {
    let (near, far) = duplex(64 * 1024);
    let (accepted, connected) = tokio::join!(accept(server, near, soon()), connect_and_read(client, host, far));
    (accepted.unwrap_err().diagnosis, connected.unwrap_err())
}

/// A client that goes on to read, where TLS 1.3 tells it about its certificate.
async fn connect_and_read(client: &Arc<ClientConfig>, host: &str, stream: DuplexStream) -> Result<(), Diagnosis> {
    let mut stream = connect(client, host, stream, soon()).await.map_err(|error| error.diagnosis)?;
    match stream.read_u8().await {
        Ok(_) => Ok(()),
        Err(error) => Err(diagnose_io(&error).unwrap_or(Diagnosis::Io { kind: error.kind(), step: Step::Established })),
    }
}

/// Bytes go through in both directions.
pub async fn converse(
    server: &mut ServerStream<DuplexStream>,
    client: &mut ClientStream<DuplexStream>,
) -> io::Result<()> {
    let mut word = [0; 4];
    client.write_all(b"ping").await?;
    client.flush().await?;
    server.read_exact(&mut word).await?;
    assert_eq!(&word, b"ping");
    server.write_all(b"pong").await?;
    server.flush().await?;
    client.read_exact(&mut word).await?;
    assert_eq!(&word, b"pong");
    Ok(())
}
