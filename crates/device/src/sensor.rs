//! What a device measures.
//!
//! A [`Sensor`] gives one [`Sample`] when asked, or says why it cannot; a [`Feed`] gives samples when they come. Both
//! may block: the [`sampler`](crate::sampler) asks each on a thread of its own. Everything about when, where to and how
//! safely is the business of the sampler and the agent, so a new sensor is one type in a file of its own.

pub(crate) mod check;
mod environment;
mod error;
#[cfg(unix)]
mod external;
#[cfg(unix)]
mod gpio;
#[cfg(unix)]
mod host;
#[cfg(unix)]
mod iio;
mod industrial;
#[cfg(unix)]
mod lines;
mod medical;
#[cfg(unix)]
mod onewire;
#[cfg(unix)]
mod serial;
#[cfg(unix)]
mod thermal;
#[cfg(unix)]
mod tree;

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::{Metric, Sample, Value};

pub use check::{Bounds, FAULT_SUFFIX, Fault};
pub use environment::EnvironmentSimulator;
pub use error::SensorError;
#[cfg(unix)]
pub use external::ProgramSensor;
#[cfg(unix)]
pub use gpio::{GpioSensor, Line};
#[cfg(unix)]
pub use host::HostSensor;
#[cfg(unix)]
pub use iio::IioSensor;
pub use industrial::IndustrialSimulator;
#[cfg(unix)]
pub use lines::{MOST_LINE_BYTES, Words};
pub use medical::MedicalSimulator;
#[cfg(unix)]
pub use onewire::OneWireSensor;
#[cfg(unix)]
pub use serial::LineFeed;
#[cfg(unix)]
pub use thermal::ThermalSensor;
#[cfg(unix)]
pub use tree::Tree;

/// Something that can be read.
pub trait Sensor: Send {
    /// Reads it. `now` is the time of the reading; the sample carries it.
    ///
    /// # Errors
    /// [`SensorError`]: nothing was read. The sensor stays usable; it is asked again later.
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError>;

    /// Whether reading never waits for anything, so that it needs no thread of its own: the simulators.
    fn is_instant(&self) -> bool {
        false
    }
}

/// Something that speaks when it has something to say: a serial line, a program that runs on.
pub trait Feed: Send {
    /// Waits for the next sample, `patience` at most; `None` when nothing came. A sample without a time is given that
    /// of its arrival.
    ///
    /// # Errors
    /// [`SensorError`]: what came is no sample, or nothing can come any more. The feed is asked again later.
    fn next(&mut self, patience: Duration) -> Result<Option<Sample>, SensorError>;
}

/// The moment in whole seconds, as the publish command writes it (the wire contract, section 8).
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn metric(name: &str, value: Value, unit: Option<&str>) -> Metric {
    Metric { name: name.into(), value, unit: unit.map(Into::into) }
}
