//! One metric of many devices, in buckets.

use std::sync::Arc;

use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::bucket::{Bucket, BucketQuery, Buckets, Grid, answer};
use super::shared::Device;
use super::span::Span;
use crate::error::StoreError;

impl Telemetry {
    /// One metric of several devices, or of all, in buckets over all of their points. Of points
    /// of equal times, those of the device with the greater id count as later. A device without
    /// the metric adds nothing.
    ///
    /// # Errors
    /// As [`Telemetry::buckets`].
    pub fn aggregate(&self, devices: Option<&[DeviceId]>, query: &BucketQuery) -> Result<Vec<Bucket>, StoreError> {
        let grid = Grid::new(query.origin, query.width)?;
        let Some(span) = Span::of(query.from, query.to).filter(|_| query.limit > 0) else {
            return Ok(Vec::new());
        };
        let mut devices: Vec<Arc<Device>> = match devices {
            Some(devices) => devices.iter().filter_map(|id| self.shared.device(id)).collect(),
            None => self.shared.all_devices(),
        };
        devices.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        devices.dedup_by(|one, other| one.id == other.id);
        let mut total = Buckets::new(grid, span, query.limit);
        for device in devices {
            let mut buckets = Buckets::new(grid, span, query.limit);
            self.fold(&device, &query.metric, &mut buckets)?;
            total.merge(buckets);
        }
        Ok(answer(total, query))
    }
}
