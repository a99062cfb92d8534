//! One sample: the members with a meaning of their own, and the metrics beside them.

use std::fmt;

use jiff::Timestamp;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Reader;
use super::metric::MetricSeed;
use crate::telemetry::{MessageId, PayloadError, Sample, time};

/// The members that are not metrics.
#[derive(Clone, Copy)]
enum Field {
    DeviceId,
    Timestamp,
    Boot,
    Seq,
    Data,
}

/// A member's key: a field, or a metric whose name is now set.
enum Key {
    Field(Field),
    Metric,
}

/// What the fields of one sample said.
#[derive(Default)]
struct Header {
    time: Option<Timestamp>,
    boot: Option<Box<str>>,
    seq: Option<u64>,
    seen: [bool; 5],
}

/// Reads one sample and appends it.
pub(super) fn read<'de, A: MapAccess<'de>>(reader: &mut Reader<'_>, mut members: A) -> Result<(), A::Error> {
    let mut header = Header::default();
    reader.flat.start();
    while let Some(key) = members.next_key_seed(KeySeed(reader))? {
        let Key::Field(field) = key else {
            members.next_value_seed(MetricSeed::new(reader))?;
            continue;
        };
        if std::mem::replace(&mut header.seen[field as usize], true) {
            return Err(reader.refuse(PayloadError::DuplicateField { field: field.name() }));
        }
        if let Field::Data = field {
            members.next_value_seed(MetricSeed::data(reader))?;
        } else {
            members.next_value_seed(FieldSeed { reader, header: &mut header, field })?;
        }
    }
    let metrics = reader.flat.finish();
    let metrics = reader.kept(metrics)?;
    let id = header.seq.map(|seq| MessageId { boot: header.boot.unwrap_or_default(), seq });
    reader.samples.push(Sample { time: header.time, id, metrics });
    Ok(())
}

impl Field {
    fn of(key: &str) -> Option<Self> {
        match key {
            "device_id" => Some(Self::DeviceId),
            "timestamp" => Some(Self::Timestamp),
            "boot" => Some(Self::Boot),
            "seq" => Some(Self::Seq),
            "data" => Some(Self::Data),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::DeviceId => "device_id",
            Self::Timestamp => "timestamp",
            Self::Boot => "boot",
            Self::Seq => "seq",
            Self::Data => "data",
        }
    }

    /// What is wrong with a value of a kind the field cannot have.
    fn wrong_kind(self) -> PayloadError {
        match self {
            Self::DeviceId => PayloadError::WrongDevice,
            Self::Timestamp => PayloadError::TimestampNotText,
            Self::Boot => PayloadError::BootNotText,
            Self::Seq => PayloadError::SeqNotUnsigned,
            Self::Data => PayloadError::NoMetrics,
        }
    }
}

struct KeySeed<'r, 'a>(&'r mut Reader<'a>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
        // The name is set for a field too: `data` may turn out to be a metric, and a number out of range is reported
        // under the name it stands at.
        let named = self.0.flat.set_name(key);
        self.0.kept(named)?;
        Ok(Field::of(key).map_or(Key::Metric, Key::Field))
    }
}

struct FieldSeed<'r, 'a, 'h> {
    reader: &'r mut Reader<'a>,
    header: &'h mut Header,
    field: Field,
}

impl FieldSeed<'_, '_, '_> {
    fn text(&mut self, text: &str) -> Result<(), PayloadError> {
        match self.field {
            Field::DeviceId if text == self.reader.device.as_str() => Ok(()),
            Field::Timestamp => {
                self.header.time = Some(self.time(text)?);
                Ok(())
            }
            Field::Boot => {
                let limit = self.reader.limits.max_boot_bytes;
                if text.len() > limit || text.bytes().any(|byte| byte.is_ascii_control()) {
                    return Err(PayloadError::BootNotAccepted { limit });
                }
                self.header.boot = Some(text.into());
                Ok(())
            }
            field => Err(field.wrong_kind()),
        }
    }

    fn time(&self, text: &str) -> Result<Timestamp, PayloadError> {
        let limits = self.reader.limits;
        let time = time::parse(text).ok_or(PayloadError::TimestampNotRfc3339)?;
        if time < limits.earliest {
            return Err(PayloadError::TimestampTooEarly { earliest: limits.earliest });
        }
        if time.duration_since(self.reader.received_at) > limits.max_future {
            return Err(PayloadError::TimestampTooLate { limit: limits.max_future });
        }
        Ok(time)
    }

    fn wrong_kind<E: de::Error>(self) -> Result<(), E> {
        Err(self.reader.refuse(self.field.wrong_kind()))
    }
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        let result = self.text(text);
        self.reader.kept(result)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        if let Field::Seq = self.field {
            self.header.seq = Some(number);
            return Ok(());
        }
        self.wrong_kind()
    }

    /// A field that is null was not given.
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.wrong_kind()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.wrong_kind()
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.wrong_kind()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.wrong_kind()
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.wrong_kind()
    }
}
