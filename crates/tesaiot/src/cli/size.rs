//! Sizes on the command line: `4kB`, `500MB`, `20GB`.

use std::str::FromStr;

/// Bytes: digits and one of `kB`, `MB`, `GB`, `TB`, which are powers of a thousand; more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u64);

/// Text that says no size.
#[derive(Debug, thiserror::Error)]
#[error("write a number above zero and one of kB, MB, GB, TB: 500MB, 20GB")]
pub(crate) struct InvalidSize;

impl Size {
    /// How many bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(2)).ok_or(InvalidSize)?;
        let unit = match unit {
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(InvalidSize),
        };
        if !(1..=6).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSize);
        }
        match number.parse::<u64>() {
            Ok(number @ 1..) => Ok(Self(number * unit)),
            _ => Err(InvalidSize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_no_others() {
        let good = [("64kB", 64_000), ("500MB", 500_000_000), ("20GB", 20_000_000_000), ("1TB", 1_000_000_000_000)];
        for (good, bytes) in good {
            assert_eq!(good.parse::<Size>().unwrap(), Size(bytes));
        }
        for bad in ["", "GB", "0GB", "20", "20gb", "-1GB", "1.5GB", "1234567GB", "20 GB", "\u{e9}B", "\u{20ac}"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
