//! A program of the owner's that reads what this one does not know: it prints a sample and ends.

use jiff::Timestamp;
use tesaiot_contract::Sample;

use super::lines::Words;
use super::{Sensor, SensorError};
use crate::program::{Program, ProgramError};

/// A program that is run for each reading. Its standard output is one JSON object, or a number.
#[derive(Debug)]
pub struct ProgramSensor {
    program: Program,
    words: Words,
}

impl ProgramSensor {
    /// `words` says whose output it is.
    pub fn new(program: Program, words: Words) -> Self {
        Self { program, words }
    }
}

impl Sensor for ProgramSensor {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let name = || self.program.path.display().to_string();
        let finished = self.program.run().map_err(|error| match error {
            ProgramError::Start { source, .. } => SensorError::Start { program: name(), source },
            ProgramError::Listen { path, source } => SensorError::Read { path, source },
            ProgramError::TimedOut { after, .. } => SensorError::TimedOut { what: name(), after },
            ProgramError::Stopped { path } => SensorError::Ended { what: path.display().to_string() },
            ProgramError::TooMuch { limit, .. } => SensorError::TooMuch { what: name(), limit },
        })?;
        if !finished.status.success() {
            return Err(SensorError::Failed { program: name(), status: finished.status.to_string() });
        }
        let mut samples = self.words.samples(finished.output.trim_ascii())?;
        if samples.len() != 1 {
            let reason = format!("it holds {} samples; one reading is one sample", samples.len());
            return Err(SensorError::NotASample { what: name(), reason });
        }
        let mut sample = samples.remove(0);
        sample.time.get_or_insert(now);
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tesaiot_contract::{DeviceId, TelemetryType};

    use super::super::tree::tests::lines;
    use super::*;

    fn read(script: &str) -> Result<Sample, SensorError> {
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            timeout: Duration::from_secs(10),
            output_limit: 1000,
        };
        let words = Words::new("meter".into(), DeviceId::new("pi-1").unwrap(), TelemetryType::new("power").unwrap());
        ProgramSensor::new(program, words).read(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn its_output_is_a_sample() {
        let sample = read(r#"echo '{"power":230.5,"power_unit":"W"}'"#).unwrap();
        assert_eq!((lines(&sample), sample.time), (vec!["power 230.5 W".to_owned()], Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(lines(&read("echo 17").unwrap()), ["power 17 -"]);
    }

    #[test]
    fn its_failures_are_named() {
        assert!(matches!(read("exit 4"), Err(SensorError::Failed { status, .. }) if status.contains('4')));
        assert!(matches!(read("echo '[{\"a\":1},{\"a\":2}]'"), Err(SensorError::NotASample { .. })));
        assert!(matches!(read("echo none"), Err(SensorError::NotASample { .. })));
        assert!(matches!(read("seq 1000"), Err(SensorError::TooMuch { limit: 1000, .. })));
    }
}
