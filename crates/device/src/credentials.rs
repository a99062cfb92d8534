//! What a device shows the broker, taken from its bundle and checked before anything is sent.
//!
//! A wrong key, another device's certificate or an expired one would come back from the broker as an alert about
//! nothing in particular. Found here, it is a message about a file.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::ClientConfig;
use tesaiot_contract::bundle::{Bundle, BundleError};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::packet::Version;
use tesaiot_tls::{ClientIdentity, ClientSettings, ConfigError, TrustAnchors, Versions, client_config};

use crate::publisher::WINDOW;

/// How a device proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A client certificate.
    MutualTls,
    /// User name and password (an API key) inside TLS.
    ServerTls,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MutualTls => "mutual TLS",
            Self::ServerTls => "server TLS",
        })
    }
}

/// Which method to use with a bundle that may hold both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The certificate when there is one, else the key: the publish command.
    PreferCertificate,
    /// The key when there is one, else the certificate: the agent.
    PreferKey,
    /// This one.
    Only(Method),
}

/// Everything needed to log in. The secrets in it are printed as `***`.
#[derive(Clone, Debug)]
pub struct Credentials {
    device_id: DeviceId,
    trust: TrustAnchors,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    Certificate(ClientIdentity),
    Login { username: String, password: Secret },
}

/// Credentials that cannot be used. Nothing was sent to anyone yet.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file of the bundle is missing or cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Certificate, key or trust anchors are damaged, or do not belong together.
    #[error(transparent)]
    Certificate(#[from] ConfigError),
    /// The certificate was issued to another device: the broker compares its common name with the client id.
    #[error("client_cert.pem was issued to {}, not to the device {device_id}", named(.common_name.as_deref()))]
    WrongDevice {
        /// The subject's common name; none when it has not exactly one
        common_name: Option<String>,
        /// The device that would log in
        device_id: DeviceId,
    },
    /// The certificate is past its validity.
    #[error("client_cert.pem expired at {not_after}, this machine's clock says {now}")]
    Expired {
        /// Last moment of validity
        not_after: Timestamp,
        /// Our clock
        now: Timestamp,
    },
    /// The certificate's validity has not begun.
    #[error("client_cert.pem is not valid before {not_before}, this machine's clock says {now}")]
    NotYetValid {
        /// First moment of validity
        not_before: Timestamp,
        /// Our clock
        now: Timestamp,
    },
}

impl CredentialsError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Bundle(error) => error.hint(),
            Self::Certificate(error) => error.hint(),
            Self::WrongDevice { .. } => "check client cert and key and device_id.txt: they are of different bundles",
            Self::Expired { .. } => "renew the device's certificate; if it is new, check this machine's clock",
            Self::NotYetValid { .. } => "check this machine's clock: the certificate lies in its future",
        }
    }
}

impl Credentials {
    /// Takes what `choice` asks for out of `bundle`. A certificate is checked against its key, against the device id
    /// and against `now`.
    ///
    /// # Errors
    /// A file is missing or damaged, or the checks failed.
    pub fn from_bundle(bundle: &Bundle, choice: Choice, now: Timestamp) -> Result<Self, CredentialsError> {
        let proof = match method(bundle, choice) {
            Method::MutualTls => {
                let (chain, key) = bundle.require_certificate()?;
                let identity = ClientIdentity::from_pem(chain, key.expose())?;
                check_certificate(&identity, &bundle.device_id, now)?;
                Proof::Certificate(identity)
            }
            Method::ServerTls => {
                let (username, password) = bundle.require_login()?;
                Proof::Login { username: username.to_owned(), password: password.clone() }
            }
        };
        let trust = TrustAnchors::from_pem(bundle.require_trust_anchor()?)?;
        Ok(Self { device_id: bundle.device_id.clone(), trust, proof })
    }

    /// The device.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// Whom it believes.
    pub fn trust(&self) -> &TrustAnchors {
        &self.trust
    }

    /// The certificate it shows, when it does.
    pub fn identity(&self) -> Option<&ClientIdentity> {
        match &self.proof {
            Proof::Certificate(identity) => Some(identity),
            Proof::Login { .. } => None,
        }
    }

    /// How it proves who it is.
    pub fn method(&self) -> Method {
        match self.proof {
            Proof::Certificate(_) => Method::MutualTls,
            Proof::Login { .. } => Method::ServerTls,
        }
    }

    /// The key to log in with; none for a certificate.
    pub fn key(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Certificate(_) => None,
            Proof::Login { password, .. } => Some(password),
        }
    }

    /// Whether both prove the same device by the same certificate or secret.
    pub fn prove_the_same(&self, other: &Self) -> bool {
        let same = match (&self.proof, &other.proof) {
            (Proof::Certificate(one), Proof::Certificate(two)) => {
                let (one, two) = (one.summary(), two.summary());
                (&one.serial, one.not_after) == (&two.serial, two.not_after)
            }
            (Proof::Login { username, password }, Proof::Login { username: name, password: word }) => {
                username == name && password.expose() == word.expose()
            }
            _ => false,
        };
        same && self.device_id == other.device_id
    }

    /// When the certificate expires; none for a login by key.
    pub fn not_after(&self) -> Option<Timestamp> {
        match &self.proof {
            Proof::Certificate(identity) => Some(identity.summary().not_after),
            Proof::Login { .. } => None,
        }
    }

    /// The TLS side: whom to believe, what to show.
    ///
    /// # Errors
    /// The trust anchors cannot verify anyone.
    pub fn tls_config(&self, versions: Versions) -> Result<Arc<ClientConfig>, CredentialsError> {
        let mut settings = ClientSettings::new(self.trust.clone());
        settings.versions = versions;
        if let Proof::Certificate(identity) = &self.proof {
            settings.identity = Some(identity.clone());
        }
        Ok(client_config(settings)?)
    }

    /// The MQTT side: client id, and user name and password unless a certificate says it.
    pub fn mqtt_options(&self, version: Version) -> Options {
        let mut options = Options::new(self.device_id.as_str());
        options.version = version;
        options.receive_maximum = WINDOW;
        // A message handed over within the window never waits for room.
        options.queue = usize::from(WINDOW) + 16;
        if let Proof::Login { username, password } = &self.proof {
            options.username = Some(username.as_str().into());
            options.password = Some(password.expose().to_owned().into());
        }
        options
    }
}

/// The name as it stands in the certificate, quoted: it may hold anything.
fn named(common_name: Option<&str>) -> String {
    common_name.map_or_else(|| "nobody by name".to_owned(), |name| format!("{name:?}"))
}

impl Choice {
    /// How this bundle logs in by this choice.
    pub fn method(self, bundle: &Bundle) -> Method {
        method(bundle, self)
    }
}

fn method(bundle: &Bundle, choice: Choice) -> Method {
    let has_certificate = bundle.certificate.is_some();
    let has_key = bundle.api_key.is_some() || bundle.mqtt_password.is_some();
    match choice {
        Choice::Only(method) => method,
        Choice::PreferCertificate if has_key && !has_certificate => Method::ServerTls,
        Choice::PreferCertificate => Method::MutualTls,
        Choice::PreferKey if has_certificate && !has_key => Method::MutualTls,
        Choice::PreferKey => Method::ServerTls,
    }
}

fn check_certificate(identity: &ClientIdentity, device_id: &DeviceId, now: Timestamp) -> Result<(), CredentialsError> {
    let summary = identity.summary();
    if summary.subject_common_name.as_deref() != Some(device_id.as_str()) {
        let common_name = summary.subject_common_name.clone();
        return Err(CredentialsError::WrongDevice { common_name, device_id: device_id.clone() });
    }
    if now > summary.not_after {
        return Err(CredentialsError::Expired { not_after: summary.not_after, now });
    }
    if now < summary.not_before {
        return Err(CredentialsError::NotYetValid { not_before: summary.not_before, now });
    }
    Ok(())
}
