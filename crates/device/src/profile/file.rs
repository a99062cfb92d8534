//! A profile from a file: TOML, one `[[metric]]` each.
//!
//! ```toml
//! name = "greenhouse"
//!
//! [[metric]]
//! name = "temperature"
//! unit = "°C"
//! range = [-10, 45]          # the least and the most it may be
//! decimals = 2               # digits behind the point, 0 to 6; 0 when not given
//! distribution = "walk"      # "uniform" when not given; "normal" with mean and deviation; "walk" with start and step
//! start = 22.5
//! step = 0.3
//!
//! [[metric]]
//! name = "door"
//! choices = ["open", "closed"]   # one of these texts
//!
//! [[metric]]
//! name = "alarm"
//! true_once_in = 500             # true once in 500 samples on average, else false
//!
//! [[metric]]
//! name = "temp"
//! same_as = "temperature"        # what an earlier metric was given
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::number::{MAX_DECIMALS, MAX_NUMBER};
use super::{Distribution, MAX_METRICS, MAX_TEXT, MetricProfile, Number, Profile, ProfileError, Values};

/// Longest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    metric: Vec<WrittenMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMetric {
    name: String,
    unit: Option<String>,
    range: Option<[f64; 2]>,
    decimals: Option<u32>,
    distribution: Option<Shape>,
    mean: Option<f64>,
    deviation: Option<f64>,
    start: Option<f64>,
    step: Option<f64>,
    choices: Option<Vec<String>>,
    true_once_in: Option<u64>,
    same_as: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Uniform,
    Normal,
    Walk,
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// [`ProfileError`]: the file cannot be read, is no TOML, or says something that cannot be.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ProfileError> {
        let path = path.as_ref();
        let text = read(path).map_err(|source| ProfileError::NotReadable { path: path.to_owned(), source })?;
        Self::from_toml(&text, path)
    }

    /// Reads a profile from its text; `path` names it in errors.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ProfileError> {
        let not_a_profile = |reason: String| ProfileError::NotAProfile { path: path.to_owned(), reason };
        let written: Written =
            toml::from_str(text).map_err(|error| not_a_profile(error.to_string().trim_end().to_owned()))?;
        if !(1..=MAX_METRICS).contains(&written.metric.len()) {
            return Err(not_a_profile(format!("it has {} metrics, not 1 to {MAX_METRICS}", written.metric.len())));
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut profile = Self { name: written.name.or(stem).unwrap_or_default().into(), metrics: Vec::new() };
        for metric in written.metric {
            let name = metric.name.clone();
            let metric = read_metric(metric, &profile.metrics);
            let wrong = |reason| ProfileError::Metric { path: PathBuf::from(path), metric: name, reason };
            profile.metrics.push(metric.map_err(wrong)?);
        }
        Ok(profile)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than a megabyte"));
    }
    Ok(text)
}

fn read_metric(written: WrittenMetric, earlier: &[MetricProfile]) -> Result<MetricProfile, &'static str> {
    let is_text = |text: &str| (1..=MAX_TEXT).contains(&text.len());
    if !is_text(&written.name) || written.unit.as_deref().is_some_and(|unit| !is_text(unit)) {
        return Err("its name and unit are texts of 1 to 256 bytes");
    }
    let taken = |metric: &MetricProfile| {
        // `x_unit` beside `x` is the unit of `x` (the wire contract, section 4).
        *metric.name == *written.name || metric.unit.is_some() && written.name == format!("{}_unit", metric.name)
    };
    if earlier.iter().any(taken) {
        return Err("its name is taken by another metric or by the unit of one");
    }
    let of_a_number = written.decimals.is_some() || written.distribution.is_some() || !shape_is_plain(&written);
    if written.range.is_none() && of_a_number {
        return Err("decimals and a distribution need a range");
    }
    let values = match (written.range, written.choices, written.true_once_in, written.same_as) {
        (Some([low, high]), None, None, None) => {
            let shape = Shaped {
                decimals: written.decimals.unwrap_or(0),
                distribution: written.distribution,
                normal: (written.mean, written.deviation),
                walk: (written.start, written.step),
            };
            Values::Number(read_number(low, high, &shape)?)
        }
        (None, Some(texts), None, None) => {
            if !(1..=MAX_METRICS).contains(&texts.len()) || !texts.iter().all(|text| is_text(text)) {
                return Err("its choices are 1 to 256 texts of 1 to 256 bytes");
            }
            Values::OneOf(texts.into_iter().map(Into::into).collect())
        }
        (None, None, Some(0), None) => return Err("true_once_in is a number of samples from 1 on"),
        (None, None, Some(times), None) => Values::TrueOnceIn(times),
        (None, None, None, Some(other)) => {
            let index = earlier.iter().position(|metric| *metric.name == *other);
            Values::SameAs(index.ok_or("same_as names no metric before it")?)
        }
        _ => return Err("it needs one of range, choices, true_once_in and same_as"),
    };
    Ok(MetricProfile { name: written.name.into(), unit: written.unit.map(Into::into), values })
}

fn shape_is_plain(written: &WrittenMetric) -> bool {
    [written.mean, written.deviation, written.start, written.step].iter().all(Option::is_none)
}

/// What stands beside the range.
struct Shaped {
    decimals: u32,
    distribution: Option<Shape>,
    normal: (Option<f64>, Option<f64>),
    walk: (Option<f64>, Option<f64>),
}

fn read_number(low: f64, high: f64, shaped: &Shaped) -> Result<Number, &'static str> {
    let limits = -MAX_NUMBER..=MAX_NUMBER;
    if !limits.contains(&low) || !limits.contains(&high) || low > high {
        return Err("its range is the least and the most, each between -1e9 and 1e9");
    }
    if shaped.decimals > MAX_DECIMALS {
        return Err("decimals are 0 to 6");
    }
    let within = |value: f64| (low..=high).contains(&value);
    let width = |value: f64| (0.0..=2.0 * MAX_NUMBER).contains(&value);
    let distribution = match (&shaped.distribution, shaped.normal, shaped.walk) {
        (None | Some(Shape::Uniform), (None, None), (None, None)) => Distribution::Uniform,
        (Some(Shape::Normal), (Some(mean), Some(deviation)), (None, None)) if within(mean) && width(deviation) => {
            Distribution::Normal { mean, deviation }
        }
        (Some(Shape::Walk), (None, None), (Some(start), Some(step))) if within(start) && width(step) => {
            Distribution::Walk { start, step }
        }
        (Some(Shape::Normal), ..) => return Err("normal needs a mean within the range, and a deviation"),
        (Some(Shape::Walk), ..) => return Err("walk needs a start within the range, and a step"),
        _ => return Err("mean and deviation are of normal, start and step of walk"),
    };
    Ok(Number { decimals: shaped.decimals, low, high, distribution })
}

#[cfg(test)]
mod tests;
