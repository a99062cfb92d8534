//! The outermost value: a sample, a batch of samples, or a bare value.

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::metric::MetricSeed;
use super::{Reader, sample};
use crate::telemetry::{MessageId, PayloadError, Sample, Value};

/// Reads the whole payload.
pub(super) struct PayloadSeed<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) kind: Option<&'a str>,
}

/// Reads one object of a batch.
struct SampleSeed<'r, 'a>(&'r mut Reader<'a>);

/// The name of a bare value on `telemetry/{kind}`.
pub(super) fn bare_name(kind: &str) -> String {
    kind.replace('/', "_")
}

impl PayloadSeed<'_, '_> {
    /// A bare value, named by the topic.
    fn scalar<E: de::Error>(self, read: impl FnOnce(&mut MetricSeed<'_, '_>) -> Result<(), E>) -> Result<(), E> {
        let Some(kind) = self.kind else { return Err(self.reader.refuse(PayloadError::ScalarWithoutType)) };
        self.reader.flat.start();
        let named = self.reader.flat.set_name(&bare_name(kind));
        self.reader.kept(named)?;
        read(&mut MetricSeed::new(self.reader))?;
        let metrics = self.reader.flat.finish();
        let metrics = self.reader.kept(metrics)?;
        self.reader.samples.push(Sample { time: None, id: None, metrics });
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for PayloadSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PayloadSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample, a batch or a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        sample::read(self.reader, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut batch: A) -> Result<(), A::Error> {
        let limit = self.reader.limits.max_samples;
        while batch.next_element_seed(SampleSeed(self.reader))?.is_some() {
            if self.reader.samples.len() > limit {
                return Err(self.reader.refuse(PayloadError::TooManySamples { limit }));
            }
        }
        if self.reader.samples.is_empty() {
            return Err(self.reader.refuse(PayloadError::NoSamples));
        }
        match contradicted(&self.reader.samples) {
            Some(seq) => Err(self.reader.refuse(PayloadError::DuplicateSequence { seq })),
            None => Ok(()),
        }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(|metric| metric.value(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(|metric| metric.value(Value::Integer(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(|metric| metric.unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(|metric| metric.float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(|metric| metric.text(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(self.reader.refuse(PayloadError::NoMetrics))
    }
}

/// A sequence number that two different samples of one run have. The store keeps one sample for each, so that a
/// redelivery adds none: the other one would be lost without a word. The same sample twice is a redelivery.
fn contradicted(samples: &[Sample]) -> Option<u64> {
    let mut seen: HashMap<&MessageId, &Sample> = HashMap::new();
    let identified = samples.iter().filter_map(|sample| Some((sample.id.as_ref()?, sample)));
    let mut named = identified.filter(|(id, _)| !id.boot.is_empty());
    let twin = named.find(|(id, sample)| seen.insert(*id, *sample).is_some_and(|before| before != *sample));
    twin.map(|(id, _)| id.seq)
}

impl<'de> DeserializeSeed<'de> for SampleSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SampleSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        sample::read(self.0, map)
    }
}
