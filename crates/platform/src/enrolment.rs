//! Certificates for keys that devices made themselves: who asked, by what right, how often.
//!
//! The right is looked at in the transaction that records the certificate (`tesaiot_store::registry`), so that one that
//! is taken back meanwhile is gone. What the request says beyond its key and its name is ignored: the authority decides
//! what a certificate says. Keys: P-256, P-384, Ed25519, and RSA with 2048 to 4096 bits; TLS accepts the same.

mod rate;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_pki::{Authority, IssueError, Request, RequestError, Signed, Validity};
use tesaiot_store::StoreError;
use tesaiot_store::registry::{Certificate, Certification, Certified, Claim, CredentialId, NotCertified, Registry};
use tokio::sync::Semaphore;

use crate::incidents::Incidents;
use rate::Rates;

/// Longest message with a request, in bytes: a request has at most 16 KiB, and line breaks take two in JSON.
pub(crate) const MAX_BYTES: usize = 32 * 1024;
/// Requests that are looked at at a time: each costs a signature or two, and a turn at the registry.
const AT_A_TIME: usize = 4;

/// By what right a certificate is asked for.
#[derive(Debug)]
pub(crate) enum Right {
    /// A one-time token, without the fingerprint at its end.
    Token(Secret),
    /// The certificate, by its serial number, that the device came in with.
    Certificate(String),
    /// A secret of the device, by its name, that it came in with.
    Secret(CredentialId),
    /// An operator, for the device.
    Operator(String),
    /// None but the key itself, whose certificate has expired.
    ExpiredKey,
}

/// A certificate for a device.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Leaf and intermediate, in PEM.
    pub(crate) chain_pem: String,
    /// Whether this key had it already.
    pub(crate) again: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    /// The message holds no request.
    #[error("the body is neither a certificate signing request in PEM nor {{\"device_id\", \"csr\": \"<PEM>\"}}")]
    NoRequest,
    /// The message says another device.
    #[error("device_id is not the device that asks")]
    WrongDevice,
    /// The request has to be changed.
    #[error("the certificate signing request is {0}")]
    Request(#[from] RequestError),
    /// There is no right to a certificate.
    #[error("{}", words(*.0))]
    Refused(NotCertified),
    /// Asked for too often.
    #[error("this device asks for certificates too often; try again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    /// The authority failed.
    #[error(transparent)]
    Issue(IssueError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] StoreError),
    /// The work was interrupted.
    #[error("the work was interrupted")]
    Interrupted,
}

impl EnrolmentError {
    /// A stable word for programs, for the audit log and for dead letters.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoRequest => "csr_malformed",
            Self::WrongDevice => "csr_wrong_device",
            Self::Request(error) => error.code(),
            Self::Refused(why) => why.as_str(),
            Self::TooOften(_) => "csr_too_often",
            Self::Issue(_) | Self::Registry(_) | Self::Interrupted => "internal",
        }
    }
}

fn words(why: NotCertified) -> &'static str {
    match why {
        NotCertified::NoSuchDevice | NotCertified::TokenUnknown => "no such enrolment token for this device",
        NotCertified::DeviceDisabled => "the device is disabled",
        NotCertified::TokenExpired => "the enrolment token has expired; ask for a new one",
        NotCertified::TokenRevoked => "the enrolment token was taken back; ask for a new one",
        NotCertified::TokenUsed => "the enrolment token was used already, with another key; ask for a new one",
        NotCertified::KeyRevoked => "a certificate of this key was revoked; make a new key",
        NotCertified::KeyOfAnother => "this key is another device's; make a new key",
        NotCertified::CertificateRefused => "the certificate that was shown is not this device's any more",
        NotCertified::SecretRevoked => "the key that was shown was taken back; come with the new one",
        NotCertified::KeyUnknown => {
            "without a credential only the key of the device's own expired certificate is renewed, and this is not it"
        }
        NotCertified::GraceOver => "the certificate of this key expired too long ago; ask for an enrolment token",
    }
}

/// `{"device_id", "csr": "<PEM>"}` (the wire contract, section 3).
#[derive(Deserialize)]
struct Asked {
    device_id: Option<String>,
    csr: String,
}

/// Reads a message that asks for a certificate of `device`: JSON, or the request alone.
pub(crate) fn read(device: &DeviceId, message: &[u8]) -> Result<String, EnrolmentError> {
    if message.len() > MAX_BYTES {
        return Err(RequestError::TooLarge { limit: MAX_BYTES }.into());
    }
    let text = std::str::from_utf8(message).map_err(|_| EnrolmentError::NoRequest)?;
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(text.trim_start().to_owned());
    }
    let asked: Asked = serde_json::from_str(text).map_err(|_| EnrolmentError::NoRequest)?;
    match asked.device_id {
        Some(named) if named != device.as_str() => Err(EnrolmentError::WrongDevice),
        _ => Ok(asked.csr),
    }
}

/// Gives certificates to devices. Clones share it.
#[derive(Clone)]
pub(crate) struct Enrolment {
    registry: Registry,
    authority: Arc<Authority>,
    incidents: Incidents,
    rates: Rates,
    turns: Arc<Semaphore>,
    /// How long a certificate lasts.
    lifetime: Duration,
    /// How long after its end a certificate is renewed for the same key.
    grace: Duration,
}

impl Enrolment {
    pub(crate) fn new(
        registry: Registry,
        authority: Arc<Authority>,
        incidents: Incidents,
        lifetime: Duration,
        grace: Duration,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Self { registry, authority, incidents, rates: Rates::default(), turns, lifetime, grace }
    }

    /// Answers a request in PEM that comes from `source`: the device, or an address. What became of it is in the audit
    /// log.
    pub(crate) async fn certify(
        &self,
        device: &DeviceId,
        csr_pem: String,
        right: Right,
        source: &str,
    ) -> Result<Answer, EnrolmentError> {
        let actor = match &right {
            Right::Operator(name) => name.clone(),
            Right::Token(_) => format!("token-of:{device}"),
            _ => format!("device:{device}"),
        };
        let answer = self.decide(device, csr_pem, right).await;
        match &answer {
            Ok(answer) => {
                let detail = if answer.again { "the certificate this key has already" } else { "a new certificate" };
                self.incidents.deed(&actor, "certificate.sign", device.as_str(), detail).await;
            }
            Err(error) => self.incidents.request_for_certificate_refused(source, device, error.code()),
        }
        answer
    }

    async fn decide(&self, device: &DeviceId, csr_pem: String, right: Right) -> Result<Answer, EnrolmentError> {
        // What nobody is believed for must not use up what the device itself may do.
        if matches!(right, Right::Certificate(_) | Right::Secret(_)) {
            self.rates.take(device).map_err(EnrolmentError::TooOften)?;
        }
        let _turn = self.turns.acquire().await.map_err(|_| EnrolmentError::Interrupted)?;
        let (this, device) = (self.clone(), device.clone());
        let work = move || this.sign(&device, &csr_pem, &right);
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(EnrolmentError::Interrupted))
    }

    fn sign(&self, device: &DeviceId, csr_pem: &str, right: &Right) -> Result<Answer, EnrolmentError> {
        let request = Request::from_pem(csr_pem)?;
        request.check_name(device)?;
        let now = Timestamp::now();
        let key_fingerprint = hexadecimal(&request.key_fingerprint());
        let claim = match right {
            Right::Token(token) => Claim::Token(token.expose()),
            Right::Certificate(serial) => Claim::Certificate(serial),
            Right::Secret(credential) => Claim::Secret(*credential),
            Right::Operator(_) => Claim::Verified,
            Right::ExpiredKey => Claim::ExpiredKey(self.grace),
        };
        let mut failed = None;
        let make = || match self.authority.sign_request(device, &request, Validity::new(now, self.lifetime)) {
            Ok(signed) => Some((recorded(device, &signed, now), signed.chain_pem)),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let asked = Certification { device, key_fingerprint: &key_fingerprint, claim, now };
        match (self.registry.certify(&asked, make)?, failed) {
            (Certified::New(chain_pem), _) => Ok(Answer { chain_pem, again: false }),
            (Certified::Again(chain_pem), _) => Ok(Answer { chain_pem, again: true }),
            (Certified::Refused(why), _) => Err(EnrolmentError::Refused(why)),
            (Certified::NotMade, Some(IssueError::Request(error))) => Err(error.into()),
            (Certified::NotMade, Some(error)) => Err(EnrolmentError::Issue(error)),
            (Certified::NotMade, None) => Err(EnrolmentError::Interrupted),
        }
    }
}

/// A certificate as the registry keeps it.
fn recorded(device: &DeviceId, signed: &Signed, now: Timestamp) -> Certificate {
    Certificate {
        device: device.clone(),
        serial: signed.serial.to_string(),
        not_before: signed.not_before,
        not_after: signed.not_after,
        fingerprint: hexadecimal(&signed.fingerprint_sha256),
        issued_at: now,
        key_fingerprint: Some(hexadecimal(&signed.key_fingerprint)),
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_alone_or_in_json() {
        let device = DeviceId::new("pump-7").unwrap();
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n";
        let json = serde_json::json!({"device_id": "pump-7", "csr": pem}).to_string();
        assert_eq!(read(&device, pem.as_bytes()).unwrap(), pem);
        assert_eq!(read(&device, json.as_bytes()).unwrap(), pem);
        let refused = |text: &str| read(&device, text.as_bytes()).unwrap_err().code();
        assert_eq!(refused(&json.replace("pump-7", "pump-77")), "csr_wrong_device");
        assert_eq!(refused(&"x".repeat(MAX_BYTES + 1)), "csr_too_large");
        for text in ["", "{}", "[]", "{\"csr\":1}", "hello"] {
            assert_eq!(refused(text), "csr_malformed", "{text}");
        }
        assert_eq!(read(&device, &[0xff]).unwrap_err().code(), "csr_malformed");
    }
}
