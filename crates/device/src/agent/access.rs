//! What the agent logs in with may be replaced while it works: renewed, or issued again after a revocation.
//!
//! The bundle is read again after a login that was refused, and when the configuration is read again. What is no good is
//! not taken: the agent goes on with what it has.

use super::{Agent, Event, Transport};
use crate::connect::Connector;
use crate::credentials::Credentials;
use crate::https::{Place, PostError};
use crate::session::{Fault, SessionError};

/// What an agent logs in with, and where.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who it is
    pub credentials: Credentials,
    /// The way to the broker
    pub connector: Connector,
    /// Where samples are posted, for an agent that does
    pub place: Option<Place>,
}

/// Reads it again; none when it cannot be used now.
pub type ReadAccess = Box<dyn Fn() -> Option<Access> + Send>;

impl Agent {
    /// Reads what it logs in with again by `read`, whenever that may have been replaced.
    #[must_use]
    pub fn with_access(mut self, read: ReadAccess) -> Self {
        self.read_access = Some(read);
        self
    }

    /// A login failed: when it is the client that was refused, what it shows may be out of date.
    pub(super) fn login_failed(&mut self, error: &SessionError) {
        if error.fault() == Fault::Client {
            self.read_access_again();
        }
    }

    /// The same over HTTPS, where a server that refuses a certificate may just close. True when something changed.
    pub(super) fn post_failed(&mut self, error: &PostError) -> bool {
        let may_be_refused = match error {
            PostError::Refused { status, .. } => matches!(status, 401 | 403),
            PostError::Connect(_) | PostError::Broken { .. } => true,
        };
        may_be_refused && self.read_access_again()
    }

    /// Takes what lies in the bundle now, when it is of this device and another than before. True when it was.
    pub(super) fn read_access_again(&mut self) -> bool {
        if self.is_proving() {
            // What lies there is the old one, to be replaced by what is tried now.
            return false;
        }
        let Some(access) = self.read_access.as_ref().and_then(|read| read()) else { return false };
        let Access { credentials, connector, place } = access;
        let old = &self.settings.credentials;
        if credentials.device_id() != old.device_id() || credentials.prove_the_same(old) {
            return false;
        }
        self.settings.credentials = credentials;
        self.use_connector(connector.with_time(self.clock.tls()));
        if let (Transport::Https(old) | Transport::Auto(old), Some(mut place)) = (&mut self.settings.transport, place) {
            place.connector = place.connector.with_time(self.clock.tls());
            *old = place;
        }
        self.access_changed();
        self.emit(Event::CredentialsChanged);
        true
    }
}
