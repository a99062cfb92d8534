//! DS18B20 and its relatives on the 1-wire bus (`w1_therm` in Linux).

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tesaiot_contract::{Sample, Value};

use super::check::FAULT_SUFFIX;
use super::{Sensor, SensorError, Tree, metric, tree};
use crate::random::rounded;

/// Family codes of thermometers: DS18S20, DS1822, DS18B20, DS1825, DS28EA00.
const FAMILIES: [&str; 5] = ["10-", "22-", "28-", "3b-", "42-"];
/// What a DS18B20 holds before its first conversion: 85 °C. A supply that breaks down during the conversion reads so.
const POWER_ON: i64 = 85_000;
/// The range of the data sheet, in °C.
const RANGE: (f64, f64) = (-55.0, 125.0);

/// One thermometer on the bus.
#[derive(Debug)]
pub struct OneWireSensor {
    tree: Tree,
    device: Option<String>,
}

impl OneWireSensor {
    /// `device` is the identifier on the bus (`28-0316a2794bff`); without it there must be exactly one.
    pub fn new(tree: Tree, device: Option<String>) -> Self {
        Self { tree, device }
    }

    fn file(&self) -> Result<PathBuf, SensorError> {
        let devices = self.tree.path("sys/bus/w1/devices");
        if let Some(device) = &self.device {
            let folder = devices.join(device);
            let missing = || SensorError::Missing { what: format!("the 1-wire device {device}") };
            return folder.is_dir().then(|| folder.join("w1_slave")).ok_or_else(missing);
        }
        let names = Tree::names(&devices);
        let mut found = names.iter().filter(|name| FAMILIES.iter().any(|family| name.starts_with(family)));
        let what = || format!("a 1-wire thermometer in {}", devices.display());
        let first = found.next().ok_or_else(|| SensorError::Missing { what: what() })?;
        match found.next() {
            Some(second) => Err(SensorError::Ambiguous { what: what(), choices: format!("{first}, {second} …") }),
            None => Ok(devices.join(first).join("w1_slave")),
        }
    }
}

impl Sensor for OneWireSensor {
    /// Takes as long as a conversion, 750 ms.
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let path = self.file()?;
        let thousandths = parse(&path, &tree::text(&path)?)?;
        let celsius = rounded(thousandths as f64 / 1000.0, 3);
        let mut metrics = vec![metric("temperature", Value::Float(celsius), Some("°C"))];
        let fault = match celsius {
            _ if thousandths == POWER_ON => Some("power_on_value"),
            low if low < RANGE.0 => Some("below_range"),
            high if high > RANGE.1 => Some("above_range"),
            _ => None,
        };
        if let Some(fault) = fault {
            metrics.push(metric(&format!("temperature{FAULT_SUFFIX}"), Value::Text(fault.into()), None));
        }
        Ok(Sample { time: Some(now), id: None, metrics })
    }
}

/// Two lines: the nine bytes with the driver's verdict on their checksum, and again with the temperature.
fn parse(path: &Path, text: &str) -> Result<i64, SensorError> {
    let content = || SensorError::Content { path: path.to_owned(), expected: "1-wire temperature" };
    let (verdict, reading) = text.split_once('\n').ok_or_else(content)?;
    // A bus that is pulled low reads all zeros, and zero is the right checksum of zeros.
    let zeros = verdict.split(" :").next().is_some_and(|bytes| bytes.split(' ').all(|byte| byte == "00"));
    if !verdict.trim_end().ends_with("YES") || zeros {
        return Err(SensorError::Checksum { what: path.display().to_string() });
    }
    reading.split_once("t=").and_then(|(_, number)| number.trim().parse().ok()).ok_or_else(content)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{FakeTree, lines};
    use super::*;

    const FILE: &str = "sys/bus/w1/devices/28-0316a2794bff/w1_slave";

    fn slave(crc: &str, thousandths: &str) -> String {
        let bytes = "72 01 4b 46 7f ff 0e 10 57";
        format!("{bytes} : crc=57 {crc}\n{bytes} t={thousandths}\n")
    }

    fn read(text: &str) -> Result<Vec<String>, SensorError> {
        let tree = FakeTree::new(&[(FILE, text), ("sys/bus/w1/devices/w1_bus_master1/w1_master_slave_count", "1")]);
        OneWireSensor::new(tree.tree(), None).read(Timestamp::UNIX_EPOCH).map(|sample| lines(&sample))
    }

    #[test]
    fn a_temperature_is_read_and_what_the_chip_cannot_have_measured_is_flagged() {
        assert_eq!(read(&slave("YES", "23125")).unwrap(), ["temperature 23.125 °C"]);
        assert_eq!(read(&slave("YES", "-10062")).unwrap(), ["temperature -10.062 °C"]);
        let flagged = |thousandths| read(&slave("YES", thousandths)).unwrap().remove(1);
        assert_eq!(flagged("85000"), "temperature_fault power_on_value -");
        assert_eq!(flagged("127937"), "temperature_fault above_range -");
        assert_eq!(flagged("-60000"), "temperature_fault below_range -");
    }

    #[test]
    fn damage_on_the_bus_is_no_reading() {
        assert!(matches!(read(&slave("NO", "23125")), Err(SensorError::Checksum { .. })));
        let zeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n";
        assert!(matches!(read(zeros), Err(SensorError::Checksum { .. })));
        for text in ["", "YES", "YES\n", "YES\nt=", "YES\nt=x"] {
            assert!(matches!(read(text), Err(SensorError::Content { .. } | SensorError::Checksum { .. })), "{text}");
        }
    }

    #[test]
    fn one_of_several_must_be_chosen() {
        let tree = FakeTree::new(&[(FILE, &slave("YES", "1000")), ("sys/bus/w1/devices/10-000802b4/w1_slave", "")]);
        let read = |device: Option<&str>| {
            OneWireSensor::new(tree.tree(), device.map(ToOwned::to_owned)).read(Timestamp::UNIX_EPOCH)
        };
        assert!(matches!(read(None), Err(SensorError::Ambiguous { .. })));
        assert_eq!(lines(&read(Some("28-0316a2794bff")).unwrap()), ["temperature 1 °C"]);
        assert!(matches!(read(Some("28-ffff")), Err(SensorError::Missing { .. })));
    }
}
