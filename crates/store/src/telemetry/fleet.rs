//! Questions to many devices at once.

use std::sync::Arc;

use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::query::Latest;
use super::shared::Device;

impl Telemetry {
    /// The newest values of every device behind `after`, in the order of device ids, at most
    /// `limit` devices: all metrics of each as [`Telemetry::latest`] gives them, or one.
    pub fn latest_all(
        &self,
        after: Option<&DeviceId>,
        limit: usize,
        metric: Option<&str>,
    ) -> Vec<(DeviceId, Vec<Latest>)> {
        let mut devices: Vec<Arc<Device>> = self.shared.all_devices();
        devices.retain(|device| after.is_none_or(|after| device.id > *after));
        devices.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        devices.truncate(limit);
        devices.into_iter().map(|device| (device.id.clone(), device.read().newest(metric))).collect()
    }
}
