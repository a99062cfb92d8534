//! The medical profile of the publish command: a simulated bedside monitor.

use jiff::Timestamp;
use tesaiot_contract::{Metric, Sample, Value};

use super::{Sensor, SensorError, metric};
use crate::random::Random;

/// The heart rhythms a monitor names (the wire contract, section 8).
const RHYTHMS: [&str; 5] = ["sinus", "afib", "svt", "vt", "unknown"];
/// Where the temperature is taken (the wire contract, section 8).
const SITES: [&str; 3] = ["temporal", "oral", "core"];

/// Simulated vital signs in the ranges of the wire contract, section 8.
#[derive(Debug)]
pub struct MedicalSimulator {
    random: Random,
}

impl MedicalSimulator {
    /// The same generator gives the same readings.
    pub fn new(random: Random) -> Self {
        Self { random }
    }

    /// The next reading.
    pub fn sample(&mut self, now: Timestamp) -> Sample {
        Sample { time: Some(now), id: None, metrics: self.metrics() }
    }

    fn metrics(&mut self) -> Vec<Metric> {
        let random = &mut self.random;
        // One value under two names: clients of both spellings are in the field.
        let heart_rate = random.integer(65, 95);
        vec![
            metric("spo2", Value::Integer(random.integer(94, 99)), Some("%")),
            metric("temperature", Value::Float(random.decimal(36.2, 37.5, 2)), Some("°C")),
            metric("heart_rate", Value::Integer(heart_rate), None),
            metric("heart_rate_bpm", Value::Integer(heart_rate), None),
            metric("perfusion_index", Value::Float(random.decimal(2.5, 6.5, 2)), None),
            metric("motion", Value::Bool(random.once_in(10)), None),
            metric("signal_quality", Value::Integer(random.integer(85, 100)), None),
            metric("rhythm", Value::Text(random.choose(&RHYTHMS).into()), None),
            metric("rr_interval_ms", Value::Float(random.decimal(600.0, 950.0, 1)), None),
            metric("qt_interval_ms", Value::Float(random.decimal(320.0, 420.0, 1)), None),
            metric("site", Value::Text(random.choose(&SITES).into()), None),
        ]
    }
}

impl Sensor for MedicalSimulator {
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

    fn numbers(samples: &[Sample], name: &str) -> Vec<f64> {
        let values = samples.iter().map(|sample| &value(sample, name).value);
        values
            .map(|value| match value {
                Value::Integer(integer) => *integer as f64,
                Value::Float(float) => *float,
                other => panic!("{name} is {other:?}"),
            })
            .collect()
    }

    fn value<'a>(sample: &'a Sample, name: &str) -> &'a Metric {
        sample.metrics.iter().find(|metric| &*metric.name == name).expect(name)
    }

    #[test]
    fn every_metric_keeps_to_its_range_and_uses_all_of_it() {
        let mut monitor = MedicalSimulator::new(Random::seeded(1));
        let samples: Vec<_> = (0..5_000).map(|_| monitor.sample(Timestamp::UNIX_EPOCH)).collect();
        for (name, low, high) in [
            ("spo2", 94.0, 99.0),
            ("temperature", 36.2, 37.5),
            ("heart_rate", 65.0, 95.0),
            ("perfusion_index", 2.5, 6.5),
            ("signal_quality", 85.0, 100.0),
            ("rr_interval_ms", 600.0, 950.0),
            ("qt_interval_ms", 320.0, 420.0),
        ] {
            let numbers = numbers(&samples, name);
            let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let slack = (high - low) * 0.02;
            assert!((low..=low + slack).contains(&least), "{name}: least {least}");
            assert!((high - slack..=high).contains(&most), "{name}: most {most}");
        }
        assert_eq!(numbers(&samples, "heart_rate"), numbers(&samples, "heart_rate_bpm"));
        for (name, words) in [("rhythm", &RHYTHMS[..]), ("site", &SITES[..])] {
            let used = |word: &&str| samples.iter().any(|s| value(s, name).value == Value::Text((*word).into()));
            assert!(words.iter().all(used), "{name}");
        }
        assert_eq!(value(&samples[0], "spo2").unit.as_deref(), Some("%"));
        assert_eq!(value(&samples[0], "temperature").unit.as_deref(), Some("°C"));
        let motion = |truth| samples.iter().any(|sample| value(sample, "motion").value == Value::Bool(truth));
        assert!(motion(true) && motion(false));
    }

    #[test]
    fn the_sample_carries_the_time_of_the_reading() {
        let now = Timestamp::from_second(1_765_276_245).unwrap();
        assert_eq!(MedicalSimulator::new(Random::seeded(1)).sample(now).time, Some(now));
    }
}
