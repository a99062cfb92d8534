//! Times on the command line: `--since 15m`, `--from 2026-01-31T08:00`.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How far back: digits and one of `s`, `m`, `h`, `d`, as the platform reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Since(String);

/// Text that says no span of time.
#[derive(Debug, thiserror::Error)]
#[error("write a number and one of s, m, h, d: 30s, 15m, 24h, 7d")]
pub(crate) struct InvalidSince;

impl Since {
    /// As the platform reads it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Since {
    type Err = InvalidSince;

    fn from_str(text: &str) -> Result<Self, InvalidSince> {
        let number = text.strip_suffix(['s', 'm', 'h', 'd']).ok_or(InvalidSince)?;
        let digits = !number.is_empty() && number.len() <= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
        // Nothing is zero seconds old: it would be an empty answer that looks like missing data.
        if digits && number.bytes().any(|byte| byte != b'0') { Ok(Self(text.to_owned())) } else { Err(InvalidSince) }
    }
}

/// Text that says no moment.
#[derive(Debug, thiserror::Error)]
#[error("write RFC 3339, for example 2026-01-31T08:00:00Z or 2026-01-31T15:00:00+07:00; without an offset it is UTC")]
pub(crate) struct InvalidMoment;

/// A moment: RFC 3339, or a date and time without an offset, which is UTC as in payloads, or a date, whose midnight it is.
pub(crate) fn moment(text: &str) -> Result<Timestamp, InvalidMoment> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let naive: DateTime = text.parse().map_err(|_| InvalidMoment)?;
    TimeZone::UTC.to_timestamp(naive).map_err(|_| InvalidMoment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_the_platform_reads_and_no_others() {
        for good in ["30s", "15m", "24h", "7d", "007d"] {
            assert_eq!(good.parse::<Since>().unwrap().as_str(), good);
        }
        for bad in ["", "m", "15", "15 m", "-1h", "1.5h", "1w", "0m", "15M", "9999999999s", "๑m"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_without_an_offset_is_utc() {
        let moments = [
            ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
            ("2026-01-31T15:00:00+07:00", "2026-01-31T08:00:00Z"),
            ("2026-01-31T08:00", "2026-01-31T08:00:00Z"),
            ("2026-01-31 08:00:00.5", "2026-01-31T08:00:00.5Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
        ];
        for (text, expected) in moments {
            assert_eq!(moment(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "yesterday", "2026-02-30", "08:00", "1769846400"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
