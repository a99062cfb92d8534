//! The verb *issue*: a certificate with a key made here.

use rcgen::{CertificateParams, PublicKeyData};
use ring::digest::{SHA256, digest};
use tesaiot_contract::DeviceId;

use crate::authority::Authority;
use crate::error::IssueError;
use crate::issued::{Issued, Signed};
use crate::key::SecretKey;
use crate::names;
use crate::profile;
use crate::request;
use crate::serial::Serial;
use crate::validity::{Period, Validity};

impl Authority {
    /// Issues a server certificate for `names`: DNS names (a wildcard may stand for the first
    /// label) and IP addresses, told apart by reading them. At least one.
    ///
    /// # Errors
    /// A name that is none, or an intermediate that has expired.
    pub fn issue_server(&self, names: &[String], validity: Validity) -> Result<Issued, IssueError> {
        let names = names::alternative_names(names)?;
        let common_name = names::common_name(&names);
        let key = SecretKey::generate().map_err(IssueError::Sign)?;
        let signed =
            self.certify(&key, validity, |serial, period| profile::server(names, common_name, serial, period))?;
        Ok(signed.with_key(key.to_pem().map_err(IssueError::Sign)?))
    }

    /// Issues a device certificate: the common name is the device id, exactly; good for client
    /// authentication and nothing else.
    ///
    /// # Errors
    /// An intermediate that has expired.
    pub fn issue_device(&self, device: &DeviceId, validity: Validity) -> Result<Issued, IssueError> {
        let key = SecretKey::generate().map_err(IssueError::Sign)?;
        let signed = self.certify(&key, validity, |serial, period| profile::device(device.as_str(), serial, period))?;
        Ok(signed.with_key(key.to_pem().map_err(IssueError::Sign)?))
    }

    /// Signs `public_key` into a certificate of the given profile.
    pub(crate) fn certify(
        &self,
        public_key: &impl PublicKeyData,
        validity: Validity,
        profile: impl FnOnce(Serial, Period) -> Result<CertificateParams, rcgen::Error>,
    ) -> Result<Signed, IssueError> {
        let period =
            validity.period(self.not_after).ok_or(IssueError::NoValidity { issuer_not_after: self.not_after })?;
        let serial = Serial::random(&self.random).map_err(|_| IssueError::Random)?;
        let certificate = profile(serial, period)
            .and_then(|parameters| parameters.signed_by(public_key, &self.issuer))
            .map_err(IssueError::Sign)?;
        let mut fingerprint_sha256 = [0; 32];
        fingerprint_sha256.copy_from_slice(digest(&SHA256, certificate.der()).as_ref());
        Ok(Signed {
            chain_pem: format!("{}{}", certificate.pem(), self.intermediate_pem),
            serial,
            not_before: period.not_before,
            not_after: period.not_after,
            fingerprint_sha256,
            key_fingerprint: request::key_fingerprint(public_key),
        })
    }
}
