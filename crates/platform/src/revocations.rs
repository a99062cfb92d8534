//! The authority's revocation list, made when it is asked for and kept for a moment: anybody may ask, and each costs a
//! signature and a read of the registry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_pki::{RevocationList, Revoked};
use tokio::sync::Mutex;

use crate::provisioning::{Provisioning, ProvisioningError};

/// How old a list may be that is handed out.
const FRESH: Duration = Duration::from_secs(2);

/// The last list. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Revocations(Arc<Mutex<Option<Made>>>);

/// A list, and when it was made.
struct Made {
    at: Instant,
    list: Arc<RevocationList>,
}

impl Revocations {
    /// The list as of now, or of a moment ago.
    pub(crate) async fn list(&self, provisioning: &Provisioning) -> Result<Arc<RevocationList>, ProvisioningError> {
        // Held over the making: those who ask meanwhile wait for the one list.
        let mut last = self.0.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.at.elapsed() < FRESH) {
            return Ok(Arc::clone(&made.list));
        }
        let list = Arc::new(provisioning.revocation_list().await?);
        *last = Some(Made { at: Instant::now(), list: Arc::clone(&list) });
        Ok(list)
    }
}

impl Provisioning {
    async fn revocation_list(&self) -> Result<RevocationList, ProvisioningError> {
        self.blocking(|this| {
            let now = Timestamp::now();
            let states = this.registry.revoked_certificates(now)?;
            let revoked = states.iter().filter_map(|state| {
                // Whatever was recorded is a serial number: the registry takes nothing else.
                Some(Revoked { serial: state.certificate.serial.parse().ok()?, at: state.revoked_at? })
            });
            Ok(this.authority.revocation_list(&revoked.collect::<Vec<_>>(), now)?)
        })
        .await
    }
}
