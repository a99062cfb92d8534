//! The state of a GPIO line: a door contact, a float switch, a motion detector.
//!
//! The kernel's character device is the way today; the older `/sys/class/gpio` is read where a line was exported there.

#[cfg(target_os = "linux")]
mod chip;

use std::path::PathBuf;

#[cfg(target_os = "linux")]
use chip::Chip;
use jiff::Timestamp;
use tesaiot_contract::{Sample, Value};

use super::{Sensor, SensorError, Tree, metric, tree};

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Line `offset` of a chip's character device (`/dev/gpiochip0`)
    Chip {
        /// The device node
        chip: PathBuf,
        /// Number of the line on the chip
        offset: u32,
    },
    /// `/sys/class/gpio/gpio{number}`, exported by somebody else
    Exported {
        /// The number in the folder's name
        number: u32,
    },
}

/// One line, read when asked.
#[derive(Debug)]
pub struct GpioSensor {
    tree: Tree,
    line: Line,
    name: String,
    active_low: bool,
    /// Held open: the kernel keeps the line as an input for as long
    chip: Chip,
}

impl GpioSensor {
    /// `name` is the metric's; `active_low` turns the state around, for a contact that pulls the line to ground.
    pub fn new(tree: Tree, line: Line, name: String, active_low: bool) -> Self {
        Self { tree, line, name, active_low, chip: Chip::default() }
    }

    fn level(&mut self) -> Result<bool, SensorError> {
        match &self.line {
            Line::Exported { number } => {
                let path = self.tree.path(&format!("sys/class/gpio/gpio{number}/value"));
                match tree::text(&path)?.as_str() {
                    "0" => Ok(false),
                    "1" => Ok(true),
                    _ => Err(SensorError::Content { path, expected: "0 or 1" }),
                }
            }
            Line::Chip { chip, offset } => self.chip.level(chip, *offset),
        }
    }
}

impl Sensor for GpioSensor {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let state = self.level()? != self.active_low;
        Ok(Sample { time: Some(now), id: None, metrics: vec![metric(&self.name, Value::Bool(state), None)] })
    }
}

/// There is no such device node on other systems.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
struct Chip;

#[cfg(not(target_os = "linux"))]
impl Chip {
    #[expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "the same shape as on Linux")]
    fn level(&mut self, chip: &std::path::Path, _: u32) -> Result<bool, SensorError> {
        Err(SensorError::Read { path: chip.to_owned(), source: std::io::ErrorKind::Unsupported.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{FakeTree, lines};
    use super::*;

    #[test]
    fn an_exported_line_is_read_and_turned_around() {
        let tree = FakeTree::new(&[("sys/class/gpio/gpio529/value", "1\n")]);
        let read = |active_low| {
            let line = Line::Exported { number: 529 };
            let mut sensor = GpioSensor::new(tree.tree(), line, "door_open".into(), active_low);
            sensor.read(Timestamp::UNIX_EPOCH).map(|sample| lines(&sample))
        };
        assert_eq!(read(false).unwrap(), ["door_open true -"]);
        assert_eq!(read(true).unwrap(), ["door_open false -"]);
        tree.write("sys/class/gpio/gpio529/value", "0\n");
        assert_eq!(read(true).unwrap(), ["door_open true -"]);
        tree.write("sys/class/gpio/gpio529/value", "");
        assert!(matches!(read(false), Err(SensorError::Content { .. })));
        tree.remove("sys/class/gpio/gpio529");
        assert!(matches!(read(false), Err(SensorError::Read { .. })));
    }

    #[test]
    fn a_chip_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::Chip { chip: folder.path().join("gpiochip0"), offset: 17 };
        let mut sensor = GpioSensor::new(Tree::default(), line, "door_open".into(), false);
        let error = sensor.read(Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(matches!(&error, SensorError::Read { path, .. } if path.ends_with("gpiochip0")), "{error}");
    }
}
