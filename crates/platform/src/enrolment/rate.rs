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
const REMEMBERED: usize = 16_384;
/// What all further devices have together: a fleet that asks all at once is slowed, not let through uncounted.
const SHARED_BURST: u32 = 512;
/// One more for these comes every so often.
const SHARED_EVERY: Duration = Duration::from_secs(1);

/// The buckets of those that asked lately, by when they will be full. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(Arc<Mutex<Buckets>>);

#[derive(Debug, Default)]
struct Buckets {
    full: HashMap<DeviceId, Instant>,
    /// The one of all that are not remembered.
    shared: Option<Instant>,
}

impl Rates {
    /// Takes one of a device's requests, or says how long until there is one.
    pub(crate) fn take(&self, device: &DeviceId) -> Result<(), Duration> {
        self.take_at(device, Instant::now())
    }

    fn take_at(&self, device: &DeviceId, now: Instant) -> Result<(), Duration> {
        let Buckets { full, shared } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= REMEMBERED {
            full.retain(|_, at| *at > now);
        }
        if full.len() >= REMEMBERED && !full.contains_key(device) {
            return take(shared.get_or_insert(now), now, SHARED_EVERY, SHARED_BURST);
        }
        take(full.entry(device.clone()).or_insert(now), now, EVERY, BURST)
    }
}

/// Takes one from the bucket that is full `at` this time, or says how long until there is one.
fn take(at: &mut Instant, now: Instant, every: Duration, burst: u32) -> Result<(), Duration> {
    let after = (*at).max(now) + every;
    let wait = (after - now).saturating_sub(every * burst);
    if !wait.is_zero() {
        return Err(wait);
    }
    *at = after;
    Ok(())
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

    #[test]
    fn more_devices_than_are_remembered_share_what_there_is() {
        let (rates, start) = (Rates::default(), Instant::now());
        let device = |number: usize| DeviceId::new(format!("pump-{number}")).unwrap();
        for number in 0..REMEMBERED + SHARED_BURST as usize {
            rates.take_at(&device(number), start).unwrap();
        }
        assert_eq!(rates.take_at(&device(usize::MAX), start), Err(SHARED_EVERY));
        rates.take_at(&device(0), start).unwrap();
        rates.take_at(&device(usize::MAX), start + SHARED_EVERY).unwrap();
        rates.take_at(&device(usize::MAX), start + EVERY * BURST).unwrap();
    }
}
