//! What a device measures.
//!
//! A sensor gives one [`Sample`] when asked. Everything about when, where to and how safely is the business of the
//! agent, so a new sensor is one type in a file of its own.

mod environment;
mod medical;

use jiff::Timestamp;
use tesaiot_contract::{Metric, Sample, Value};

pub use environment::EnvironmentSimulator;
pub use medical::MedicalSimulator;

/// Something that can be read.
pub trait Sensor: Send {
    /// The type of its telemetry: the last level of `device/{id}/telemetry/{type}`.
    fn kind(&self) -> &str;

    /// Reads it. `now` is the time of the reading; the sample carries it.
    fn read(&mut self, now: Timestamp) -> Sample;
}

/// The moment in whole seconds, as the publish command writes it (the wire contract, section 8).
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn metric(name: &str, value: Value, unit: Option<&str>) -> Metric {
    Metric { name: name.into(), value, unit: unit.map(Into::into) }
}
