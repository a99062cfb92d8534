//! Spans of time on the command line: `30s`, `15m`, `24h`, `7d`.

use std::str::FromStr;
use std::time::Duration;

/// Digits and one of `s`, `m`, `h`, `d`; more than zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    text: String,
    seconds: u64,
}

/// Text that says no span of time.
#[derive(Debug, thiserror::Error)]
#[error("write a number above zero and one of s, m, h, d: 30s, 15m, 24h, 7d")]
pub(crate) struct InvalidSpan;

impl Span {
    /// As it was written; the platform reads the same form.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How long it is.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let number = text.strip_suffix(['s', 'm', 'h', 'd']).ok_or(InvalidSpan)?;
        // Nine digits of days are longer than any store is old, and no multiplication overflows.
        if !(1..=9).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSpan);
        }
        let unit = match text.as_bytes().last() {
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 24 * 3600,
            _ => 1,
        };
        match number.parse::<u64>() {
            Ok(number @ 1..) => Ok(Self { text: text.to_owned(), seconds: number * unit }),
            _ => Err(InvalidSpan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_the_platform_reads_and_no_others() {
        for (good, seconds) in [("30s", 30), ("15m", 900), ("24h", 86_400), ("007d", 604_800)] {
            let span: Span = good.parse().unwrap();
            assert_eq!((span.as_str(), span.duration()), (good, Duration::from_secs(seconds)));
        }
        assert!("999999999d".parse::<Span>().is_ok());
        for bad in ["", "m", "15", "15 m", "-1h", "1.5h", "1w", "0m", "15M", "9999999999s", "๑m"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
