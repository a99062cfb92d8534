//! Values that cannot be: a broken wire reads as a number too.
//!
//! A value outside its bounds is kept, because it is evidence, and stands beside a text metric `{name}_fault` that
//! says what is wrong with it. A number that is none (JSON has no word for it) leaves only the fault.

use tesaiot_contract::{Metric, Sample, Value};

/// What is put behind a metric's name to name its fault.
pub const FAULT_SUFFIX: &str = "_fault";

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not a number, or infinite.
    NotANumber,
    /// Less than there can be.
    TooLow,
    /// More than there can be.
    TooHigh,
}

impl Fault {
    /// The text of the fault metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::TooLow => "below_range",
            Self::TooHigh => "above_range",
        }
    }
}

/// The range a metric can be in; both ends belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// The metric's name
    pub metric: Box<str>,
    /// Lowest value
    pub low: f64,
    /// Highest value
    pub high: f64,
}

/// Checks a sample against `bounds`, and where they say nothing against what its unit allows. Returns the faults.
pub(crate) fn check(sample: &mut Sample, bounds: &[Bounds]) -> Vec<(Box<str>, Fault)> {
    let mut faults = Vec::new();
    for metric in &sample.metrics {
        let number = match metric.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            Value::Bool(_) | Value::Text(_) => continue,
        };
        let chosen = bounds.iter().find(|bounds| bounds.metric == metric.name);
        let (low, high) = chosen.map_or_else(|| physical(metric), |bounds| (bounds.low, bounds.high));
        let fault = match number {
            number if !number.is_finite() => Fault::NotANumber,
            number if number < low => Fault::TooLow,
            number if number > high => Fault::TooHigh,
            _ => continue,
        };
        faults.push((metric.name.clone(), fault));
    }
    sample.metrics.retain(|metric| !matches!(metric.value, Value::Float(number) if !number.is_finite()));
    for (name, fault) in &faults {
        let name = format!("{name}{FAULT_SUFFIX}");
        // A sensor that names its fault itself knows better.
        if sample.metrics.iter().all(|metric| *metric.name != *name) {
            sample.metrics.push(Metric { name: name.into(), value: Value::Text(fault.as_str().into()), unit: None });
        }
    }
    faults
}

/// What nature allows in this unit.
fn physical(metric: &Metric) -> (f64, f64) {
    match metric.unit.as_deref() {
        Some("°C") => (-273.15, f64::INFINITY),
        Some("K" | "lx" | "hPa" | "kPa" | "Pa" | "MHz" | "B") => (0.0, f64::INFINITY),
        // Relative humidity and shares alike; a sensor of its own drift reads 100.5 now and then, and that is a fault.
        Some("%") => (0.0, 100.0),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(metrics: &[(&str, f64, &str)]) -> Sample {
        let metric =
            |(name, value, unit): &(&str, f64, &str)| super::super::metric(name, Value::Float(*value), Some(unit));
        Sample { time: None, id: None, metrics: metrics.iter().map(metric).collect() }
    }

    fn texts(sample: &Sample) -> Vec<(&str, &str)> {
        let text = |metric: &'_ Metric| matches!(metric.value, Value::Text(_));
        let texts = sample.metrics.iter().filter(|metric| text(metric));
        texts
            .map(|metric| match &metric.value {
                Value::Text(text) => (&*metric.name, &**text),
                _ => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn what_cannot_be_is_flagged_and_kept() {
        let mut sample =
            sample(&[("temperature", -300.0, "°C"), ("humidity", 100.5, "%"), ("pressure", 1013.0, "hPa")]);
        assert_eq!(check(&mut sample, &[]).len(), 2);
        assert_eq!(sample.metrics.len(), 5, "the values are evidence");
        assert_eq!(texts(&sample), [("temperature_fault", "below_range"), ("humidity_fault", "above_range")]);
    }

    #[test]
    fn no_number_leaves_only_its_fault() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut sample = sample(&[("x", value, ""), ("y", 1.0, "")]);
            check(&mut sample, &[]);
            assert_eq!(sample.metrics.len(), 2);
            assert_eq!(texts(&sample), [("x_fault", "not_a_number")]);
            assert!(sample.to_json(None).contains(r#""x_fault":"not_a_number""#));
        }
    }

    #[test]
    fn chosen_bounds_come_before_those_of_the_unit() {
        let bounds = [Bounds { metric: "temperature".into(), low: -40.0, high: 85.0 }];
        let faults = |value| check(&mut sample(&[("temperature", value, "°C")]), &bounds);
        assert_eq!((faults(-40.0), faults(85.0)), (vec![], vec![]));
        assert_eq!(faults(85.1), [("temperature".into(), Fault::TooHigh)]);
        assert_eq!(faults(-40.1), [("temperature".into(), Fault::TooLow)]);
    }
}
