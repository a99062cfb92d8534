//! A line of a GPIO chip's character device, which Linux alone has.

use std::path::Path;

use gpiocdev::line::Value;
use gpiocdev::request::{Config, Request};

use crate::sensor::SensorError;

/// A line that was asked for, once it was.
#[derive(Debug, Default)]
pub(super) struct Chip(Option<Request>);

impl Chip {
    pub(super) fn level(&mut self, chip: &Path, offset: u32) -> Result<bool, SensorError> {
        let failed = |error: gpiocdev::Error| SensorError::Read { path: chip.to_owned(), source: io_error(error) };
        let request = match self.0.take() {
            Some(request) => request,
            None => {
                let mut config = Config::default();
                config.with_line(offset).as_input();
                Request::from_config(config).on_chip(chip).with_consumer("tesaiot").request().map_err(failed)?
            }
        };
        // Dropped when reading fails: the chip may have been unplugged, and is opened again.
        let value = request.value(offset).map_err(failed)?;
        self.0 = Some(request);
        Ok(value == Value::Active)
    }
}

/// The cause as the system said it, where the library hands it on.
fn io_error(error: gpiocdev::Error) -> std::io::Error {
    match error {
        gpiocdev::Error::Os(error) => std::io::Error::from_raw_os_error(error.0),
        other => std::io::Error::other(other),
    }
}
