//! Samples of a profile as payloads, written straight into the bytes that are sent.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;

use super::number::Draw;
use super::{Profile, Values};
use crate::random::Random;

/// Writes samples in the nested form of the wire contract, section 4: `device_id`, `timestamp` in whole seconds with
/// `+00:00`, then `data` with every unit right after its metric.
#[derive(Debug)]
pub struct Generator {
    /// `{"device_id":"…","timestamp":"`
    head: Vec<u8>,
    /// The second that was written last, and its text: a run of thousands a second formats it once
    second: i64,
    time: String,
    parts: Vec<Part>,
    random: Random,
}

#[derive(Debug)]
struct Part {
    /// `"name":`, with the comma before it.
    before: Vec<u8>,
    what: What,
    /// `,"name_unit":"unit"`, when there is a unit.
    after: Vec<u8>,
    /// Where the last value stands in the payload.
    written: Range<usize>,
}

#[derive(Debug)]
enum What {
    Number(Draw),
    TrueOnceIn(u64),
    /// Each as JSON.
    OneOf(Vec<Vec<u8>>),
    SameAs(usize),
}

impl Generator {
    /// Samples of `profile` for `device`; the same generator of numbers gives the same readings.
    pub fn new(profile: &Profile, device: &DeviceId, random: Random) -> Self {
        let part = |(index, metric): (usize, &super::MetricProfile)| Part {
            before: format!("{}{}:", if index > 0 { "," } else { "" }, json(&metric.name)).into(),
            what: match &metric.values {
                Values::Number(number) => What::Number(Draw::new(number)),
                Values::TrueOnceIn(times) => What::TrueOnceIn(*times),
                Values::OneOf(texts) => What::OneOf(texts.iter().map(|text| json(text).into()).collect()),
                Values::SameAs(other) => What::SameAs(*other),
            },
            after: metric.unit.as_ref().map_or_else(Vec::new, |unit| {
                format!(",{}:{}", json(&format!("{}_unit", metric.name)), json(unit)).into()
            }),
            written: 0..0,
        };
        Self {
            head: format!(r#"{{"device_id":{},"timestamp":""#, json(device.as_str())).into(),
            second: i64::MIN,
            time: String::new(),
            parts: profile.metrics.iter().enumerate().map(part).collect(),
            random,
        }
    }

    /// Appends the sample of this moment.
    pub fn write(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        self.tell_time(now);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(self.time.as_bytes());
        out.extend_from_slice(br#"","data":{"#);
        for index in 0..self.parts.len() {
            let (before, part) = self.parts.split_at_mut(index);
            let Some(part) = part.first_mut() else { break };
            out.extend_from_slice(&part.before);
            let start = out.len();
            match &mut part.what {
                What::Number(draw) => draw.write(&mut self.random, out),
                What::TrueOnceIn(times) => {
                    out.extend_from_slice(if self.random.once_in(*times) { b"true" } else { b"false" });
                }
                What::OneOf(texts) => {
                    let chosen = self.random.bits() as usize % texts.len().max(1);
                    out.extend_from_slice(texts.get(chosen).map_or(b"null", Vec::as_slice));
                }
                What::SameAs(other) => {
                    let range = before.get(*other).map_or(0..0, |other| other.written.clone());
                    out.extend_from_within(range);
                }
            }
            part.written = start..out.len();
            out.extend_from_slice(&part.after);
        }
        out.extend_from_slice(b"}}");
    }

    fn tell_time(&mut self, now: Timestamp) {
        let second = now.as_second();
        if second != self.second {
            self.second = second;
            self.time.clear();
            let whole = Timestamp::from_second(second).unwrap_or(now);
            // Writing to a String does not fail.
            let _ = write!(self.time, "{whole}");
            if self.time.ends_with('Z') {
                self.time.pop();
                self.time.push_str("+00:00");
            }
        }
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use tesaiot_contract::Value;
    use tesaiot_contract::telemetry::{Limits, parse};

    use super::*;

    fn generator(name: &str) -> Generator {
        let device = DeviceId::new("bed-12").unwrap();
        Generator::new(&Profile::builtin(name).unwrap(), &device, Random::seeded(1))
    }

    #[test]
    fn the_payload_of_the_contract() {
        let mut out = b"kept".to_vec();
        let mut medical = generator("medical");
        let now = Timestamp::from_millisecond(1_765_276_245_999).unwrap();
        medical.write(now, &mut out);
        medical.write(now, &mut Vec::new());
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_platform_understands_every_sample_of_every_profile() {
        let device = DeviceId::new("bed-12").unwrap();
        for name in ["medical", "environment", "industrial"] {
            let profile = Profile::builtin(name).unwrap();
            let mut generator = generator(name);
            for _ in 0..200 {
                let mut out = Vec::new();
                generator.write(Timestamp::now(), &mut out);
                let samples = parse(&device, None, &out, Timestamp::now(), &Limits::default()).unwrap();
                let names: Vec<_> = samples[0].metrics.iter().map(|metric| metric.name.clone()).collect();
                let expected: Vec<_> = profile.metrics.iter().map(|metric| metric.name.clone()).collect();
                assert_eq!(names, expected);
                let value = |name: &str| samples[0].metrics.iter().find(|m| &*m.name == name).map(|m| m.value.clone());
                if name == "medical" {
                    assert!(matches!(value("spo2"), Some(Value::Integer(94..=99))));
                    assert_eq!(value("heart_rate"), value("heart_rate_bpm"));
                }
            }
        }
    }
}
