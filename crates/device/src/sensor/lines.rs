//! JSON in lines: what a microcontroller or a program says over a serial line, a pipe, or standard output.
//!
//! A line holds every form that the wire contract accepts for telemetry (section 4). What is no sample is refused with
//! its reason, and the next line is looked at.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::telemetry::{Limits, parse};
use tesaiot_contract::{DeviceId, Sample, TelemetryType};

use super::SensorError;

/// Longest line, in bytes.
pub const MOST_LINE_BYTES: usize = 16 * 1024;

/// Whose words they are, and what the platform would make of them.
#[derive(Clone, Debug)]
pub struct Words {
    what: String,
    device: DeviceId,
    kind: TelemetryType,
    limits: Limits,
}

impl Words {
    /// `what` names the source in errors. A `device_id` in the words must be `device`; `kind` names a bare value.
    pub fn new(what: String, device: DeviceId, kind: TelemetryType) -> Self {
        // The source's clock is its own affair here: the platform judges it when it receives the sample.
        let limits = Limits { earliest: Timestamp::MIN, max_future: SignedDuration::MAX, ..Limits::default() };
        Self { what, device, kind, limits }
    }

    /// Whose words they are.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The samples in a text; more than one when it holds a list.
    pub(crate) fn samples(&self, text: &[u8]) -> Result<Vec<Sample>, SensorError> {
        let samples = parse(&self.device, Some(self.kind.as_str()), text, Timestamp::UNIX_EPOCH, &self.limits);
        let mut samples =
            samples.map_err(|error| SensorError::NotASample { what: self.what.clone(), reason: error.to_string() })?;
        for sample in &mut samples {
            // Numbering is the agent's: two sources would collide.
            sample.id = None;
        }
        Ok(samples)
    }
}

/// Bytes as they come, cut into lines.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    line: Vec<u8>,
    /// The line in hand was too long: the rest of it is thrown away
    overlong: bool,
    ready: VecDeque<Result<Vec<u8>, Overlong>>,
}

/// A line was longer than [`MOST_LINE_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overlong;

impl Assembler {
    /// Takes what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    if std::mem::take(&mut self.overlong) {
                        self.ready.push_back(Err(Overlong));
                    } else if !line.trim_ascii().is_empty() {
                        self.ready.push_back(Ok(line));
                    }
                }
                _ if self.line.len() < MOST_LINE_BYTES => self.line.push(*byte),
                _ => self.overlong = true,
            }
        }
    }

    /// The next whole line.
    pub(crate) fn next(&mut self) -> Option<Result<Vec<u8>, Overlong>> {
        self.ready.pop_front()
    }

    /// The end: what stands without a line feed is the last line.
    pub(crate) fn finish(&mut self) {
        self.push(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_however_they_are_cut() {
        let mut assembler = Assembler::default();
        for part in ["{\"a\"", ":1}\r", "\n\n  \n{\"b\":2}\n{"] {
            assembler.push(part.as_bytes());
        }
        assert_eq!(assembler.next(), Some(Ok(b"{\"a\":1}".to_vec())));
        assert_eq!(assembler.next(), Some(Ok(b"{\"b\":2}".to_vec())));
        assert_eq!(assembler.next(), None);
        assembler.finish();
        assert_eq!(assembler.next(), Some(Ok(b"{".to_vec())));
    }

    #[test]
    fn a_line_without_end_is_given_up_and_the_next_is_read() {
        let mut assembler = Assembler::default();
        for _ in 0..100 {
            assembler.push(&[b'x'; 4096]);
        }
        assert!(assembler.line.len() <= MOST_LINE_BYTES);
        assembler.push(b"\n1\n");
        assert_eq!(assembler.next(), Some(Err(Overlong)));
        assert_eq!(assembler.next(), Some(Ok(b"1".to_vec())));
    }

    #[test]
    fn every_form_of_the_contract_is_understood_and_the_words_are_not_repeated() {
        let words = Words::new(
            "/dev/ttyUSB0".into(),
            DeviceId::new("pi-1").unwrap(),
            TelemetryType::new("garden/soil").unwrap(),
        );
        let count = |text: &str| words.samples(text.as_bytes()).map(|samples| samples.len()).ok();
        assert_eq!(count(r#"{"temperature":21.5,"temperature_unit":"°C","seq":4,"boot":"x"}"#), Some(1));
        assert_eq!(count(r#"[{"a":1},{"a":2}]"#), Some(2));
        assert_eq!(count(r#"{"timestamp":"1999-01-01T00:00:00Z","a":1}"#), Some(1));
        let bare = words.samples(b"17.5").unwrap().remove(0);
        assert_eq!((&*bare.metrics[0].name, bare.time), ("garden_soil", None));
        let numbered = words.samples(br#"{"seq":4,"boot":"x","a":1}"#).unwrap().remove(0);
        assert_eq!(numbered.id, None);
        for bad in ["", "hunter2", "{", r#"{"device_id":"pi-2","a":1}"#, "{\"a\":NaN}"] {
            let error = words.samples(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("/dev/ttyUSB0 is no sample: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
