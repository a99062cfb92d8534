//! The verb *sign*: a certificate for a key that the device made and keeps.

use tesaiot_contract::DeviceId;

use crate::authority::Authority;
use crate::error::IssueError;
use crate::issued::Signed;
use crate::profile;
use crate::request::Request;
use crate::validity::Validity;

impl Authority {
    /// Signs the public key of a certificate signing request (PEM) into a certificate of `device`.
    ///
    /// The caller has established that the request comes from `device`; its common name must say so too. What else it
    /// wishes for (names, usages, to be an authority) is ignored: the certificate is the one
    /// [`issue_device`](Self::issue_device) makes.
    ///
    /// # Errors
    /// [`IssueError::Request`] when the request is not accepted; others as for issuing.
    pub fn sign_csr(&self, device: &DeviceId, csr_pem: &str, validity: Validity) -> Result<Signed, IssueError> {
        self.sign_request(device, &Request::from_pem(csr_pem)?, validity)
    }

    /// The same for a request that was read already.
    ///
    /// # Errors
    /// As [`sign_csr`](Self::sign_csr).
    pub fn sign_request(&self, device: &DeviceId, request: &Request, validity: Validity) -> Result<Signed, IssueError> {
        request.check_name(device)?;
        self.certify(&request.public_key, validity, |serial, period| profile::device(device.as_str(), serial, period))
    }
}
