//! The one question to the platform, and what makes its answer good.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tesaiot_contract::bundle::{Bundle, ClientCertificate};
use tesaiot_contract::{DeviceId, Endpoints, Secret};
use tesaiot_tls::{ClientIdentity, TrustAnchors};

use super::error::IdentityError;
use super::key::DeviceKey;
use super::request::signing_request;
use crate::credentials::{Choice, Credentials, CredentialsError, Method};
use crate::https::{Link, Place, PostError};

/// What the platform answers to a request for a certificate.
#[derive(Deserialize)]
pub(super) struct Issued {
    /// Leaf and intermediate, in PEM
    pub(super) certificate: String,
    /// Intermediate and root
    #[serde(default)]
    pub(super) ca_chain: Option<String>,
    #[serde(default)]
    pub(super) endpoints: Option<Endpoints>,
}

/// Asks for a certificate of `device` for `key`.
pub(super) async fn certificate_for(
    place: &Place,
    device: &DeviceId,
    key: &DeviceKey,
) -> Result<Issued, IdentityError> {
    let body = json!({"device_id": device, "csr": signing_request(device, key)?}).to_string();
    let mut link = Link::open(place).await?;
    let answer = link.ask("POST", &format!("/api/v1/devices/{device}/csr"), body.as_bytes()).await?;
    serde_json::from_slice(&answer).map_err(|_| IdentityError::Answer)
}

/// Opens a connection with the certificate in `place`, and makes the platform say that it knows the device by it.
pub(super) async fn prove(place: &Place, device: &DeviceId) -> Result<(), PostError> {
    let mut link = Link::open(place).await?;
    link.ask("GET", &format!("/api/v1/devices/{device}"), b"").await.map(drop)
}

/// Checks a certificate before it is believed to be one: its key is ours, its only name the device's, its time is now,
/// and it leads to the authority.
pub(crate) fn check(
    device: &DeviceId,
    chain_pem: &str,
    key: &Secret,
    trust_anchor_pem: &str,
    now: Timestamp,
) -> Result<ClientIdentity, IdentityError> {
    let mut bundle = Bundle::new(device.clone());
    bundle.certificate = Some(ClientCertificate { chain_pem: chain_pem.to_owned(), key_pem: Some(key.clone()) });
    bundle.trust_anchor_pem = Some(trust_anchor_pem.to_owned());
    let credentials = Credentials::from_bundle(&bundle, Choice::Only(Method::MutualTls), now);
    let credentials = credentials.map_err(IdentityError::Unusable)?;
    let identity = credentials.identity().cloned().ok_or(IdentityError::Answer)?;
    let trust = TrustAnchors::from_pem(trust_anchor_pem).map_err(CredentialsError::from);
    let judged = trust.map_err(IdentityError::Unusable)?.judge_client(&identity, now);
    judged.map(|()| identity).map_err(|fault| IdentityError::OtherAuthority(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate of the year 2020 by an authority of ten years around it.
    fn issued(authority: &CertifiedIssuer<'_, KeyPair>, key: &DeviceKey) -> String {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "pump-7");
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let key = KeyPair::from_pem(key.pem().expose()).unwrap();
        parameters.signed_by(&key, authority).unwrap().pem()
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Test CA");
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2015, 1, 1), date_time_ymd(2025, 1, 1));
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn another_authority_is_found_at_a_time_that_is_not_the_systems() {
        let (ours, other, key) = (authority(), authority(), DeviceKey::generate().unwrap());
        let (device, anchor) = ("pump-7".parse().unwrap(), ours.pem());
        let check = |chain: &str, now: &str| check(&device, chain, key.pem(), &anchor, now.parse().unwrap());
        check(&issued(&ours, &key), "2020-06-01T00:00:00Z").expect("good at the time that is known");
        let judged = check(&issued(&other, &key), "2020-06-01T00:00:00Z");
        assert!(matches!(judged, Err(IdentityError::OtherAuthority(_))), "{judged:?}");
        assert!(check(&issued(&ours, &key), "2022-06-01T00:00:00Z").is_err());
    }
}
