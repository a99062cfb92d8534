//! What the platform has of one run of a device: the message on `device/{id}/receipts` (the wire contract, sections 3
//! and 5).
//!
//! ```json
//! {"boot":"6f0c…","first":1,"stored":812,"gaps":[[17,19],[40,40]],"timestamp":"2025-12-09T10:30:45+00:00"}
//! ```
//!
//! Of the run `boot` every number from `first` to `stored` is durably stored, except those in `gaps` (inclusive ranges,
//! rising). Of numbers outside nothing is said. A receipt says all there is to say of a run: the last one counts, and
//! one that was missed is made good by the next.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::time;

/// Longest name of a run, in bytes.
pub const MAX_BOOT_BYTES: usize = 128;
/// Ranges that a receipt may leave out; the platform remembers 64 of a run.
pub const MAX_GAPS: usize = 256;

/// What is stored of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The name the device gave to the run
    pub boot: Box<str>,
    /// The lowest number that this receipt speaks of; it is stored
    pub first: u64,
    /// The highest number stored
    pub stored: u64,
    /// Between them, what is not stored or not known to be: inclusive ranges, rising
    #[serde(default)]
    pub gaps: Vec<(u64, u64)>,
    /// When the platform said so
    #[serde(default, with = "time", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// A payload that is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    /// It is not JSON of this shape.
    #[error("it is not the JSON of a receipt")]
    NotAReceipt,
    /// The name of the run is empty or too long.
    #[error("the name of the run has 1 to {MAX_BOOT_BYTES} bytes")]
    Boot,
    /// The ranges overlap, fall, or lie outside of what the receipt speaks of.
    #[error("the gaps are not rising ranges between first and stored, at most {MAX_GAPS}")]
    Gaps,
}

impl Receipt {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is none, or contradicts itself: nothing may be given up because of it.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidReceipt> {
        let receipt: Self = serde_json::from_slice(payload).map_err(|_| InvalidReceipt::NotAReceipt)?;
        if receipt.boot.is_empty() || receipt.boot.len() > MAX_BOOT_BYTES {
            return Err(InvalidReceipt::Boot);
        }
        // `first` and `stored` are stored, so that a gap lies strictly between them.
        let mut below = receipt.first;
        let rising = receipt.gaps.iter().all(|&(from, to)| {
            let good = below < from && from <= to && to < receipt.stored;
            below = to;
            good
        });
        if receipt.first > receipt.stored || receipt.gaps.len() > MAX_GAPS || !rising {
            return Err(InvalidReceipt::Gaps);
        }
        Ok(receipt)
    }

    /// The message's payload.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and plain text always serialize")
    }

    /// Whether this number is stored.
    pub fn contains(&self, seq: u64) -> bool {
        let after = self.gaps.partition_point(|&(from, _)| from <= seq);
        let is_missing = after > 0 && self.gaps[after - 1].1 >= seq;
        (self.first..=self.stored).contains(&seq) && !is_missing
    }

    /// How many numbers are stored.
    pub fn count(&self) -> u64 {
        let missing: u64 = self.gaps.iter().map(|(from, to)| to - from + 1).sum();
        (self.stored - self.first).saturating_add(1) - missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Receipt, InvalidReceipt> {
        Receipt::parse(text.as_bytes())
    }

    #[test]
    fn the_example_is_read_and_written() {
        let text =
            r#"{"boot":"b","first":1,"stored":812,"gaps":[[17,19],[40,40]],"timestamp":"2025-12-09T10:30:45+00:00"}"#;
        let receipt = parse(text).unwrap();
        assert_eq!(receipt.to_json(), text);
        assert_eq!(receipt.count(), 808);
        let stored: Vec<u64> = (0..45).filter(|seq| receipt.contains(*seq)).collect();
        let expected: Vec<u64> = (1..45).filter(|seq| ![17, 18, 19, 40].contains(seq)).collect();
        assert_eq!(stored, expected);
        assert!(receipt.contains(812) && !receipt.contains(813));
    }

    #[test]
    fn what_contradicts_itself_says_nothing() {
        for (text, error) in [
            ("", InvalidReceipt::NotAReceipt),
            (r#"{"boot":"b"}"#, InvalidReceipt::NotAReceipt),
            (r#"{"boot":"b","first":-1,"stored":1}"#, InvalidReceipt::NotAReceipt),
            (r#"{"boot":"","first":1,"stored":1}"#, InvalidReceipt::Boot),
            (r#"{"boot":"b","first":2,"stored":1}"#, InvalidReceipt::Gaps),
            (r#"{"boot":"b","first":1,"stored":9,"gaps":[[9,9]]}"#, InvalidReceipt::Gaps),
            (r#"{"boot":"b","first":1,"stored":9,"gaps":[[1,2]]}"#, InvalidReceipt::Gaps),
            (r#"{"boot":"b","first":1,"stored":9,"gaps":[[5,4]]}"#, InvalidReceipt::Gaps),
            (r#"{"boot":"b","first":1,"stored":9,"gaps":[[4,5],[5,6]]}"#, InvalidReceipt::Gaps),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let whole = parse(r#"{"boot":"b","first":0,"stored":18446744073709551615}"#).unwrap();
        assert_eq!(whole.count(), u64::MAX, "one less than there are, and no panic");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(payload: Vec<u8>, first: u64, stored: u64, gap: (u64, u64), asked: u64) {
            let _ = Receipt::parse(&payload);
            let receipt = Receipt { boot: "b".into(), first, stored, gaps: vec![gap], timestamp: None };
            if let Ok(receipt) = Receipt::parse(receipt.to_json().as_bytes()) {
                prop_assert!(receipt.count() > 0 && !receipt.contains(gap.0) && receipt.contains(first));
                let _ = receipt.contains(asked);
            }
        }
    }
}
