//! A sample as the payload our own clients send.

use std::fmt;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::flatten::UNIT_SUFFIX;
use super::{Metric, Sample, Value};
use crate::DeviceId;

impl Sample {
    /// The sample as JSON in the nested form: `device_id` when given, `timestamp`, `boot` and `seq` as far as the
    /// sample has them, then `data` with every unit right after its metric. No spaces, no line feed.
    pub fn to_json(&self, device: Option<&DeviceId>) -> String {
        let payload = Payload { device, sample: self };
        serde_json::to_string(&payload).expect("maps with text keys and plain values always have a JSON form")
    }
}

struct Payload<'a> {
    device: Option<&'a DeviceId>,
    sample: &'a Sample,
}

struct Data<'a>(&'a [Metric]);

/// RFC 3339 with `+00:00` and no more decimals than it takes, as in the contract's example.
struct UtcTime(Timestamp);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(device) = self.device {
            map.serialize_entry("device_id", device)?;
        }
        if let Some(time) = self.sample.time {
            map.serialize_entry("timestamp", &UtcTime(time))?;
        }
        if let Some(id) = &self.sample.id {
            if !id.boot.is_empty() {
                map.serialize_entry("boot", &id.boot)?;
            }
            map.serialize_entry("seq", &id.seq)?;
        }
        map.serialize_entry("data", &Data(&self.sample.metrics))?;
        map.end()
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for metric in self.0 {
            map.serialize_entry(&metric.name, &metric.value)?;
            if let Some(unit) = &metric.unit {
                map.serialize_entry(&format_args!("{}{UNIT_SUFFIX}", metric.name), unit)?;
            }
        }
        map.end()
    }
}

impl Serialize for Value {
    /// As a plain JSON value.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.to_string();
        write!(f, "{}+00:00", time.strip_suffix('Z').unwrap_or(&time))
    }
}
