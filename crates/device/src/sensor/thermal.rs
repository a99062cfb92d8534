//! The thermal zones of the kernel: the temperature of the SoC, of a battery, of a wireless chip.

use jiff::Timestamp;
use tesaiot_contract::{Sample, Value};

use super::{Sensor, SensorError, Tree, metric, tree};
use crate::random::rounded;

/// More zones than any small computer has.
const MOST_ZONES: usize = 32;

/// All thermal zones, or one.
#[derive(Debug)]
pub struct ThermalSensor {
    tree: Tree,
    zone: Option<String>,
}

impl ThermalSensor {
    /// `zone` is a folder (`thermal_zone0`) or its type (`cpu-thermal`); its metric is `temperature`. Without it every
    /// zone is read, and the metrics are called after the types.
    pub fn new(tree: Tree, zone: Option<String>) -> Self {
        Self { tree, zone }
    }
}

impl Sensor for ThermalSensor {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let folder = self.tree.path("sys/class/thermal");
        let mut metrics: Vec<tesaiot_contract::Metric> = Vec::new();
        let mut failure = None;
        let zones = Tree::names(&folder).into_iter().filter(|name| name.starts_with("thermal_zone"));
        for zone in zones.take(MOST_ZONES) {
            let kind = tree::text(&folder.join(&zone).join("type")).unwrap_or_else(|_| zone.clone());
            if self.zone.as_ref().is_some_and(|wanted| *wanted != kind && *wanted != zone) {
                continue;
            }
            // A zone that is switched off answers with an error; the others do not suffer for it.
            match tree::number(&folder.join(&zone).join("temp")) {
                Ok(thousandths) => {
                    let mut name = match self.zone {
                        Some(_) => "temperature".to_owned(),
                        None => format!("{}_temperature", plain(&kind)),
                    };
                    if metrics.iter().any(|metric| *metric.name == *name) {
                        name = format!("{}_temperature", plain(&zone));
                    }
                    metrics.push(metric(&name, Value::Float(rounded(thousandths / 1000.0, 3)), Some("°C")));
                }
                Err(error) => failure = Some(error),
            }
            if self.zone.is_some() {
                break;
            }
        }
        if !metrics.is_empty() {
            return Ok(Sample { time: Some(now), id: None, metrics });
        }
        Err(failure.unwrap_or_else(|| SensorError::Missing {
            what: match &self.zone {
                Some(zone) => format!("the thermal zone {zone} in {}", folder.display()),
                None => format!("a thermal zone in {}", folder.display()),
            },
        }))
    }
}

/// A type as a metric's name: `cpu-thermal` is `cpu_thermal`.
fn plain(kind: &str) -> String {
    kind.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{FakeTree, lines};
    use super::*;

    #[test]
    fn zones_are_named_after_their_types_and_one_that_is_off_does_not_matter() {
        let tree = FakeTree::new(&[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/thermal/thermal_zone1/type", "iwlwifi_1\n"),
            ("sys/class/thermal/thermal_zone2/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone2/temp", "-1500\n"),
            ("sys/class/thermal/cooling_device0/type", "fan\n"),
        ]);
        let read = |zone: Option<&str>| {
            let mut sensor = ThermalSensor::new(tree.tree(), zone.map(ToOwned::to_owned));
            sensor.read(Timestamp::UNIX_EPOCH).map(|sample| lines(&sample))
        };
        let all = ["cpu_thermal_temperature 48.312 °C", "thermal_zone2_temperature -1.5 °C"];
        assert_eq!(read(None).unwrap(), all);
        assert_eq!(read(Some("cpu-thermal")).unwrap(), ["temperature 48.312 °C"]);
        assert_eq!(read(Some("thermal_zone2")).unwrap(), ["temperature -1.5 °C"]);
        assert!(matches!(read(Some("iwlwifi_1")), Err(SensorError::Read { .. })));
        assert!(matches!(read(Some("gpu")), Err(SensorError::Missing { .. })));
    }
}
