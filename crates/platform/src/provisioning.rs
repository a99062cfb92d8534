//! Devices and their credentials, from creation to revocation.
//!
//! Whatever takes rights away changes the registry first, then closes the live session: the next login reads the
//! changed row, there is nothing cached in between.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tesaiot_broker::Broker;
use tesaiot_contract::bundle::{Bundle, ClientCertificate};
use tesaiot_contract::{DeviceId, Endpoints, Secret, secret};
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tesaiot_pki::{Authority, IssueError, Validity};
use tesaiot_store::StoreError;
use tesaiot_store::registry::{AuthMode, Certificate, CredentialKind, Device, NewDevice, Registry, Replaced};

use crate::enrolment::hexadecimal;
use crate::gate::Gate;

/// Why provisioning failed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] StoreError),
    /// The certificate authority refused or failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// There is no such device.
    #[error("there is no device '{0}'")]
    NoSuchDevice(DeviceId),
    /// A key was asked for, and the device logs in with a certificate.
    #[error(
        "device '{0}' logs in with a certificate and has no API key; issue a new bundle to replace the certificate"
    )]
    HasNoKey(DeviceId),
    /// A certificate was asked for, and the device has none that is good.
    #[error("device '{device}' has no certificate to revoke; disable it, or replace its key")]
    HasNoCertificate {
        /// The device.
        device: DeviceId,
        /// Enrolment tokens that were taken back all the same.
        enrolment_tokens: usize,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// The work was interrupted.
    #[error("the work was interrupted")]
    Interrupted,
}

/// Creates devices, issues their credentials and takes them away. Clones share it.
#[derive(Clone)]
pub(crate) struct Provisioning {
    pub(crate) registry: Registry,
    pub(crate) authority: Arc<Authority>,
    pub(crate) broker: Broker<Gate>,
    /// What bundles say; telemetry by HTTPS goes where a key is taken.
    pub(crate) endpoints: Endpoints,
    /// Where telemetry by HTTPS goes with a certificate.
    pub(crate) ingest_base_url: String,
    /// How long a certificate of a device lasts.
    pub(crate) certificate_lifetime: Duration,
}

impl Provisioning {
    /// Runs registry work where it may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ProvisioningError> + Send + 'static,
    ) -> Result<T, ProvisioningError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await.unwrap_or(Err(ProvisioningError::Interrupted))
    }

    pub(crate) async fn create(&self, new: NewDevice) -> Result<Device, ProvisioningError> {
        self.blocking(move |this| Ok(this.registry.create_device(&new, Timestamp::now())?)).await
    }

    /// Issues fresh credentials for a device and packs everything it needs. Nothing of it is kept here but hashes
    /// and serial numbers: a lost bundle is replaced by another, not shown again.
    pub(crate) async fn issue_bundle(&self, device: &DeviceId) -> Result<Bundle, ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            let device = this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            let mut bundle = Bundle {
                trust_anchor_pem: Some(this.authority.trust_chain_pem()),
                endpoints: this.endpoints.clone(),
                ..Bundle::new(id.clone())
            };
            match device.auth_mode {
                AuthMode::Mtls => {
                    bundle.endpoints = this.endpoints_for_certificate();
                    bundle.certificate = Some(this.issue_certificate(&id)?);
                    // The certificate before the last one is superseded now: whoever uses it logs in again, or does not.
                    this.close(&id);
                }
                AuthMode::ServerTls => {
                    // One secret under both names: a second one would survive the rotation of the first.
                    let (key, _) = this.replace_api_key(&id)?;
                    bundle.mqtt_username = Some(id.to_string());
                    bundle.mqtt_password = Some(key.clone());
                    bundle.api_key = Some(key);
                }
            }
            Ok(bundle)
        })
        .await
    }

    /// A new key and its certificate, for an operator.
    pub(crate) async fn issue(&self, device: &DeviceId) -> Result<ClientCertificate, ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            let issued = this.issue_certificate(&id)?;
            // As for a bundle: whoever uses the certificate before the last one logs in again, or does not.
            this.close(&id);
            Ok(issued)
        })
        .await
    }

    /// What a device with a certificate is told.
    pub(crate) fn endpoints_for_certificate(&self) -> Endpoints {
        Endpoints { ingest_base_url: self.ingest_base_url.clone(), ..self.endpoints.clone() }
    }

    /// SHA-256 of the authority's certificate that every server certificate comes with.
    pub(crate) fn authority_fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, self.authority.intermediate_der()).as_ref());
        fingerprint
    }

    fn issue_certificate(&self, id: &DeviceId) -> Result<ClientCertificate, ProvisioningError> {
        let now = Timestamp::now();
        let issued = self.authority.issue_device(id, Validity::new(now, self.certificate_lifetime))?;
        // Recorded before it is handed out: a certificate nobody knows of cannot log in.
        self.registry.record_certificate(&Certificate {
            device: id.clone(),
            serial: issued.serial.to_string(),
            not_before: issued.not_before,
            not_after: issued.not_after,
            fingerprint: hexadecimal(&issued.fingerprint_sha256),
            issued_at: now,
            key_fingerprint: Some(hexadecimal(&issued.key_fingerprint)),
        })?;
        Ok(ClientCertificate { chain_pem: issued.chain_pem, key_pem: Some(Secret::new(issued.key_pem.as_str())) })
    }

    /// Replaces every secret of a device by a fresh API key, and revokes its certificates: whoever stole the key could
    /// have asked for one with it.
    fn replace_api_key(&self, id: &DeviceId) -> Result<(Secret, Replaced), ProvisioningError> {
        let key = api_key(id)?;
        let replaced = self.registry.rotate_secret(id, CredentialKind::ApiKey, &key, Timestamp::now())?;
        self.close(id);
        Ok((key, replaced))
    }

    /// Replaces the API key of a device; every secret, certificate and enrolment token it had before stops working now.
    pub(crate) async fn rotate_api_key(&self, device: &DeviceId) -> Result<(Secret, Replaced), ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            let device = this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            match device.auth_mode {
                AuthMode::ServerTls => this.replace_api_key(&id),
                AuthMode::Mtls => Err(ProvisioningError::HasNoKey(id)),
            }
        })
        .await
    }

    pub(crate) async fn set_enabled(&self, device: &DeviceId, enabled: bool) -> Result<Device, ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            this.registry.set_device_enabled(&id, enabled)?;
            if !enabled {
                this.close(&id);
            }
            this.registry.device(&id)?.ok_or(ProvisioningError::NoSuchDevice(id))
        })
        .await
    }

    /// Revokes every certificate of a device. Returns how many were good until now.
    pub(crate) async fn revoke_certificates(&self, device: &DeviceId) -> Result<usize, ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            let revoked = this.revoke_all(&id);
            // Also when only a part of it succeeded.
            this.close(&id);
            match revoked? {
                (0, enrolment_tokens) => Err(ProvisioningError::HasNoCertificate { device: id, enrolment_tokens }),
                (certificates, _) => Ok(certificates),
            }
        })
        .await
    }

    /// Returns how many certificates and tokens were good.
    fn revoke_all(&self, id: &DeviceId) -> Result<(usize, usize), ProvisioningError> {
        // In one change: a certificate that is asked for meanwhile is among them, or is refused. A token that waits to
        // be used would bring a certificate back.
        let tokens = self.registry.revoke_enrolment_tokens(id, Timestamp::now())?;
        let certificates = self.registry.revoke_certificates_of(id, "revoked by an operator", Timestamp::now())?;
        Ok((certificates, tokens))
    }

    pub(crate) async fn remove(&self, device: &DeviceId) -> Result<(), ProvisioningError> {
        let id = device.clone();
        self.blocking(move |this| {
            this.registry.device(&id)?.ok_or_else(|| ProvisioningError::NoSuchDevice(id.clone()))?;
            this.registry.remove_device(&id, Timestamp::now())?;
            this.close(&id);
            Ok(())
        })
        .await
    }

    /// Closes what the device has open. Call after the registry changed: the broker asks again about a device that
    /// was authenticated before this and has no session yet.
    fn close(&self, device: &DeviceId) {
        self.broker.disconnect(device.as_str(), DisconnectReasonCode::NotAuthorized);
    }
}

/// A fresh API key or MQTT password: the same format, 128 random bits each.
fn api_key(device: &DeviceId) -> Result<Secret, ProvisioningError> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| ProvisioningError::Random)?;
    Ok(secret::device_api_key(device, random))
}
