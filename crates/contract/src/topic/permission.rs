//! What an identity may publish and subscribe: its own topics and nothing else.
//!
//! The identifier is compared whole, level against level, so a device whose identifier begins another's gains nothing
//! by it, and a wildcard never stands where the identifier must.

use super::parse::{Levels, base};
use crate::DeviceId;

/// Longest topic filter of MQTT, in bytes (MQTT-4.7.3-3).
const MAX_FILTER_BYTES: usize = 65_535;

/// Whether `device` may publish to `topic`: one of its own topics on which the contract lets a device publish. The
/// same question is asked of its Last Will.
pub fn may_publish(device: &DeviceId, topic: &str) -> bool {
    Levels::split(topic).is_ok_and(|levels| levels.device == device.as_str() && levels.is_published_by_device())
}

/// Whether `device` may subscribe to `filter`: a valid filter whose first level is `device` or `devices` and whose
/// second is the device's own identifier, both literally. A `$share/…` filter is refused with everything else.
pub fn may_subscribe(device: &DeviceId, filter: &str) -> bool {
    if filter.len() > MAX_FILTER_BYTES || filter.contains('\0') {
        return false;
    }
    let Some((_, rest)) = base(filter) else { return false };
    match rest.split_once('/') {
        Some((id, rest)) => id == device.as_str() && is_filter(rest),
        None => false,
    }
}

/// Whether wildcards stand alone in their level, and `#` in the last one only (MQTT-4.7.1-1, MQTT-4.7.1-2).
fn is_filter(levels: &str) -> bool {
    let mut ended = levels.is_empty();
    for level in levels.split('/') {
        if ended || (level.len() > 1 && level.contains(['+', '#'])) {
            return false;
        }
        ended = level == "#";
    }
    true
}
