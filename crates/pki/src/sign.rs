//! The verb *sign*: a certificate for a key that the device made and keeps.

use tesaiot_contract::DeviceId;

use crate::authority::Authority;
use crate::error::IssueError;
use crate::issued::Signed;
use crate::profile;
use crate::request;
use crate::validity::Validity;

impl Authority {
    /// Signs the public key of a certificate signing request (PEM) into a certificate of `device`.
    ///
    /// The caller has established that the request comes from `device`. The request's wishes for a
    /// subject, names, usages or authority are ignored: the certificate is the one
    /// [`issue_device`](Self::issue_device) makes.
    ///
    /// # Errors
    /// [`IssueError::Request`] when the request is not accepted; others as for issuing.
    pub fn sign_csr(&self, device: &DeviceId, csr_pem: &str, validity: Validity) -> Result<Signed, IssueError> {
        let public_key = request::public_key(csr_pem)?;
        self.certify(&public_key, validity, |serial, period| profile::device(device.as_str(), serial, period))
    }
}
