//! The first certificate: a key made here, and a one-time token.
//!
//! The platform is believed by the fingerprint of its authority, which the token carries, or by a file; never by being
//! the first to answer. The key is on disk before anything is sent, and the platform gives the same certificate again to
//! the same key and token: an enrolment that was killed is run again and goes on where it was.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ClientConfig;
use tesaiot_contract::bundle::{Bundle, ClientCertificate};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_tls::{CertificateSummary, ClientSettings, TrustAnchors, client_config, pinned_client_config};

use super::error::IdentityError;
use super::files::{self, IdentityFiles, Pending};
use super::key::DeviceKey;
use super::platform::{Issued, certificate_for, check};
use crate::connect::{Connector, Deadlines, Proxies};
use crate::credentials::{Choice, Credentials, Method};
use crate::https::{Place, PostError};

/// Whom to believe.
#[derive(Clone, Debug)]
pub enum Authority {
    /// The authority whose certificate has this SHA-256
    Fingerprint([u8; 32]),
    /// The authorities in this PEM
    Anchors(String),
}

/// A first certificate to be.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Who asks
    pub device: DeviceId,
    /// The token, as the platform knows it
    pub token: Secret,
    /// Base address of the platform, `https://host:8443`
    pub url: String,
    /// Whom to believe
    pub authority: Authority,
    /// The bundle's directory; made when it is not there
    pub directory: PathBuf,
    /// Also when there is a certificate that is good
    pub again: bool,
    /// On the way to the platform
    pub proxies: Proxies,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// There is a new certificate, good until then.
    Now(Timestamp),
    /// There was one, good until then; nothing was sent.
    Before(Timestamp),
}

/// Gets a certificate and writes the bundle. `now` is this machine's time.
///
/// # Errors
/// [`IdentityError`]; run again it goes on with the same key.
pub async fn enrol(enrolment: &Enrolment, now: Timestamp) -> Result<Enrolled, IdentityError> {
    let Enrolment { device, directory, .. } = enrolment;
    let file = |source| IdentityError::File { path: directory.clone(), source };
    files::create_directory(directory).map_err(file)?;
    // Somebody else's bundle is not touched, and no token is used up for finding that out.
    Bundle::new(device.clone()).check_directory(directory)?;
    let files = IdentityFiles::open(directory)?;
    if !enrolment.again
        && let Some(not_after) = good_until(enrolment, now)
    {
        return Ok(Enrolled::Before(not_after));
    }
    let place = enrolment.place()?;
    let mut pending = files.pending()?;
    let issued = match certificate_for(&place, device, &pending.key).await {
        // The key of an attempt whose certificate was taken back since: it gets no other.
        Err(IdentityError::Platform(PostError::Refused { code, .. })) if code.starts_with("key_") => {
            pending = files.begin(DeviceKey::generate()?)?;
            certificate_for(&place, device, &pending.key).await?
        }
        issued => issued?,
    };
    enrolment.finish(&files, &pending, issued, now)
}

/// The end of a certificate that is there and good.
fn good_until(enrolment: &Enrolment, now: Timestamp) -> Option<Timestamp> {
    let bundle = Bundle::read(&enrolment.directory).ok()?;
    let credentials = Credentials::from_bundle(&bundle, Choice::Only(Method::MutualTls), now).ok()?;
    credentials.not_after()
}

impl Enrolment {
    fn place(&self) -> Result<Place, IdentityError> {
        let (host, port) = Place::address(&self.url).ok_or_else(|| IdentityError::Url(self.url.clone()))?;
        let connector = Connector::new(host, port, self.tls()?, Deadlines::default()).through(self.proxies.clone());
        Ok(Place { connector, key: Some(self.token.clone()) })
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        Ok(match &self.authority {
            Authority::Fingerprint(fingerprint) => pinned_client_config(*fingerprint)?,
            Authority::Anchors(pem) => client_config(ClientSettings::new(TrustAnchors::from_pem(pem)?))?,
        })
    }

    fn finish(
        &self,
        files: &IdentityFiles,
        pending: &Pending,
        issued: Issued,
        now: Timestamp,
    ) -> Result<Enrolled, IdentityError> {
        let trust_anchor_pem = self.trusted(issued.ca_chain)?;
        let identity = check(&self.device, &issued.certificate, pending.key.pem(), &trust_anchor_pem, now)?;
        files.keep_certificate(&issued.certificate)?;
        let mut bundle = Bundle::new(self.device.clone());
        bundle.trust_anchor_pem = Some(trust_anchor_pem);
        bundle.endpoints = issued.endpoints.ok_or(IdentityError::Answer)?;
        bundle.certificate = Some(ClientCertificate { chain_pem: issued.certificate, key_pem: None });
        // Certificate and key come last, and together.
        bundle.write_all_but_certificate(&self.directory)?;
        files.promote()?;
        Ok(Enrolled::Now(identity.summary().not_after))
    }

    /// What the bundle is to believe: what the platform sent, when the authority that was told is among it.
    fn trusted(&self, sent: Option<String>) -> Result<String, IdentityError> {
        match &self.authority {
            Authority::Anchors(pem) => Ok(pem.clone()),
            Authority::Fingerprint(fingerprint) => {
                let sent = sent.ok_or(IdentityError::Answer)?;
                let chain = CertificateSummary::all_from_pem(&sent)?;
                if chain.iter().any(|certificate| certificate.fingerprint_sha256 == *fingerprint) {
                    return Ok(sent);
                }
                Err(IdentityError::OtherAuthority("its ca-chain.pem does not hold that authority".to_owned()))
            }
        }
    }
}
