//! Reading a payload.
//!
//! serde's visitors cannot carry an error of ours, so the reader keeps the reason and hands serde a token; whatever
//! serde reports without a reason is a fault of the JSON itself.

mod batch;
mod metric;
mod sample;

use jiff::Timestamp;
use serde::de::{self, DeserializeSeed};

use super::flatten::Flattener;
use super::{Limits, PayloadError, Sample};
use crate::DeviceId;

/// Reads the samples of a telemetry payload, by every rule of the wire contract, section 4.
///
/// `kind` is the `{type}` of the topic; a bare value is named by it, its levels joined by `_` (as nested names are).
/// `received_at` is only what the device's time is compared with: a sample without a time has none afterwards.
/// Members beside a `data` object that the contract gives no meaning are metrics too: nothing that was acknowledged is
/// dropped. One bad sample refuses the whole payload, and so do two different samples of a batch with the same `seq` of
/// the same `boot`: the store keeps one sample for each number, and none is to be lost without a word.
pub fn parse(
    device: &DeviceId,
    kind: Option<&str>,
    payload: &[u8],
    received_at: Timestamp,
    limits: &Limits,
) -> Result<Vec<Sample>, PayloadError> {
    let limit = limits.max_payload_bytes;
    if payload.len() > limit {
        return Err(PayloadError::TooLarge { actual: payload.len(), limit });
    }
    if payload.is_empty() {
        return Err(PayloadError::Empty);
    }
    let text = std::str::from_utf8(payload).map_err(|error| PayloadError::NotUtf8 { position: error.valid_up_to() })?;
    let mut reader =
        Reader { device, received_at, limits, flat: Flattener::new(limits), samples: Vec::new(), refused: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = batch::PayloadSeed { reader: &mut reader, kind }.deserialize(&mut json).and_then(|()| json.end());
    match read {
        Ok(()) => Ok(reader.samples),
        Err(error) => Err(reader.reason(text, kind, &error)),
    }
}

/// What the visitors share.
struct Reader<'a> {
    device: &'a DeviceId,
    received_at: Timestamp,
    limits: &'a Limits,
    flat: Flattener<'a>,
    samples: Vec<Sample>,
    /// The reason of ours for which reading stopped.
    refused: Option<PayloadError>,
}

impl Reader<'_> {
    /// Keeps the reason and makes the token that stops serde.
    fn refuse<E: de::Error>(&mut self, reason: PayloadError) -> E {
        self.refused.get_or_insert(reason);
        E::custom("refused")
    }

    /// As [`Self::refuse`], for a result.
    fn kept<T, E: de::Error>(&mut self, result: Result<T, PayloadError>) -> Result<T, E> {
        result.map_err(|reason| self.refuse(reason))
    }

    fn reason(self, text: &str, kind: Option<&str>, error: &serde_json::Error) -> PayloadError {
        let (line, column) = (error.line(), error.column());
        // Outside every sample, the value is the bare one that the topic names.
        let name = match (self.flat.name(), kind) {
            ("", Some(kind)) => batch::bare_name(kind).into(),
            (name, _) => name.into(),
        };
        match self.refused {
            Some(reason) => reason,
            // Only a batch has a place that is not open to every kind of value.
            None if error.is_data() => PayloadError::NotAnObject,
            None if error.is_syntax() && is_non_finite(text, line, column) => PayloadError::NonFinite { name },
            None => PayloadError::NotJson { line, column },
        }
    }
}

/// Whether JSON ended at a number beyond the range of a float, or at the words that some encoders print for what is no
/// number. Both are a fault of the reading and not of the encoding, and an operator should see that.
fn is_non_finite(text: &str, line: usize, column: usize) -> bool {
    let line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default().as_bytes();
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let (before, after) = line.split_at(column.min(line.len()));
    let start = before.iter().rposition(|byte| !in_token(byte)).map_or(0, |position| position + 1);
    let end = column.min(line.len()) + after.iter().take_while(|byte| in_token(byte)).count();
    let token = std::str::from_utf8(&line[start..end]).unwrap_or_default();
    token.parse::<f64>().is_ok_and(|number| !number.is_finite())
}
