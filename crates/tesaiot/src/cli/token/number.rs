//! Numbers of tokens: `3`, and `m3` for those of applications, which are counted by themselves.

use std::fmt;
use std::str::FromStr;

/// Which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenNumber {
    /// Of the REST interface
    Rest(i64),
    /// For MQTT
    Mqtt(i64),
}

/// Text that is no number of a token.
#[derive(Debug, thiserror::Error)]
#[error("write the number as `tesaiot token list` shows it: 3, or m3")]
pub(super) struct InvalidNumber;

impl FromStr for TokenNumber {
    type Err = InvalidNumber;

    fn from_str(text: &str) -> Result<Self, InvalidNumber> {
        let digits = text.strip_prefix('m').unwrap_or(text);
        let number = digits.parse().ok().filter(|number| *number >= 0).ok_or(InvalidNumber)?;
        Ok(if digits == text { Self::Rest(number) } else { Self::Mqtt(number) })
    }
}

impl fmt::Display for TokenNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest(number) => write!(f, "{number}"),
            Self::Mqtt(number) => write!(f, "m{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_as_they_are_shown() {
        for (text, number) in [("3", TokenNumber::Rest(3)), ("m12", TokenNumber::Mqtt(12))] {
            assert_eq!(text.parse::<TokenNumber>().unwrap(), number);
            assert_eq!(number.to_string(), text);
        }
        for bad in ["", "m", "mm1", "-1", "m-1", "x1", "1m"] {
            assert!(bad.parse::<TokenNumber>().is_err(), "{bad}");
        }
    }
}
