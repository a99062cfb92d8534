//! When a certificate is renewed. Pure: the dice are the caller's.

use std::time::Duration;

use jiff::Timestamp;

/// The shortest wait between two attempts.
const SHORTEST: Duration = Duration::from_secs(5);
/// The first wait after an attempt that failed, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3600));

/// When a certificate with these dates is due: after two thirds of its life, less up to a twentieth of it, so that a
/// fleet that was made in one day is not renewed in one minute.
pub fn due(not_before: Timestamp, not_after: Timestamp, dice: u64) -> Timestamp {
    let life = u64::try_from(not_after.as_second() - not_before.as_second()).unwrap_or(0);
    let early = (life / 20).checked_add(1).map_or(0, |span| dice % span);
    let after = i64::try_from(life / 3 * 2 - early.min(life / 3 * 2)).unwrap_or(0);
    Timestamp::from_second(not_before.as_second().saturating_add(after)).unwrap_or(not_after)
}

/// How long to wait after so many attempts in a row that failed: a minute, two, four … at most six hours, and never so
/// long that what is left of the certificate's life would not see eight more.
pub fn retry(failures: u32, left: Duration, dice: u64) -> Duration {
    let doubled = RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY.1);
    let wait = doubled.min(left / 8).max(SHORTEST);
    // Between three quarters of it and all of it.
    let spread = u64::try_from(wait.as_millis() / 4).unwrap_or(u64::MAX);
    wait - Duration::from_millis(dice % spread.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_year_is_renewed_in_its_eighth_month_and_not_on_one_day() {
        let (from, to) = (at(0), at(360 * DAY));
        let all: Vec<i64> = (0..1000).map(|n| due(from, to, n * 7919 * 13).as_second() / DAY).collect();
        assert!(all.iter().all(|day| (222..=240).contains(day)), "{all:?}");
        let days: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(days.len() > 12, "spread over {} days", days.len());
        assert_eq!(due(from, to, 0), at(240 * DAY));
    }

    #[test]
    fn odd_dates_do_no_harm() {
        assert_eq!(due(at(100), at(100), 9), at(100));
        assert_eq!(due(at(100), at(0), 9), at(100));
        due(Timestamp::MIN, Timestamp::MAX, u64::MAX);
    }

    #[test]
    fn attempts_become_rare_and_never_too_rare() {
        let month = Duration::from_secs(30 * 86_400);
        let minutes = |failures| retry(failures, month, 0).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 12, 99].map(minutes), [1, 2, 4, 8, 360, 360]);
        assert_eq!(retry(9, Duration::from_secs(80), 0), Duration::from_secs(10));
        assert_eq!(retry(9, Duration::ZERO, 0), SHORTEST);
        assert!((0..5000).all(|dice| retry(3, month, dice * 97) > Duration::from_secs(170)));
    }
}
