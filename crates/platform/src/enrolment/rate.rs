//! How often a device may ask for a certificate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tesaiot_contract::DeviceId;

/// Requests in a row.
const BURST: u32 = 8;
/// One more comes every so often.
const EVERY: Duration = Duration::from_secs(60);
/// Devices remembered; those that have their whole burst again are forgotten first.
const REMEMBERED: usize = 4096;

/// The buckets of those that asked lately, by when they will be full. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(Arc<Mutex<HashMap<DeviceId, Instant>>>);

impl Rates {
    /// Takes one of a device's requests, or says how long until there is one.
    pub(crate) fn take(&self, device: &DeviceId) -> Result<(), Duration> {
        self.take_at(device, Instant::now())
    }

    fn take_at(&self, device: &DeviceId, now: Instant) -> Result<(), Duration> {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= REMEMBERED {
            full.retain(|_, at| *at > now);
        }
        // Only those that authenticated are in here; a fleet that asks all at once is not refused for its number.
        if full.len() >= REMEMBERED && !full.contains_key(device) {
            return Ok(());
        }
        let at = full.entry(device.clone()).or_insert(now);
        let after = (*at).max(now) + EVERY;
        let wait = (after - now).saturating_sub(EVERY * BURST);
        if !wait.is_zero() {
            return Err(wait);
        }
        *at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time_and_others_are_not_concerned() {
        let (rates, start) = (Rates::default(), Instant::now());
        let (device, other) = (DeviceId::new("pump-7").unwrap(), DeviceId::new("pump-8").unwrap());
        for _ in 0..BURST {
            rates.take_at(&device, start).unwrap();
        }
        assert_eq!(rates.take_at(&device, start), Err(EVERY));
        rates.take_at(&other, start).unwrap();
        assert_eq!(rates.take_at(&device, start + EVERY), Ok(()));
        assert_eq!(rates.take_at(&device, start + EVERY), Err(EVERY));
        for _ in 0..BURST {
            rates.take_at(&device, start + EVERY * 20).unwrap();
        }
    }
}
