//! Rates on the command line: `100/s`, `100/s,5000`, `none`.

use std::str::FromStr;

use tesaiot_platform::Rate;

/// Seconds worth of a rate that may come at once after a pause, unless the burst is said.
const BURST_SECONDS: u32 = 10;

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Rate>);

/// Text that says no rate.
#[derive(Debug, thiserror::Error)]
#[error("write how many a second, and how many at once after a pause: 100/s or 100/s,5000; or none")]
pub(crate) struct InvalidRate;

impl FromStr for Limit {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        if text == "none" {
            return Ok(Self(None));
        }
        let (per_second, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(number(burst)?)),
            None => (text, None),
        };
        let per_second = number(per_second.strip_suffix("/s").ok_or(InvalidRate)?)?;
        let burst = burst.unwrap_or_else(|| per_second.saturating_mul(BURST_SECONDS));
        Ok(Self(Some(Rate { per_second, burst })))
    }
}

/// A number above zero, of anything or, with a unit, of bytes.
fn number(text: &str) -> Result<u32, InvalidRate> {
    if let Ok(size) = text.parse::<super::size::Size>() {
        return u32::try_from(size.bytes()).map_err(|_| InvalidRate);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidRate);
    }
    text.parse().ok().filter(|number| *number > 0).ok_or(InvalidRate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_no_others() {
        let rate = |per_second, burst| Limit(Some(Rate { per_second, burst }));
        for (good, expected) in [
            ("100/s", rate(100, 1000)),
            ("100/s,5000", rate(100, 5000)),
            ("1/s,1", rate(1, 1)),
            ("2MB/s", rate(2_000_000, 20_000_000)),
            ("2MB/s,64MB", rate(2_000_000, 64_000_000)),
            ("4294967295/s", rate(u32::MAX, u32::MAX)),
            ("none", Limit(None)),
        ] {
            assert_eq!(good.parse::<Limit>().unwrap(), expected, "{good}");
        }
        for bad in
            ["", "100", "/s", "0/s", "1/s,0", "1/s,", "-1/s", "1.5/s", "1/m", "5GB/s", "4294967296/s", "None", "+1/s"]
        {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }
}
