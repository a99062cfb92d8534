//! The broker's four seams: who is it, may it, keep this, it was here.
//!
//! A device is believed because of a certificate its authority issued, or of a secret the registry knows; never
//! because of a name it says. Its topics follow from who it is: there is no list to configure.

use std::sync::Arc;

use jiff::Timestamp;
use tesaiot_broker::{Action, Connecting, Event, Host, Receipt, Refusal, Verdict};
use tesaiot_contract::{DeviceId, DeviceTopic, TopicKind, topic};
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_mqtt::{Message, QoS};
use tesaiot_pki::Serial;
use tesaiot_store::registry::{CredentialId, DeviceAuthentication, Registry};
use tesaiot_tls::CertificateSummary;
use tokio::sync::mpsc;

use crate::administrators::{Administrator, Administrators};
use crate::applications::{Application, Applications};
use crate::commands::Commands;
use crate::enrolment::{self, Enrolment, EnrolmentError, Right};
use crate::incidents::Incidents;
use crate::ingest::Ingest;
use crate::presence::Presence;
use crate::receipts::Receipts;

/// Who a connection is.
#[derive(Debug)]
pub(crate) enum Identity {
    /// A device, by its certificate or secret.
    Device(DeviceId, Proof),
    /// Somebody who looks after the platform.
    Administrator(Administrator),
    /// A program that reads what it was granted.
    Application(Application),
}

/// What a device was believed for.
#[derive(Debug)]
pub(crate) enum Proof {
    /// A certificate, by its serial number.
    Certificate(Box<str>),
    /// A secret, by its name.
    Secret(CredentialId),
    /// Nothing but being known: who left a Last Will in a process before this one.
    Remembered,
}

/// The platform as the broker sees it.
pub(crate) struct Gate {
    pub(crate) registry: Registry,
    pub(crate) ingest: Ingest,
    pub(crate) incidents: Incidents,
    pub(crate) presence: Presence,
    pub(crate) administrators: Administrators,
    pub(crate) applications: Applications,
    pub(crate) enrolment: Enrolment,
    /// Messages of the platform's own, on their way to the broker.
    pub(crate) answers: mpsc::Sender<Message>,
    pub(crate) receipts: Receipts,
    pub(crate) commands: Commands,
}

/// Why somebody was not believed: for the log, and what they hear.
pub(crate) type Doubt = (&'static str, Refusal);

impl Host for Gate {
    type Identity = Identity;

    async fn authenticate(&self, connecting: Connecting<'_>) -> Result<Identity, Refusal> {
        let refused = |(why, refusal): Doubt| {
            let client_id: String = connecting.client_id.chars().take(64).filter(|c| !c.is_control()).collect();
            self.incidents.authentication_refused(&client_id, connecting.peer, why);
            refusal
        };
        if Administrator::is_claimed(&connecting) {
            let administrator = Administrator::authenticate(&self.registry, &connecting).await;
            return administrator.map(Identity::Administrator).map_err(refused);
        }
        if Application::is_claimed(&connecting) {
            let application = self.applications.authenticate(&self.registry, &connecting).await;
            return application.map(Identity::Application).map_err(refused);
        }
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
            Ok(proof) => Ok(Identity::Device(device, proof)),
            Err((why, refusal)) => {
                self.incidents.authentication_refused(device.as_str(), connecting.peer, why);
                Err(refusal)
            }
        }
    }

    fn authorize(&self, identity: &Identity, action: Action, topic: &str) -> bool {
        match (identity, action) {
            (Identity::Device(device, _), Action::Publish) => topic::may_publish(device, topic),
            (Identity::Device(device, _), Action::Subscribe) => {
                let may = topic::may_subscribe(device, topic);
                if may {
                    self.receipts.may_want(device);
                }
                may
            }
            (Identity::Administrator(administrator), action) => administrator.may(action, topic),
            (Identity::Application(application), action) => application.may(action, topic),
        }
    }

    fn session_name(&self, identity: &Identity) -> Option<String> {
        match identity {
            Identity::Application(application) => Some(application.session().to_owned()),
            Identity::Device(..) | Identity::Administrator(_) => None,
        }
    }

    async fn accept(&self, identity: &Arc<Identity>, message: Message, receipt: Option<Receipt>) -> Verdict {
        // Unreachable: nobody else publishes. A dropped receipt acknowledges nothing.
        let Identity::Device(device, proof) = &**identity else { return Verdict::Withhold };
        match DeviceTopic::parse(&message.topic) {
            Ok(topic) if topic.kind == TopicKind::CommandSigningRequest => {
                // On the heap: a connection has room for the longest way of a message for all of its life.
                Box::pin(self.certify(device, proof, topic, message.payload, receipt)).await
            }
            Ok(topic) => {
                // Before it is acknowledged; while the registry fails the device keeps its answer.
                if let Err(error) = self.commands.answered(device, &topic.kind, &message.payload).await {
                    tracing::warn!(%device, %error, "what became of a command could not be noted");
                    return Verdict::Withhold;
                }
                self.ingest.message(device, &topic, message.payload, receipt).await
            }
            // Unreachable while authorize and parse agree; a dropped receipt leaves the message with the device.
            Err(error) => {
                tracing::error!(%device, %error, "an authorized topic does not parse");
                Verdict::Withhold
            }
        }
    }

    fn revive(&self, client_id: &str) -> Option<Identity> {
        let device = DeviceId::new(client_id).ok()?;
        let is_enabled = self.registry.device(&device).is_ok_and(|found| found.is_some_and(|device| device.enabled));
        is_enabled.then_some(Identity::Device(device, Proof::Remembered))
    }

    fn observe(&self, event: Event<'_, Identity>) {
        match event {
            Event::HandshakeFailed { peer, error } => self.incidents.handshake_failed(peer, error),
            Event::Refused { peer, client_id, cause } => self.incidents.connection_refused(peer, client_id, cause),
            Event::TooLarge { identity, size, limit } => {
                if let Identity::Device(device, _) = &**identity {
                    self.ingest.too_large_to_keep(device, size.into(), limit.into());
                }
            }
            Event::Denied { identity, action, topic } => {
                let action = match action {
                    Action::Publish => "publish",
                    Action::Subscribe => "subscribe",
                };
                self.incidents.topic_denied(identity.name(), action, topic);
            }
            Event::NotRetained { identity, topic } => self.incidents.not_retained(identity.name(), topic),
            Event::Connected { identity, peer } => {
                tracing::debug!(client = identity.name(), peer = %peer.address, "connected");
                match &**identity {
                    Identity::Device(device, _) => {
                        self.presence.connected(device, peer.address.ip());
                        // A session that is resumed has its subscriptions already.
                        self.receipts.may_want(device);
                        self.commands.connected(device);
                    }
                    Identity::Administrator(administrator) => self.administrators.connected(administrator),
                    Identity::Application(_) => {}
                }
            }
            Event::Disconnected { identity, peer, clean, taken_over, broke_protocol, cause } => {
                let (client, peer_address) = (identity.name(), peer.address);
                if broke_protocol {
                    self.incidents.protocol_broken(client, peer, cause);
                }
                tracing::debug!(client, peer = %peer_address, clean, taken_over, cause, "disconnected");
                match &**identity {
                    Identity::Device(device, _) => self.presence.disconnected(device, cause),
                    Identity::Administrator(administrator) => self.administrators.disconnected(administrator),
                    Identity::Application(_) => {}
                }
            }
        }
    }
}

impl Gate {
    /// Answers a certificate signing request with the certificate, on its own topic (the wire contract, section 3). The
    /// request is stored as any other message; one that is refused becomes a dead letter.
    async fn certify(
        &self,
        device: &DeviceId,
        proof: &Proof,
        topic: DeviceTopic,
        payload: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Verdict {
        let right = match proof {
            Proof::Certificate(serial) => Right::Certificate(serial.to_string()),
            Proof::Secret(credential) => Right::Secret(*credential),
            // A will is no request: nobody is there to be answered.
            Proof::Remembered => return self.ingest.message(device, &topic, payload, receipt).await,
        };
        let asked = enrolment::read(device, &payload);
        let answered = match asked {
            Ok(csr) => self.enrolment.certify(device, csr, right, device.as_str()).await,
            Err(error) => {
                self.incidents.request_for_certificate_refused(device.as_str(), device, error.code());
                Err(error)
            }
        };
        let error = match answered {
            Ok(answer) => {
                let to = DeviceTopic { kind: TopicKind::CommandCertificate, ..topic.clone() };
                let message = Message::new(to.to_string(), answer.chain_pem, QoS::AtLeastOnce);
                // The platform ends: the device asks again, and is given the same one.
                if self.answers.send(message).await.is_err() {
                    return Verdict::Withhold;
                }
                return self.ingest.message(device, &topic, payload, receipt).await;
            }
            Err(error) => error,
        };
        let reason = match &error {
            // A dropped receipt acknowledges nothing: the device comes again.
            EnrolmentError::Registry(_) | EnrolmentError::Issue(_) | EnrolmentError::Interrupted => {
                tracing::error!(%device, %error, "a certificate could not be made");
                return Verdict::Withhold;
            }
            EnrolmentError::TooOften(_) => PublishAckReason::QuotaExceeded,
            EnrolmentError::Refused(_) => PublishAckReason::NotAuthorized,
            EnrolmentError::NoRequest | EnrolmentError::WrongDevice | EnrolmentError::Request(_) => {
                PublishAckReason::PayloadFormatInvalid
            }
        };
        let why = (error.code(), &*error.to_string());
        self.ingest.refused(device, &topic, payload, why, reason, receipt).await;
        Verdict::Withhold
    }
}

impl Identity {
    /// The client identifier, for the log.
    fn name(&self) -> &str {
        match self {
            Self::Device(device, _) => device.as_str(),
            Self::Administrator(administrator) => administrator.name(),
            Self::Application(application) => application.session(),
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
    fn decide(self, registry: &Registry, device: &DeviceId) -> Result<Proof, Doubt> {
        match self {
            Self::Certificate { serial } => match certificate_doubt(registry, device, &serial) {
                None => Ok(Proof::Certificate(serial.into())),
                Some(doubt) => Err(doubt),
            },
            Self::Secret(secret) => match registry.verify_device_secret(device, &secret) {
                Ok(DeviceAuthentication::Accepted { credential_id, .. }) => Ok(Proof::Secret(credential_id)),
                Ok(DeviceAuthentication::Refused(why)) => Err((why.as_str(), Refusal::BadCredentials)),
                Err(error) => Err(registry_failed(&error)),
            },
        }
    }
}

/// What speaks against a certificate that the TLS layer found good.
fn certificate_doubt(registry: &Registry, device: &DeviceId, serial: &str) -> Option<Doubt> {
    match registry.admit_certificate(device, serial, Timestamp::now()) {
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
