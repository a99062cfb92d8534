//! The blob of one batch in the tail: the samples of one commit, with their texts written once.
//!
//! ```text
//! envelope  version 1, CRC32C of the rest
//! texts     count, then each text with its length: device ids, names, units, kinds, boots
//! samples   count, then for each:
//!   device    index of its text
//!   flags     bit 0: the device gave the time · bit 1: has an id · bit 2: has a kind
//!   received  nanoseconds, zigzag, minus those of the sample before (the first: minus 0)
//!   time      if the device gave it: nanoseconds, zigzag, minus the receive time (wrapping)
//!   id        if there is one: index of the boot's text, sequence number
//!   kind      if there is one: index of its text
//!   metrics   count, then for each: index of the name; the value's type (0 float, 1 integer,
//!             2 false, 3 true, 4 text) + 8 when a unit follows; the value (8 bytes little-endian,
//!             zigzag, nothing, nothing, text); index of the unit's text
//! ```
//!
//! Numbers without a remark are unsigned varints.

use std::collections::HashMap;

use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};

use super::codec::{Malformed, Reader, Writer};
use crate::time::{from_nanoseconds, to_nanoseconds};

const VERSION: u8 = 1;

const HAS_TIME: u8 = 1;
const HAS_ID: u8 = 2;
const HAS_KIND: u8 = 4;
const HAS_UNIT: u8 = 8;

/// A sample on its way into the tail, borrowed from an entry.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) kind: Option<&'a str>,
    /// Nanoseconds.
    pub(super) received: i64,
    pub(super) sample: &'a Sample,
}

/// A sample that came out of the tail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replayed {
    pub(super) device: DeviceId,
    pub(super) kind: Option<Box<str>>,
    /// Nanoseconds.
    pub(super) received: i64,
    pub(super) sample: Sample,
}

#[derive(Default)]
struct Texts<'a> {
    indexes: HashMap<&'a str, u64>,
    texts: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn index(&mut self, text: &'a str) -> u64 {
        *self.indexes.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        })
    }
}

/// The blob of one commit.
pub(super) fn encode(samples: &[Incoming<'_>]) -> Vec<u8> {
    // The texts come first in the blob but are known last: the samples wait in their own buffer.
    let mut texts = Texts::default();
    let mut body = Writer::new(VERSION);
    let mut previous = 0_i64;
    for incoming in samples {
        encode_sample(&mut body, &mut texts, incoming, &mut previous);
    }
    let mut blob = Writer::new(VERSION);
    blob.length(texts.texts.len());
    for text in texts.texts {
        blob.text(text);
    }
    blob.length(samples.len());
    blob.raw(body.body());
    blob.finish()
}

fn encode_sample<'a>(body: &mut Writer, texts: &mut Texts<'a>, incoming: &Incoming<'a>, previous: &mut i64) {
    let sample = incoming.sample;
    body.unsigned(texts.index(incoming.device.as_str()));
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    body.byte(
        flag(sample.time.is_some(), HAS_TIME)
            | flag(sample.id.is_some(), HAS_ID)
            | flag(incoming.kind.is_some(), HAS_KIND),
    );
    body.signed(incoming.received.wrapping_sub(*previous));
    *previous = incoming.received;
    if let Some(time) = sample.time {
        body.signed(to_nanoseconds(time).wrapping_sub(incoming.received));
    }
    if let Some(id) = &sample.id {
        body.unsigned(texts.index(&id.boot));
        body.unsigned(id.seq);
    }
    if let Some(kind) = incoming.kind {
        body.unsigned(texts.index(kind));
    }
    body.length(sample.metrics.len());
    for metric in &sample.metrics {
        body.unsigned(texts.index(&metric.name));
        let unit = flag(metric.unit.is_some(), HAS_UNIT);
        match &metric.value {
            Value::Float(value) => {
                body.byte(unit);
                body.float(*value);
            }
            Value::Integer(value) => {
                body.byte(1 | unit);
                body.signed(*value);
            }
            Value::Bool(value) => body.byte(if *value { 3 } else { 2 } | unit),
            Value::Text(value) => {
                body.byte(4 | unit);
                body.text(value);
            }
        }
        if let Some(unit) = &metric.unit {
            body.unsigned(texts.index(unit));
        }
    }
}

/// The samples of a blob, in the order in which they were appended.
pub(super) fn decode(blob: &[u8]) -> Result<Vec<Replayed>, Malformed> {
    let mut reader = Reader::open(blob, VERSION)?;
    let mut texts = Vec::with_capacity(reader.clone().count()?);
    for _ in 0..reader.count()? {
        texts.push(reader.text()?);
    }
    let count = reader.count()?;
    let mut samples = Vec::with_capacity(count.min(4096));
    // Most batches hold many samples of few devices: one allocation for each device's id.
    let mut devices = HashMap::new();
    let mut previous = 0_i64;
    for _ in 0..count {
        samples.push(decode_sample(&mut reader, &texts, &mut devices, &mut previous)?);
    }
    if !reader.is_empty() {
        return Err(Malformed("bytes follow the last sample"));
    }
    Ok(samples)
}

fn decode_sample<'a>(
    reader: &mut Reader<'a>,
    texts: &[&'a str],
    devices: &mut HashMap<&'a str, DeviceId>,
    previous: &mut i64,
) -> Result<Replayed, Malformed> {
    let device = text_at(reader, texts)?;
    let device = match devices.get(device) {
        Some(device) => device.clone(),
        None => {
            let parsed = DeviceId::new(device).map_err(|_| Malformed("a device id is not valid"))?;
            devices.insert(device, parsed.clone());
            parsed
        }
    };
    let flags = reader.byte()?;
    let received = previous.wrapping_add(reader.signed()?);
    *previous = received;
    let time =
        if flags & HAS_TIME == 0 { None } else { Some(from_nanoseconds(received.wrapping_add(reader.signed()?))) };
    let id = if flags & HAS_ID == 0 {
        None
    } else {
        Some(MessageId { boot: text_at(reader, texts)?.into(), seq: reader.unsigned()? })
    };
    let kind = if flags & HAS_KIND == 0 { None } else { Some(text_at(reader, texts)?.into()) };
    let count = reader.count()?;
    let mut metrics = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        metrics.push(decode_metric(reader, texts)?);
    }
    Ok(Replayed { device, kind, received, sample: Sample { time, id, metrics } })
}

fn decode_metric<'a>(reader: &mut Reader<'a>, texts: &[&'a str]) -> Result<Metric, Malformed> {
    let name = text_at(reader, texts)?.into();
    let tag = reader.byte()?;
    let value = match tag & !HAS_UNIT {
        0 => Value::Float(reader.float()?),
        1 => Value::Integer(reader.signed()?),
        2 => Value::Bool(false),
        3 => Value::Bool(true),
        4 => Value::Text(reader.text()?.into()),
        _ => return Err(Malformed("a value has an unknown type")),
    };
    let unit = if tag & HAS_UNIT == 0 { None } else { Some(text_at(reader, texts)?.into()) };
    Ok(Metric { name, value, unit })
}

fn text_at<'a>(reader: &mut Reader<'a>, texts: &[&'a str]) -> Result<&'a str, Malformed> {
    let index = reader.length()?;
    texts.get(index).copied().ok_or(Malformed("a text is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::any_sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            samples in proptest::collection::vec((any_sample(), any::<i64>(), "[ab]{0,2}", 0..3_usize), 0..20)
        ) {
            let devices = ["one", "two", "three"].map(|id| DeviceId::new(id).unwrap());
            let incoming: Vec<_> = samples.iter().map(|(sample, received, kind, device)| Incoming {
                device: &devices[*device],
                kind: (!kind.is_empty()).then_some(kind.as_str()),
                received: *received,
                sample,
            }).collect();
            let decoded = decode(&encode(&incoming)).unwrap();
            prop_assert_eq!(decoded.len(), incoming.len());
            for (found, given) in decoded.iter().zip(&incoming) {
                prop_assert_eq!(&found.device, given.device);
                prop_assert_eq!(found.kind.as_deref(), given.kind);
                prop_assert_eq!(found.received, given.received);
                // Debug tells NaN from NaN and -0.0 from 0.0, which equality does not.
                prop_assert_eq!(format!("{:?}", found.sample), format!("{:?}", given.sample));
            }
        }

        #[test]
        fn no_body_makes_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut writer = Writer::new(VERSION);
            writer.raw(&bytes);
            let _ = decode(&writer.finish());
        }
    }
}
