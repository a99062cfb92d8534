//! Sensors with a driver in Linux's Industrial I/O: DHT11/22, BMP280/BME280, SHT3x, ADS1115, accelerometers and more.
//!
//! The kernel's ABI (Documentation/ABI/testing/sysfs-bus-iio): a channel is either `in_X_input`, or `in_X_raw` with
//! `in_X_scale` and `in_X_offset`, where `value = (raw + offset) * scale`; scale and offset may be shared by all
//! channels of the type (`in_voltage_scale` for `in_voltage0_raw`).

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tesaiot_contract::{Metric, Sample, Value};

use super::{Sensor, SensorError, Tree, metric, tree};
use crate::random::rounded;

/// A device has at most as many channels as a sample has metrics, far below the contract's 512.
const MOST_CHANNELS: usize = 64;

/// Channel type, its name here, unit, and what the kernel's number is multiplied with.
const KNOWN: [(&str, &str, &str, f64); 21] = [
    ("temp", "temperature", "°C", 0.001),
    ("humidityrelative", "humidity", "%", 0.001),
    // The kernel says kilopascal.
    ("pressure", "pressure", "hPa", 10.0),
    ("illuminance", "illuminance", "lx", 1.0),
    ("voltage", "voltage", "V", 0.001),
    ("current", "current", "A", 0.001),
    ("power", "power", "W", 0.001),
    ("energy", "energy", "J", 1.0),
    ("resistance", "resistance", "Ω", 1.0),
    ("capacitance", "capacitance", "nF", 1.0),
    ("accel", "acceleration", "m/s²", 1.0),
    ("anglvel", "angular_velocity", "rad/s", 1.0),
    // The kernel says gauss.
    ("magn", "magnetic_field", "µT", 100.0),
    ("incli", "inclination", "°", 1.0),
    ("distance", "distance", "m", 1.0),
    ("proximity", "proximity", "", 1.0),
    ("ph", "ph", "", 1.0),
    ("uvindex", "uv_index", "", 1.0),
    ("electricalconductivity", "conductivity", "S/m", 1.0),
    ("massconcentration", "mass_concentration", "µg/m³", 1.0),
    ("intensity", "intensity", "", 1.0),
];

/// One IIO device: all of its channels, or some.
#[derive(Debug)]
pub struct IioSensor {
    tree: Tree,
    device: Option<String>,
    channels: Vec<String>,
}

impl IioSensor {
    /// `device` is a folder (`iio:device0`) or what the driver calls itself (`bme280`); without it there must be
    /// exactly one. `channels` as the kernel names them (`temp`, `voltage0`); empty for all.
    pub fn new(tree: Tree, device: Option<String>, channels: Vec<String>) -> Self {
        Self { tree, device, channels }
    }

    /// Looked for at every reading: a device that was unplugged may come back under another number.
    fn folder(&self) -> Result<PathBuf, SensorError> {
        let devices = self.tree.path("sys/bus/iio/devices");
        let names = Tree::names(&devices).into_iter().filter(|name| name.starts_with("iio:device"));
        let wanted = |name: &String| match &self.device {
            Some(device) => name == device || tree::text(&devices.join(name).join("name")).is_ok_and(|n| n == *device),
            None => true,
        };
        let mut found = names.filter(wanted);
        let what = || match &self.device {
            Some(device) => format!("the IIO device {device} in {}", devices.display()),
            None => format!("an IIO device in {}", devices.display()),
        };
        let first = found.next().ok_or_else(|| SensorError::Missing { what: what() })?;
        match found.next() {
            Some(second) => Err(SensorError::Ambiguous { what: what(), choices: format!("{first}, {second} …") }),
            None => Ok(devices.join(first)),
        }
    }
}

impl Sensor for IioSensor {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let folder = self.folder()?;
        let files = Tree::names(&folder);
        let mut metrics = Vec::new();
        for file in &files {
            let Some(channel) = channel(file, &files) else { continue };
            if (self.channels.is_empty() || self.channels.iter().any(|name| name == channel))
                && metrics.len() < MOST_CHANNELS
            {
                metrics.push(reading(&folder, channel, file)?);
            }
        }
        let missing = self.channels.iter().find(|name| files.iter().all(|file| channel(file, &files) != Some(*name)));
        if let Some(name) = missing {
            return Err(SensorError::Missing { what: format!("the channel {name} of {}", folder.display()) });
        }
        match metrics.is_empty() {
            true => Err(SensorError::NoChannel { path: folder }),
            false => Ok(Sample { time: Some(now), id: None, metrics }),
        }
    }
}

/// The channel whose value this file holds. A channel with both forms is read from the processed one.
fn channel<'a>(file: &'a str, files: &[String]) -> Option<&'a str> {
    let name = file.strip_prefix("in_")?;
    if let Some(channel) = name.strip_suffix("_input") {
        return Some(channel);
    }
    let channel = name.strip_suffix("_raw")?;
    files.iter().all(|other| *other != format!("in_{channel}_input")).then_some(channel)
}

fn reading(folder: &Path, channel: &str, file: &str) -> Result<Metric, SensorError> {
    let kind = kind(channel);
    let value = tree::number(&folder.join(file))?;
    let value = if file.ends_with("_input") {
        value
    } else {
        // A channel without a scale counts in its own unit; one that has a scale which cannot be read is no reading.
        let part = |part: &str, otherwise| {
            let own = folder.join(format!("in_{channel}_{part}"));
            let shared = folder.join(format!("in_{kind}_{part}"));
            match [own, shared].into_iter().find(|path| path.exists()) {
                Some(path) => tree::number(&path),
                None => Ok(otherwise),
            }
        };
        (value + part("offset", 0.0)?) * part("scale", 1.0)?
    };
    let rest = &channel[kind.len()..];
    let rest: String = rest.chars().map(|c| if c == '-' { '_' } else { c }).collect();
    // The one channel whose unit hangs on its modifier: the kernel says per cent, the field parts per million.
    if kind == "concentration" && rest == "_co2" {
        return Ok(metric("co2", Value::Float(rounded(value * 10_000.0, 3)), Some("ppm")));
    }
    Ok(match KNOWN.iter().find(|known| known.0 == kind) {
        Some((_, name, unit, factor)) => {
            let unit = (!unit.is_empty()).then_some(*unit);
            metric(&format!("{name}{rest}"), Value::Float(rounded(value * factor, 6)), unit)
        }
        None => metric(&format!("{kind}{rest}"), Value::Float(rounded(value, 6)), None),
    })
}

/// The type of a channel: its name up to the number or the modifier (`voltage0`, `accel_x`).
fn kind(channel: &str) -> &str {
    let end = channel.find(|c: char| c.is_ascii_digit() || c == '_' || c == '-').unwrap_or(channel.len());
    &channel[..end]
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{FakeTree, lines};
    use super::*;

    const BME280: [(&str, &str); 5] = [
        ("sys/bus/iio/devices/iio:device0/name", "bme280\n"),
        ("sys/bus/iio/devices/iio:device0/in_temp_input", "23450\n"),
        ("sys/bus/iio/devices/iio:device0/in_humidityrelative_input", "45678.710937\n"),
        ("sys/bus/iio/devices/iio:device0/in_pressure_input", "101.325000\n"),
        ("sys/bus/iio/devices/iio:device0/in_temp_oversampling_ratio", "2\n"),
    ];
    const ADS1115: [(&str, &str); 7] = [
        ("sys/bus/iio/devices/iio:device1/name", "ads1015\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage0_raw", "13000\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage0_scale", "0.125000000\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage1_raw", "-8\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage_scale", "2\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage_offset", "10\n"),
        ("sys/bus/iio/devices/iio:device1/in_voltage0-voltage1_raw", "100\n"),
    ];

    fn read(tree: &FakeTree, device: Option<&str>, channels: &[&str]) -> Result<Vec<String>, SensorError> {
        let channels = channels.iter().map(|name| (*name).to_owned()).collect();
        let mut sensor = IioSensor::new(tree.tree(), device.map(ToOwned::to_owned), channels);
        sensor.read(Timestamp::UNIX_EPOCH).map(|sample| lines(&sample))
    }

    #[test]
    fn a_bme280_has_its_three_values_in_the_units_of_people() {
        let read = read(&FakeTree::new(&BME280), None, &[]).unwrap();
        assert_eq!(read, ["humidity 45.678711 %", "pressure 1013.25 hPa", "temperature 23.45 °C"]);
    }

    #[test]
    fn raw_values_are_scaled_by_their_own_or_the_shared_scale_and_offset() {
        let tree = FakeTree::new(&ADS1115);
        let read = read(&tree, Some("ads1015"), &[]).unwrap();
        assert_eq!(read, ["voltage0_voltage1 0.22 V", "voltage0 1.62625 V", "voltage1 0.004 V"]);
        let read = super::tests::read(&tree, Some("iio:device1"), &["voltage1"]).unwrap();
        assert_eq!(read, ["voltage1 0.004 V"]);
    }

    #[test]
    fn modifiers_other_types_and_both_forms() {
        let folder = "sys/bus/iio/devices/iio:device0";
        let tree = FakeTree::new(&[]);
        for (file, text) in [
            ("in_accel_x_raw", "-100"),
            ("in_accel_scale", "0.01 ms-2"),
            ("in_magn_y_raw", "2"),
            ("in_concentration_co2_raw", "0.0415"),
            ("in_temp_object_raw", "14657"),
            ("in_temp_object_offset", "-13657.5"),
            ("in_temp_object_scale", "20"),
            ("in_velocity_input", "7"),
            ("in_illuminance_raw", "9999"),
            ("in_illuminance_input", "120"),
        ] {
            tree.write(&format!("{folder}/{file}"), text);
        }
        let expected = [
            "acceleration_x -1 m/s²",
            "co2 415 ppm",
            "illuminance 120 lx",
            "magnetic_field_y 200 µT",
            "temperature_object 19.99 °C",
            "velocity 7 -",
        ];
        assert_eq!(read(&tree, None, &[]).unwrap(), expected);
    }

    #[test]
    fn what_is_missing_or_damaged_is_named_and_a_device_may_come_back() {
        let tree = FakeTree::new(&[]);
        assert!(matches!(read(&tree, None, &[]), Err(SensorError::Missing { .. })));
        for (path, text) in BME280.iter().chain(&ADS1115) {
            tree.write(path, text);
        }
        assert!(matches!(read(&tree, None, &[]), Err(SensorError::Ambiguous { .. })));
        assert_eq!(read(&tree, Some("bme280"), &["temp"]).unwrap(), ["temperature 23.45 °C"]);
        assert!(matches!(read(&tree, Some("bme280"), &["temp", "co2"]), Err(SensorError::Missing { .. })));
        tree.write(BME280[1].0, "");
        assert!(matches!(read(&tree, Some("bme280"), &[]), Err(SensorError::Content { .. })));
        tree.write(ADS1115[4].0, "none");
        assert!(matches!(read(&tree, Some("ads1015"), &[]), Err(SensorError::Content { .. })), "no scale, no reading");
        tree.remove("sys/bus/iio/devices/iio:device0");
        assert!(matches!(read(&tree, Some("bme280"), &[]), Err(SensorError::Missing { .. })));
    }
}
