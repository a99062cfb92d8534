//! The broker's four seams: who is it, may it, keep this, it was here.
//!
//! A device is believed because of a certificate its authority issued, or of a secret the registry knows; never
//! because of a name it says. Its topics follow from who it is: there is no list to configure.

use std::sync::Arc;

use jiff::Timestamp;
use tesaiot_broker::{Action, Connecting, Event, Host, Receipt, Refusal};
use tesaiot_contract::{DeviceId, DeviceTopic, topic};
use tesaiot_mqtt::Message;
use tesaiot_pki::Serial;
use tesaiot_store::registry::{DeviceAuthentication, Registry};
use tesaiot_tls::CertificateSummary;

use crate::incidents::Incidents;
use crate::ingest::Ingest;
use crate::presence::Presence;

/// An authenticated device.
#[derive(Debug)]
pub(crate) struct DeviceIdentity {
    pub(crate) device: DeviceId,
}

/// The platform as the broker sees it.
pub(crate) struct Gate {
    pub(crate) registry: Registry,
    pub(crate) ingest: Ingest,
    pub(crate) incidents: Incidents,
    pub(crate) presence: Presence,
}

/// Why a device was not believed: for the log, never for the device.
type Doubt = (&'static str, Refusal);

impl Host for Gate {
    type Identity = DeviceIdentity;

    async fn authenticate(&self, connecting: Connecting<'_>) -> Result<DeviceIdentity, Refusal> {
        // A device has a name of its own: one that brings none is not given one.
        let device = DeviceId::new(connecting.client_id).ok().filter(|_| !connecting.assigned);
        let Some(device) = device else { return Err(Refusal::InvalidClientId) };
        let claim = match claim(&device, &connecting) {
            Ok(claim) => claim,
            Err((why, refusal)) => {
                self.incidents.authentication_refused(device.as_str(), connecting.peer, why);
                return Err(refusal);
            }
        };
        // A key in the database is microseconds away, and may be a disk away.
        let (registry, asked) = (self.registry.clone(), device.clone());
        let decision = tokio::task::spawn_blocking(move || claim.decide(&registry, &asked)).await;
        match decision.unwrap_or(Err(("the registry failed", Refusal::Unavailable))) {
            Ok(()) => Ok(DeviceIdentity { device }),
            Err((why, refusal)) => {
                self.incidents.authentication_refused(device.as_str(), connecting.peer, why);
                Err(refusal)
            }
        }
    }

    fn authorize(&self, identity: &DeviceIdentity, action: Action, topic: &str) -> bool {
        match action {
            Action::Publish => topic::may_publish(&identity.device, topic),
            Action::Subscribe => topic::may_subscribe(&identity.device, topic),
        }
    }

    async fn accept(&self, identity: &Arc<DeviceIdentity>, message: Message, receipt: Option<Receipt>) {
        match DeviceTopic::parse(&message.topic) {
            Ok(topic) => self.ingest.message(&identity.device, &topic, message.payload, receipt).await,
            // Unreachable while authorize and parse agree; a dropped receipt leaves the message with the device.
            Err(error) => tracing::error!(device = %identity.device, %error, "an authorized topic does not parse"),
        }
    }

    fn revive(&self, client_id: &str) -> Option<DeviceIdentity> {
        let device = DeviceId::new(client_id).ok()?;
        let is_enabled = self.registry.device(&device).is_ok_and(|found| found.is_some_and(|device| device.enabled));
        is_enabled.then_some(DeviceIdentity { device })
    }

    fn observe(&self, event: Event<'_, DeviceIdentity>) {
        match event {
            Event::HandshakeFailed { peer, error } => self.incidents.handshake_failed(peer, error),
            Event::Refused { peer, client_id, cause } => self.incidents.connection_refused(peer, client_id, cause),
            Event::TooLarge { identity, size, limit } => {
                self.ingest.too_large_to_keep(&identity.device, size.into(), limit.into());
            }
            Event::Denied { identity, action, topic } => {
                let action = match action {
                    Action::Publish => "publish",
                    Action::Subscribe => "subscribe",
                };
                self.incidents.topic_denied(&identity.device, action, topic);
            }
            Event::Connected { identity, peer } => {
                tracing::debug!(device = %identity.device, peer = %peer.address, "connected");
                self.presence.seen(&identity.device, Some(peer.address.ip()));
            }
            Event::Disconnected { identity, peer, clean, taken_over, broke_protocol, cause } => {
                let (device, peer_address) = (&identity.device, peer.address);
                if broke_protocol {
                    self.incidents.protocol_broken(device, peer, cause);
                }
                tracing::debug!(%device, peer = %peer_address, clean, taken_over, cause, "disconnected");
                self.presence.seen(device, None);
            }
        }
    }
}

/// What a device offers as proof, checked as far as that needs no registry.
enum Claim {
    Certificate { serial: String },
    Secret(zeroize::Zeroizing<Vec<u8>>),
}

fn claim(device: &DeviceId, connecting: &Connecting<'_>) -> Result<Claim, Doubt> {
    const BAD: Refusal = Refusal::BadCredentials;
    if let Some(leaf) = connecting.peer.certificates.first() {
        let Ok(summary) = CertificateSummary::from_der(leaf) else { return Err(("unreadable certificate", BAD)) };
        // Exactly: a common name that starts with the device id belongs to another device.
        if summary.subject_common_name.as_deref() != Some(device.as_str()) {
            return Err(("the certificate belongs to another device", BAD));
        }
        if connecting.username.is_some_and(|username| username != device.as_str()) {
            return Err(("the user name is not the device id", BAD));
        }
        let Ok(serial) = Serial::from_bytes(&summary.serial) else { return Err(("unreadable serial number", BAD)) };
        return Ok(Claim::Certificate { serial: serial.to_string() });
    }
    match (connecting.username, connecting.password) {
        (Some(username), Some(password)) if username == device.as_str() => {
            Ok(Claim::Secret(zeroize::Zeroizing::new(password.to_vec())))
        }
        (Some(_), Some(_)) => Err(("the user name is not the device id", BAD)),
        _ => Err(("neither a certificate nor user name and password", BAD)),
    }
}

impl Claim {
    fn decide(self, registry: &Registry, device: &DeviceId) -> Result<(), Doubt> {
        match self {
            Self::Certificate { serial } => certificate_doubt(registry, device, &serial).map_or(Ok(()), Err),
            Self::Secret(secret) => match registry.verify_device_secret(device, &secret) {
                Ok(DeviceAuthentication::Accepted { .. }) => Ok(()),
                Ok(DeviceAuthentication::Refused(why)) => Err((why.as_str(), Refusal::BadCredentials)),
                Err(error) => Err(registry_failed(&error)),
            },
        }
    }
}

/// What speaks against a certificate that the TLS layer found good.
fn certificate_doubt(registry: &Registry, device: &DeviceId, serial: &str) -> Option<Doubt> {
    match registry.check_certificate(device, serial, Timestamp::now()) {
        Ok(status) if status.is_accepted() => None,
        Ok(status) => Some((status.as_str(), Refusal::BadCredentials)),
        Err(error) => Some(registry_failed(&error)),
    }
}

/// Fails closed, and says so.
fn registry_failed(error: &tesaiot_store::StoreError) -> Doubt {
    tracing::error!(%error, "the registry cannot be read: devices cannot log in");
    ("the registry failed", Refusal::Unavailable)
}
