//! A value under a name: one metric, or as many as its members.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Reader;
use crate::telemetry::flatten::OpenGroup;
use crate::telemetry::{PayloadError, Value};

/// Reads the value whose name is set.
pub(super) struct MetricSeed<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// Objects and arrays around it.
    depth: usize,
    /// It is the value of `data`, whose members are metrics themselves when it is an object.
    is_data: bool,
}

/// Reads a member's key and sets the name.
struct MemberSeed<'r, 'a>(&'r mut Reader<'a>, &'r OpenGroup);

/// Sets the name of an array's element and reads it.
struct ElementSeed<'r, 'a> {
    reader: &'r mut Reader<'a>,
    group: &'r OpenGroup,
    position: usize,
    depth: usize,
}

impl<'r, 'a> MetricSeed<'r, 'a> {
    /// An outermost value.
    pub(super) fn new(reader: &'r mut Reader<'a>) -> Self {
        Self { reader, depth: 0, is_data: false }
    }

    /// The value of `data`.
    pub(super) fn data(reader: &'r mut Reader<'a>) -> Self {
        Self { reader, depth: 0, is_data: true }
    }

    pub(super) fn value<E: de::Error>(&mut self, value: Value) -> Result<(), E> {
        let result = self.reader.flat.value(value);
        self.reader.kept(result)
    }

    /// Beyond the range of a signed integer, the nearest float.
    pub(super) fn unsigned<E: de::Error>(&mut self, value: u64) -> Result<(), E> {
        self.value(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    pub(super) fn float<E: de::Error>(&mut self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            let name = self.reader.flat.name().into();
            return Err(self.reader.refuse(PayloadError::NonFinite { name }));
        }
        self.value(Value::Float(value))
    }

    pub(super) fn text<E: de::Error>(&mut self, value: &str) -> Result<(), E> {
        let result = self.reader.flat.text(value);
        self.reader.kept(result)
    }

    fn open<E: de::Error>(&mut self) -> Result<OpenGroup, E> {
        let result = self.reader.flat.open(self.depth);
        self.reader.kept(result)
    }
}

impl<'de> DeserializeSeed<'de> for MetricSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetricSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<(), E> {
        self.value(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        self.value(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<(), E> {
        self.unsigned(value)
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        self.float(value)
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        let result = self.reader.flat.null();
        self.reader.kept(result)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let group = self.open()?;
        let depth = self.depth + 1;
        let mut position = 0;
        while elements.next_element_seed(ElementSeed { reader: self.reader, group: &group, position, depth })?.is_some()
        {
            position += 1;
        }
        self.reader.flat.close(&group);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let (group, depth) =
            if self.is_data { (self.reader.flat.open_data(), 0) } else { (self.open()?, self.depth + 1) };
        while members.next_key_seed(MemberSeed(self.reader, &group))?.is_some() {
            members.next_value_seed(MetricSeed { reader: self.reader, depth, is_data: false })?;
        }
        self.reader.flat.close(&group);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let named = self.reader.flat.set_element(self.group, self.position);
        self.reader.kept(named)?;
        MetricSeed { reader: self.reader, depth: self.depth, is_data: false }.deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for MemberSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        let named = self.0.flat.set_member(self.1, key);
        self.0.kept(named)
    }
}
