//! When each device was last seen, written to the registry in batches: a device that connects for every sample
//! costs no write each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_store::registry::{Registry, Seen};
use tokio_util::sync::CancellationToken;

/// How late the registry may be.
const PERIOD: Duration = Duration::from_secs(2);

type Latest = HashMap<DeviceId, (Timestamp, Option<IpAddr>)>;

/// Where sightings are reported. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    /// At most one entry per device of the registry: only authenticated devices are seen.
    latest: Arc<Mutex<Latest>>,
}

impl Presence {
    /// A device was here, now; its address when it is known.
    pub(crate) fn seen(&self, device: &DeviceId, address: Option<IpAddr>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = latest.entry(device.clone()).or_insert((Timestamp::MIN, None));
        *entry = (Timestamp::now(), address.or(entry.1));
    }

    /// Writes what was seen, now and then, until `stop`, and once more then.
    pub(crate) async fn write_until(self, registry: Registry, stop: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(PERIOD) => false,
            };
            let latest = std::mem::take(&mut *self.latest.lock().unwrap_or_else(PoisonError::into_inner));
            if !latest.is_empty() {
                let seen: Vec<Seen> = latest
                    .into_iter()
                    .map(|(device, (at, address))| Seen { device, at, address: address.map(|ip| ip.to_string()) })
                    .collect();
                let registry = registry.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || registry.touch_seen(&seen)).await {
                    tracing::warn!(%error, "the times devices were last seen could not be written");
                }
            }
            if stopped {
                return;
            }
        }
    }
}
