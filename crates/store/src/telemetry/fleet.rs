//! Questions to many devices at once.

use std::sync::Arc;

use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::query::Latest;
use super::shared::Device;

/// Below so many devices one thread is done before another has begun.
const ALONE: usize = 1000;

impl Telemetry {
    /// The newest values of every device behind `after`, in the order of device ids, at most
    /// `limit` devices: all metrics of each as [`Telemetry::latest`] gives them, or one.
    pub fn latest_all(
        &self,
        after: Option<&DeviceId>,
        limit: usize,
        metric: Option<&str>,
    ) -> Vec<(DeviceId, Vec<Latest>)> {
        let devices = self.shared.devices_after(after, limit);
        let read = |device: &Arc<Device>| (device.id.clone(), device.read().latest.answer(metric));
        if devices.len() < ALONE {
            return devices.iter().map(read).collect();
        }
        // Most of the time goes to waiting for memory: two threads wait for twice as much.
        let (left, right) = devices.split_at(devices.len() / 2);
        std::thread::scope(|scope| {
            let right = scope.spawn(|| right.iter().map(read).collect::<Vec<_>>());
            let mut answer: Vec<_> = left.iter().map(read).collect();
            match right.join() {
                Ok(right) => answer.extend(right),
                Err(panic) => std::panic::resume_unwind(panic),
            }
            answer
        })
    }
}
