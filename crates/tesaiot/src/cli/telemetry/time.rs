//! Moments on the command line: `--from 2026-01-31T08:00`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

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
