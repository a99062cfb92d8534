//! What an agent reads: a configuration file, or flags, which are a short way to write one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tesaiot_device::Config;
use tesaiot_device::config::{DEFAULT_INTERVAL, Mistakes};

use super::failure::AgentFailure;
use crate::cli::publish::arguments::seconds;

#[derive(Args)]
pub(crate) struct SensorArgs {
    /// Sensors and commands as this file says; `tesaiot agent config example` prints one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to read; may be given several times. There is no default: a simulator must be asked for
    #[arg(long, value_enum, conflicts_with = "config")]
    sensor: Vec<SensorArg>,
    /// Seconds between two samples, decimals allowed, above 0 [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "config")]
    interval: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SensorArg {
    /// Simulated temperature, humidity and pressure
    Environment,
    /// Simulated vital signs, as those of `tesaiot publish`
    Medical,
    /// Simulated vibration of a motor
    Industrial,
    /// This machine: processor, memory, disk, temperature, throttling, network
    Host,
    /// The sensor that Linux knows by its Industrial I/O (BME280, SHT3x, DHT22, ADS1115 …)
    Iio,
    /// The DS18B20 on the 1-wire bus
    OneWire,
    /// The thermal zones of the kernel
    Thermal,
    /// JSON in lines from standard input
    Stdin,
}

impl SensorArg {
    /// The same in the configuration file.
    fn entry(self) -> &'static str {
        match self {
            Self::Environment => "read = \"simulator\"\nprofile = \"environment\"",
            Self::Medical => "read = \"simulator\"\nprofile = \"medical\"",
            Self::Industrial => "read = \"simulator\"\nprofile = \"industrial\"",
            Self::Host => "read = \"host\"",
            Self::Iio => "read = \"iio\"",
            Self::OneWire => "read = \"one-wire\"",
            Self::Thermal => "read = \"thermal\"",
            Self::Stdin => "read = \"stdin\"",
        }
    }
}

impl SensorArgs {
    /// The file, when there is one: it can be read again.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The configuration of the file, or of the flags.
    ///
    /// # Errors
    /// It holds mistakes, or nothing is to be read.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => self.flags()?,
        };
        if config.sensors.is_empty() {
            return Err(AgentFailure::NoSensor.into());
        }
        Ok(config)
    }

    fn flags(&self) -> Result<Config, Mistakes> {
        let interval = self.interval.unwrap_or(DEFAULT_INTERVAL).as_secs_f64();
        let entry = |sensor: &SensorArg| format!("[[sensor]]\n{}\n", sensor.entry());
        let sensors: String = self.sensor.iter().map(entry).collect();
        Config::parse(&format!("interval_seconds = {interval:?}\n{sensors}"))
    }
}
