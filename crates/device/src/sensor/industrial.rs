//! A simulated machine: the vibration of a motor that wears, in the terms of ISO 20816.

use jiff::Timestamp;
use tesaiot_contract::{Sample, Value};

use super::{Sensor, SensorError, metric};
use crate::random::{Random, rounded};

/// Wear after which the simulated bearing is replaced.
const WORN_OUT: f64 = 1.0;

/// Simulated vibration of a motor at 25 Hz: velocity, acceleration, dominant frequency, speed, bearing temperature.
#[derive(Debug)]
pub struct IndustrialSimulator {
    random: Random,
    /// 0 new, 1 to be replaced; it drives all the others, so that they rise together as on a real machine.
    wear: f64,
    bearing: f64,
}

impl IndustrialSimulator {
    /// Starts with a new bearing. The same generator gives the same readings.
    pub fn new(random: Random) -> Self {
        Self { random, wear: 0.0, bearing: 45.0 }
    }

    /// The next reading.
    pub fn sample(&mut self, now: Timestamp) -> Sample {
        let random = &mut self.random;
        self.wear += random.decimal(0.0, 0.0004, 5);
        if self.wear >= WORN_OUT {
            self.wear = 0.0;
        }
        // ISO 20816-3: a machine of this size is good below 1.4 mm/s and to be stopped above 7.1.
        let velocity = 0.9 + 6.0 * self.wear * self.wear + random.decimal(-0.15, 0.15, 2);
        let target = 45.0 + 35.0 * self.wear;
        self.bearing += (target - self.bearing) * 0.05 + random.decimal(-0.1, 0.1, 2);
        let speed = random.integer(1478, 1496);
        let metrics = vec![
            metric("vibration_velocity_rms", Value::Float(rounded(velocity, 2)), Some("mm/s")),
            metric("acceleration_rms", Value::Float(rounded(0.12 + 0.9 * self.wear * velocity / 7.0, 3)), Some("g")),
            metric("crest_factor", Value::Float(rounded(3.0 + 4.0 * self.wear, 2)), None),
            metric("dominant_frequency", Value::Float(rounded(speed as f64 / 60.0, 2)), Some("Hz")),
            metric("speed", Value::Integer(speed), Some("rpm")),
            metric("bearing_temperature", Value::Float(rounded(self.bearing, 2)), Some("°C")),
        ];
        Sample { time: Some(now), id: None, metrics }
    }
}

impl Sensor for IndustrialSimulator {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        Ok(self.sample(now))
    }

    fn is_instant(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vibration_rises_with_wear_and_falls_with_a_new_bearing() {
        let mut machine = IndustrialSimulator::new(Random::seeded(11));
        let velocity = |sample: &Sample| sample.metrics[0].value.number().expect("a number");
        let samples: Vec<_> = (0..20_000).map(|_| velocity(&machine.sample(Timestamp::UNIX_EPOCH))).collect();
        assert!(samples.iter().all(|velocity| (0.7..=7.1).contains(velocity)));
        assert!(samples.iter().any(|velocity| *velocity > 6.0), "it wears");
        let drops = samples.windows(2).filter(|pair| pair[0] > 5.0 && pair[1] < 2.0).count();
        assert!((2..=6).contains(&drops), "{drops} new bearings in 20,000 readings");
    }
}
