//! The profiles that need no file. `docs/profiles` shows each as one; a test holds the two together.

use super::{Distribution, MetricProfile, Number, Profile, Values};

/// Names of the built-in profiles.
const NAMES: [&str; 3] = ["medical", "environment", "industrial"];

impl Profile {
    /// The built-in profile of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        let metrics = match name {
            "medical" => medical(),
            "environment" => environment(),
            "industrial" => industrial(),
            _ => return None,
        };
        Some(Self { name: name.into(), metrics })
    }

    /// Names of the built-in profiles.
    pub fn builtin_names() -> &'static [&'static str] {
        &NAMES
    }
}

/// A bedside monitor (the wire contract, section 8).
fn medical() -> Vec<MetricProfile> {
    vec![
        metric("spo2", Some("%"), uniform(94.0, 99.0, 0)),
        metric("temperature", Some("°C"), uniform(36.2, 37.5, 2)),
        metric("heart_rate", None, uniform(65.0, 95.0, 0)),
        // One value under two names: clients of both spellings are in the field.
        metric("heart_rate_bpm", None, Values::SameAs(2)),
        metric("perfusion_index", None, uniform(2.5, 6.5, 2)),
        metric("motion", None, Values::TrueOnceIn(10)),
        metric("signal_quality", None, uniform(85.0, 100.0, 0)),
        metric("rhythm", None, one_of(&["sinus", "afib", "svt", "vt", "unknown"])),
        metric("rr_interval_ms", None, uniform(600.0, 950.0, 1)),
        metric("qt_interval_ms", None, uniform(320.0, 420.0, 1)),
        metric("site", None, one_of(&["temporal", "oral", "core"])),
    ]
}

/// A weather station: values that move as air does, not noise.
fn environment() -> Vec<MetricProfile> {
    vec![
        metric("temperature", Some("°C"), walk((-10.0, 45.0), 22.5, 0.3)),
        metric("humidity", Some("%"), walk((0.0, 100.0), 45.0, 0.8)),
        metric("pressure", Some("hPa"), walk((950.0, 1050.0), 1013.25, 0.4)),
    ]
}

/// A motor in the terms of ISO 20816: good below 1.4 mm/s.
fn industrial() -> Vec<MetricProfile> {
    vec![
        metric("vibration_velocity_rms", Some("mm/s"), normal((0.3, 2.5), 1.1, 0.2, 2)),
        metric("acceleration_rms", Some("g"), normal((0.05, 0.6), 0.18, 0.04, 3)),
        metric("crest_factor", None, normal((2.5, 6.0), 3.2, 0.3, 2)),
        metric("speed", Some("rpm"), uniform(1478.0, 1496.0, 0)),
        metric("bearing_temperature", Some("°C"), walk((30.0, 90.0), 52.0, 0.2)),
        metric("state", None, one_of(&["running"])),
        metric("alarm", None, Values::TrueOnceIn(500)),
    ]
}

fn metric(name: &str, unit: Option<&str>, values: Values) -> MetricProfile {
    MetricProfile { name: name.into(), unit: unit.map(Into::into), values }
}

fn uniform(low: f64, high: f64, decimals: u32) -> Values {
    Values::Number(Number { decimals, low, high, distribution: Distribution::Uniform })
}

fn normal((low, high): (f64, f64), mean: f64, deviation: f64, decimals: u32) -> Values {
    Values::Number(Number { decimals, low, high, distribution: Distribution::Normal { mean, deviation } })
}

fn walk((low, high): (f64, f64), start: f64, step: f64) -> Values {
    Values::Number(Number { decimals: 2, low, high, distribution: Distribution::Walk { start, step } })
}

fn one_of(texts: &[&str]) -> Values {
    Values::OneOf(texts.iter().map(|text| (*text).into()).collect())
}
