//! Timestamps as the store keeps them: signed 64-bit nanoseconds since 1970-01-01 UTC.

use jiff::Timestamp;

/// Nanoseconds in a second.
const NANOSECONDS: i64 = 1_000_000_000;

/// Nanoseconds since the epoch. Times outside 1677-09-21 to 2262-04-11 do not fit and become
/// the nearest end of that range; the wire contract, section 4, refuses them long before.
pub(crate) fn to_nanoseconds(time: Timestamp) -> i64 {
    // In 64 bits: this is done for every point that is read or written.
    time.as_second()
        .checked_mul(NANOSECONDS)
        .and_then(|nanoseconds| nanoseconds.checked_add(i64::from(time.subsec_nanosecond())))
        .unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX })
}

/// The inverse of [`to_nanoseconds`].
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> Timestamp {
    let part = i32::try_from(nanoseconds % NANOSECONDS).expect("a remainder of 10^9 fits in 32 bits");
    Timestamp::new(nanoseconds / NANOSECONDS, part)
        .expect("every i64 of nanoseconds lies within the years -9999 to 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_i64_is_a_time_and_out_of_range_times_saturate() {
        for nanoseconds in [i64::MIN, -1_000_000_001, -1, 0, 1, 1_764_000_000_123_456_789, i64::MAX] {
            assert_eq!(to_nanoseconds(from_nanoseconds(nanoseconds)), nanoseconds);
        }
        assert_eq!(to_nanoseconds(Timestamp::MIN), i64::MIN);
        assert_eq!(to_nanoseconds(Timestamp::MAX), i64::MAX);
    }
}
