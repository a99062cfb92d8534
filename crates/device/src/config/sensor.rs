//! One `[[sensor]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tesaiot_contract::{DeviceId, TelemetryType};
use toml::Table;

use super::{Mistakes, seconds};
use crate::program::Program;
use crate::random::Random;
use crate::sampler::{Plan, Sampler, SamplerError};
use crate::sensor::{
    Bounds, EnvironmentSimulator, GpioSensor, HostSensor, IioSensor, IndustrialSimulator, Line, LineFeed,
    MOST_LINE_BYTES, MedicalSimulator, OneWireSensor, ProgramSensor, ThermalSensor, Tree, Words,
};

/// A sensor of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorSettings {
    /// Its name, type, interval, ranges and units
    pub plan: Plan,
    /// What is read
    pub read: Read,
}

/// What is read, and where.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "read", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Read {
    /// Nothing: the values are made up.
    Simulator {
        /// Which of them
        profile: Simulation,
    },
    /// The machine.
    Host {
        /// A path of the file system whose room is told
        #[serde(default = "slash")]
        disk: PathBuf,
    },
    /// Linux Industrial I/O.
    Iio {
        /// Folder or driver name
        device: Option<String>,
        /// Channels as the kernel names them; empty for all
        #[serde(default)]
        channels: Vec<String>,
    },
    /// A thermometer on the 1-wire bus.
    OneWire {
        /// Its identifier on the bus
        device: Option<String>,
    },
    /// Thermal zones of the kernel.
    Thermal {
        /// Folder or type
        zone: Option<String>,
    },
    /// A GPIO line.
    Gpio {
        /// The chip's device node, with `line`
        chip: Option<PathBuf>,
        /// Number of the line on the chip
        line: Option<u32>,
        /// Number of a line in `/sys/class/gpio`
        exported: Option<u32>,
        /// The metric's name
        #[serde(default = "state")]
        metric: String,
        /// Whether the contact pulls the line to ground
        #[serde(default)]
        active_low: bool,
    },
    /// JSON in lines from a serial line.
    Serial {
        /// The device node
        path: PathBuf,
        /// Bits per second
        #[serde(default = "speed")]
        speed: u32,
    },
    /// JSON in lines from standard input.
    Stdin {},
    /// A program that prints a sample.
    Program {
        /// The executable; absolute
        path: PathBuf,
        /// Its arguments
        #[serde(default)]
        arguments: Vec<String>,
        /// How long it may run, in seconds
        #[serde(default = "ten")]
        timeout_seconds: f64,
        /// Bytes it may print
        #[serde(default = "line_bytes")]
        output_limit_bytes: usize,
    },
}

/// The simulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Simulation {
    /// Temperature, humidity and pressure of a room
    Environment,
    /// Vital signs
    Medical,
    /// The vibration of a motor
    Industrial,
}

fn slash() -> PathBuf {
    "/".into()
}

fn state() -> String {
    "state".into()
}

fn speed() -> u32 {
    115_200
}

fn ten() -> f64 {
    10.0
}

fn line_bytes() -> usize {
    MOST_LINE_BYTES
}

impl SensorSettings {
    /// Reads one entry. `interval` is taken when it has none.
    pub(super) fn from_table(mut table: Table, interval: Duration) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let word = table.get("read").and_then(|read| read.as_str()).unwrap_or_default().to_owned();
        let mut text = |name: &str, mistakes: &mut Mistakes| {
            table.remove(name).and_then(|value| mistakes.keep(name, value.try_into::<String>()))
        };
        let kind = text("type", &mut mistakes);
        let name = text("name", &mut mistakes);
        let own = table.remove("interval_seconds").and_then(|own| mistakes.keep("interval_seconds", seconds(&own)));
        let range = table.remove("range").map(|value| value.try_into::<BTreeMap<String, (f64, f64)>>());
        let range = range.and_then(|range| mistakes.keep("range", range)).unwrap_or_default();
        for (metric, (low, high)) in &range {
            if low.is_nan() || high.is_nan() || low > high {
                mistakes.add(&format!("range of {metric}: the first number is the lower one"));
            }
        }
        let units = table.remove("units").map(|value| value.try_into::<BTreeMap<String, String>>());
        let units = units.and_then(|units| mistakes.keep("units", units)).unwrap_or_default();
        let read = mistakes.keep("read", Read::deserialize(toml::Value::Table(table)));
        if let Some(read) = &read {
            read.check(&mut mistakes);
        }
        let kind = kind.unwrap_or_else(|| default_kind(&word, read.as_ref()).to_owned());
        let kind = mistakes.keep("type", TelemetryType::new(&kind));
        let (Some(kind), Some(read)) = (kind, read) else { return Err(mistakes) };
        let bounds = range.into_iter().map(|(metric, (low, high))| Bounds { metric: metric.into(), low, high });
        let plan = Plan {
            name: name.map_or_else(|| kind.as_str().into(), Into::into),
            kind,
            interval: own.unwrap_or(interval),
            bounds: bounds.collect(),
            units: units.into_iter().map(|(metric, unit)| (metric.into(), unit.into())).collect(),
        };
        mistakes.none_or(Self { plan, read })
    }

    /// Takes the sensor on.
    pub(super) fn add_to(&self, sampler: &mut Sampler, tree: &Tree, device: &DeviceId) -> Result<(), SamplerError> {
        let (plan, tree) = (self.plan.clone(), tree.clone());
        let words = |what: String| Words::new(what, device.clone(), self.plan.kind.clone());
        let random = Random::from_system;
        match self.read.clone() {
            Read::Simulator { profile: Simulation::Environment } => {
                sampler.add(plan, Box::new(EnvironmentSimulator::new(random())))
            }
            Read::Simulator { profile: Simulation::Medical } => {
                sampler.add(plan, Box::new(MedicalSimulator::new(random())))
            }
            Read::Simulator { profile: Simulation::Industrial } => {
                sampler.add(plan, Box::new(IndustrialSimulator::new(random())))
            }
            Read::Host { disk } => sampler.add(plan, Box::new(HostSensor::new(tree, disk))),
            Read::Iio { device, channels } => sampler.add(plan, Box::new(IioSensor::new(tree, device, channels))),
            Read::OneWire { device } => sampler.add(plan, Box::new(OneWireSensor::new(tree, device))),
            Read::Thermal { zone } => sampler.add(plan, Box::new(ThermalSensor::new(tree, zone))),
            Read::Gpio { chip, line, exported, metric, active_low } => {
                let line = match (chip, line, exported) {
                    (Some(chip), Some(offset), _) => Line::Chip { chip, offset },
                    (_, _, number) => Line::Exported { number: number.unwrap_or_default() },
                };
                sampler.add(plan, Box::new(GpioSensor::new(tree, line, metric, active_low)))
            }
            Read::Serial { path, speed } => {
                let words = words(path.display().to_string());
                sampler.add_feed(plan, Box::new(LineFeed::serial(path, speed, words)))
            }
            Read::Stdin {} => {
                sampler.add_feed(plan, Box::new(LineFeed::standard_input(words("standard input".to_owned()))))
            }
            Read::Program { path, arguments, timeout_seconds, output_limit_bytes } => {
                let words = words(path.display().to_string());
                let timeout = Duration::from_secs_f64(timeout_seconds);
                let program = Program { path, arguments, timeout, output_limit: output_limit_bytes };
                sampler.add(plan, Box::new(ProgramSensor::new(program, words)))
            }
        }
    }
}

impl Read {
    fn check(&self, mistakes: &mut Mistakes) {
        match self {
            Self::Gpio { chip, line, exported, .. } => {
                let chosen = (chip.is_some(), line.is_some(), exported.is_some());
                if !matches!(chosen, (true, true, false) | (false, false, true)) {
                    mistakes.add("a gpio line is chip and line, or exported alone");
                }
            }
            Self::Program { path, timeout_seconds, output_limit_bytes, .. } => {
                if !path.is_absolute() {
                    mistakes.add("path: a program is named by an absolute path, so that no search path decides");
                }
                if !(0.1..=3600.0).contains(timeout_seconds) {
                    mistakes.add("timeout_seconds: expected a number from 0.1 to 3600");
                }
                if !(1..=256 * 1024).contains(output_limit_bytes) {
                    mistakes.add("output_limit_bytes: expected a number from 1 to 262144");
                }
            }
            _ => {}
        }
    }

    /// Whether it runs a program: such a sensor can only be written by the device's owner, on the device.
    pub fn runs_a_program(&self) -> bool {
        matches!(self, Self::Program { .. })
    }
}

fn default_kind<'a>(word: &'a str, read: Option<&Read>) -> &'a str {
    match read {
        Some(Read::Simulator { profile: Simulation::Environment }) => "environment",
        Some(Read::Simulator { profile: Simulation::Medical }) => "medical",
        Some(Read::Simulator { profile: Simulation::Industrial }) => "industrial",
        // An entry without a kind has its mistake already.
        _ if word.is_empty() => "sensor",
        _ => word,
    }
}
