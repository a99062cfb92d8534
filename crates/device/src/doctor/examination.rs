//! What one check learns and a later one needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use tesaiot_mqtt::packet::Version;
use tesaiot_tls::{
    CertificateSummary, ClientIdentity, ClientSettings, Diagnosis, TlsVersion, TrustAnchors, Versions, client_config,
};
use tokio::time::{Instant, timeout};

use super::Order;
use crate::connect::{Connector, Deadlines};
use crate::credentials::{Credentials, Method};
use crate::session::Session;
use crate::settings::{Settings, SettingsError};

/// What is examined.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The device
    pub device_id: String,
    /// The directory of its bundle
    pub directory: String,
    /// The broker's host
    pub host: String,
    /// The broker's port
    pub port: u16,
    /// How the device logs in
    pub method: Method,
}

/// A TLS handshake that succeeded.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    pub(super) version: TlsVersion,
    pub(super) suite: String,
    /// Whether the server asked for a client certificate
    pub(super) asked: bool,
}

/// What the statement is made of: evidence, and nothing that was not seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) handshakes: Vec<Handshake>,
    /// The server's certificate, once it was verified
    pub(super) server: Option<CertificateSummary>,
    /// How the device logged in, once it was let in
    pub(super) authenticated: Option<Method>,
    /// Whether somebody without credentials was kept out, and how
    pub(super) anonymous: Option<Result<String, String>>,
    /// What makes the credentials those of one device
    pub(super) unique: Option<Result<String, String>>,
    /// How the secret is protected on disk
    pub(super) protected: Option<Result<String, String>>,
}

/// One examination on its way.
pub(super) struct Examination {
    pub(super) order: Order,
    pub(super) now: Timestamp,
    pub(super) settings: Result<Settings, SettingsError>,
    /// The configuration of the agent, when one was named
    #[cfg(unix)]
    pub(super) config: Option<Result<crate::config::Config, crate::config::ConfigError>>,
    /// Certificate and key, once they are known to belong together
    pub(super) identity: Option<ClientIdentity>,
    pub(super) credentials: Option<Credentials>,
    pub(super) addresses: Vec<SocketAddr>,
    /// The one that took a connection
    pub(super) address: Option<SocketAddr>,
    /// Why the server's certificate was refused
    pub(super) distrust: Option<(Box<Diagnosis>, String)>,
    pub(super) session: Option<(Session, Version)>,
    pub(super) facts: Facts,
}

impl Examination {
    pub(super) fn new(order: Order, environment: &impl Fn(&str) -> Option<String>) -> Self {
        #[cfg(unix)]
        let config = order.config.as_deref().map(crate::config::Config::load);
        #[cfg_attr(not(unix), expect(unused_mut, reason = "there is no agent"))]
        let mut flags = order.flags.clone();
        #[cfg(unix)]
        if let Some(Ok(config)) = &config {
            flags.host = flags.host.or_else(|| config.connection.host.clone());
            flags.port = flags.port.or(config.connection.port);
        }
        Self {
            now: Timestamp::now(),
            settings: Settings::load(flags, environment),
            #[cfg(unix)]
            config,
            order,
            identity: None,
            credentials: None,
            addresses: Vec::new(),
            address: None,
            distrust: None,
            session: None,
            facts: Facts::default(),
        }
    }

    pub(super) fn subject(&self) -> Option<Subject> {
        let settings = self.settings.as_ref().ok()?;
        let (host, port) = self.place()?;
        Some(Subject {
            device_id: settings.bundle.device_id.to_string(),
            directory: settings.bundle.directory.display().to_string(),
            host,
            port,
            method: self.method(settings),
        })
    }

    /// How the bundle logs in.
    pub(super) fn method(&self, settings: &Settings) -> Method {
        match &self.credentials {
            Some(credentials) => credentials.method(),
            None => self.order.choice.method(&settings.bundle),
        }
    }

    /// The broker's host and port.
    pub(super) fn place(&self) -> Option<(String, u16)> {
        let settings = self.settings.as_ref().ok()?;
        let (host, port) = settings.address(self.method(settings));
        Some((host.to_owned(), port))
    }

    /// The end of a step that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.order.step
    }

    /// TLS with the bundle's trust anchors, and its certificate when `with_identity`. None without trust anchors: the
    /// check of the bundle has said so.
    pub(super) fn tls(&self, versions: Versions, with_identity: bool) -> Option<Arc<ClientConfig>> {
        let settings = self.settings.as_ref().ok()?;
        let trust = TrustAnchors::from_pem(settings.bundle.require_trust_anchor().ok()?).ok()?;
        let mut tls = ClientSettings::new(trust);
        tls.versions = versions;
        tls.identity = self.identity.clone().filter(|_| with_identity);
        client_config(tls).ok()
    }

    /// The way to the broker for a whole session.
    pub(super) fn connector(&self, tls: Arc<ClientConfig>) -> Option<Connector> {
        let (host, port) = self.place()?;
        let step = self.order.step;
        Some(Connector::new(&host, port, tls, Deadlines { dns: step, tcp: step, tls: step }))
    }

    /// Says goodbye to the broker.
    pub(super) async fn leave(&mut self) {
        if let Some((session, _)) = self.session.take() {
            let _ = timeout(self.order.step.min(Duration::from_secs(2)), session.connected.client.disconnect()).await;
        }
    }
}
