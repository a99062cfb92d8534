//! A simulated weather station: values that move as air does, not noise.

use jiff::Timestamp;
use tesaiot_contract::{Sample, Value};

use super::{Sensor, SensorError, metric};
use crate::random::{Random, rounded};

/// Simulated temperature, humidity and pressure: a bounded random walk with two decimals.
#[derive(Debug)]
pub struct EnvironmentSimulator {
    random: Random,
    temperature: Walk,
    humidity: Walk,
    pressure: Walk,
}

impl EnvironmentSimulator {
    /// Starts at room conditions. The same generator gives the same readings.
    pub fn new(random: Random) -> Self {
        Self {
            random,
            temperature: Walk { value: 22.5, low: -10.0, high: 45.0, step: 0.3 },
            humidity: Walk { value: 45.0, low: 0.0, high: 100.0, step: 0.8 },
            pressure: Walk { value: 1013.25, low: 950.0, high: 1050.0, step: 0.4 },
        }
    }
}

impl EnvironmentSimulator {
    /// The next reading.
    pub fn sample(&mut self, now: Timestamp) -> Sample {
        let random = &mut self.random;
        let metrics = vec![
            metric("temperature", Value::Float(self.temperature.next(random)), Some("°C")),
            metric("humidity", Value::Float(self.humidity.next(random)), Some("%")),
            metric("pressure", Value::Float(self.pressure.next(random)), Some("hPa")),
        ];
        Sample { time: Some(now), id: None, metrics }
    }
}

impl Sensor for EnvironmentSimulator {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        Ok(self.sample(now))
    }

    fn is_instant(&self) -> bool {
        true
    }
}

/// A value that moves by at most `step` at a time and is turned back at its bounds.
#[derive(Debug)]
struct Walk {
    value: f64,
    low: f64,
    high: f64,
    step: f64,
}

impl Walk {
    fn next(&mut self, random: &mut Random) -> f64 {
        let moved = self.value + random.decimal(-self.step, self.step, 2);
        self.value = rounded(moved.clamp(self.low, self.high), 2);
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(sample: &Sample) -> Vec<f64> {
        let float = |value: &Value| match value {
            Value::Float(float) => *float,
            other => panic!("{other:?}"),
        };
        sample.metrics.iter().map(|metric| float(&metric.value)).collect()
    }

    #[test]
    fn it_walks_in_small_steps_within_its_bounds() {
        let mut station = EnvironmentSimulator::new(Random::seeded(3));
        let bounds = [(-10.0, 45.0, 0.3), (0.0, 100.0, 0.8), (950.0, 1050.0, 0.4)];
        let mut last = floats(&station.sample(Timestamp::UNIX_EPOCH));
        let mut moved = false;
        for _ in 0..20_000 {
            let next = floats(&station.sample(Timestamp::UNIX_EPOCH));
            for ((next, last), (low, high, step)) in next.iter().zip(&last).zip(bounds) {
                assert!((low..=high).contains(next), "{next}");
                assert!((next - last).abs() <= step + 1e-9, "{last} to {next}");
                assert_eq!(*next, rounded(*next, 2));
                moved |= next != last;
            }
            last = next;
        }
        assert!(moved);
    }

    #[test]
    fn a_walk_is_turned_back_at_its_bounds() {
        let mut random = Random::seeded(5);
        let mut walk = Walk { value: 99.9, low: 99.8, high: 100.0, step: 0.8 };
        let values: Vec<_> = (0..200).map(|_| walk.next(&mut random)).collect();
        assert!(values.iter().all(|value| (99.8..=100.0).contains(value)));
        assert!(values.contains(&100.0) && values.contains(&99.8));
    }
}
