//! A serial line, or standard input, that speaks JSON in lines.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
use tesaiot_contract::Sample;

use super::lines::{Assembler, MOST_LINE_BYTES, Overlong, Words};
use super::{Feed, SensorError};

const STANDARD_INPUT: &str = "/dev/stdin";

/// Lines of JSON from a serial line.
#[derive(Debug)]
pub struct LineFeed {
    path: PathBuf,
    /// Bits per second, when the line is a terminal
    speed: u32,
    words: Words,
    opened: Option<File>,
    assembler: Assembler,
    /// Nothing of this opening was understood yet: its first line may have begun before it
    fresh: bool,
    /// A file and standard input end once: opened again, a file would tell everything a second time
    ended: bool,
    ready: VecDeque<Sample>,
}

impl LineFeed {
    /// A serial device (`/dev/serial0`, `/dev/ttyUSB0`), at `speed` bits per second, eight bits, no parity.
    pub fn serial(path: impl Into<PathBuf>, speed: u32, words: Words) -> Self {
        let assembler = Assembler::default();
        Self {
            path: path.into(),
            speed,
            words,
            opened: None,
            assembler,
            fresh: true,
            ended: false,
            ready: VecDeque::new(),
        }
    }

    /// Standard input.
    pub fn standard_input(words: Words) -> Self {
        Self::serial(STANDARD_INPUT, 0, words)
    }

    fn read_error(&self, source: io::Error) -> SensorError {
        SensorError::Read { path: self.path.clone(), source }
    }

    fn open(&mut self) -> Result<&mut File, SensorError> {
        if self.ended {
            return Err(SensorError::Ended { what: self.words.what().to_owned() });
        }
        if self.opened.is_none() {
            let file = open(&self.path, self.speed).map_err(|source| self.read_error(source))?;
            self.opened = Some(file);
            self.assembler = Assembler::default();
            self.fresh = true;
        }
        Ok(self.opened.as_mut().expect("opened just now"))
    }

    /// Reads what is there, waiting for `patience` at most.
    fn listen(&mut self, patience: Duration) -> Result<(), SensorError> {
        let file = self.open()?;
        let mut polled = [PollFd::new(file, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(self.failed(error.into())),
        }
        let mut buffer = [0; 4096];
        match file.read(&mut buffer) {
            Ok(0) => {
                let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
                self.ended = is_file || self.path == Path::new(STANDARD_INPUT);
                self.opened = None;
                self.assembler.finish();
                Ok(())
            }
            Ok(count) => {
                self.assembler.push(&buffer[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// An unplugged adapter is gone for good: the next attempt opens the path again.
    fn failed(&mut self, error: io::Error) -> SensorError {
        self.opened = None;
        self.read_error(error)
    }

    fn understand(&mut self, line: Result<Vec<u8>, Overlong>) -> Result<(), SensorError> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        let samples = match line {
            Ok(line) => self.words.samples(&line),
            Err(Overlong) => Err(SensorError::TooMuch { what: self.words.what().to_owned(), limit: MOST_LINE_BYTES }),
        };
        match samples {
            Ok(samples) => self.ready.extend(samples),
            // Half a line, of which the first half was sent before anyone listened.
            Err(_) if fresh => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Feed for LineFeed {
    fn next(&mut self, patience: Duration) -> Result<Option<Sample>, SensorError> {
        if self.ready.is_empty() {
            let mut line = self.assembler.next();
            if line.is_none() {
                self.listen(patience)?;
                line = self.assembler.next();
            }
            match line {
                Some(line) => self.understand(line)?,
                None if self.opened.is_none() => {
                    return Err(SensorError::Ended { what: self.words.what().to_owned() });
                }
                None => {}
            }
        }
        Ok(self.ready.pop_front())
    }
}

fn open(path: &Path, speed: u32) -> io::Result<File> {
    // Not blocking: a line whose carrier is missing would hold the thread in open().
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if isatty(file.as_fd()) && speed > 0 {
        let mut settings = tcgetattr(&file)?;
        settings.make_raw();
        settings.set_speed(speed)?;
        tcsetattr(&file, OptionalActions::Now, &settings)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use tesaiot_contract::{DeviceId, TelemetryType};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// The other end of a serial line: what is written to it, the line says.
    fn pseudo_terminal() -> (File, PathBuf) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        (File::from(master), PathBuf::from(name.into_string().unwrap()))
    }

    fn feed(path: &Path) -> LineFeed {
        let words =
            Words::new(path.display().to_string(), DeviceId::new("pi-1").unwrap(), TelemetryType::new("soil").unwrap());
        LineFeed::serial(path, 115_200, words)
    }

    fn value(sample: Option<Sample>) -> f64 {
        sample.expect("a sample").metrics[0].value.number().unwrap()
    }

    #[test]
    fn a_serial_line_gives_samples_and_says_what_it_did_not_understand() {
        let (mut master, path) = pseudo_terminal();
        let mut feed = feed(&path);
        assert!(feed.next(Duration::from_millis(1)).unwrap().is_none(), "nothing was said yet");
        master.write_all(b"ure\":3}\r\n{\"moisture\":4").unwrap();
        assert!(feed.next(LONG).unwrap().is_none(), "the first line began before we listened");
        master.write_all(b"1}\r\n[{\"moisture\":42},{\"moisture\":43}]\r\nnonsense\r\n44\r\n").unwrap();
        let mut heard = Vec::new();
        let mut refused = 0;
        while heard.len() < 4 {
            match feed.next(LONG) {
                Ok(Some(sample)) => heard.push(value(Some(sample))),
                Ok(None) => {}
                Err(SensorError::NotASample { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((heard, refused), (vec![41.0, 42.0, 43.0, 44.0], 1));
    }

    #[test]
    fn an_unplugged_line_is_told_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("serial0");
        let (mut master, path) = pseudo_terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut feed = feed(&link);
        assert!(feed.next(Duration::from_millis(1)).unwrap().is_none());
        master.write_all(b"1\n").unwrap();
        assert_eq!(value(feed.next(LONG).unwrap()), 1.0);
        drop(master);
        let error = loop {
            if let Err(error) = feed.next(LONG) {
                break error;
            }
        };
        assert!(matches!(error, SensorError::Read { .. } | SensorError::Ended { .. }), "{error}");
        std::fs::remove_file(&link).unwrap();
        assert!(matches!(feed.next(LONG), Err(SensorError::Read { .. })), "it is gone");
        let (mut master, path) = pseudo_terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(feed.next(Duration::from_millis(1)).unwrap().is_none());
        master.write_all(b"2\n").unwrap();
        assert_eq!(value(feed.next(LONG).unwrap()), 2.0);
    }

    #[test]
    fn a_pipe_ends_with_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "{\"a\":1}\n{\"a\":2}").unwrap();
        let mut feed = feed(&path);
        assert_eq!((value(feed.next(LONG).unwrap()), value(feed.next(LONG).unwrap())), (1.0, 2.0));
        for _ in 0..3 {
            assert!(matches!(feed.next(LONG), Err(SensorError::Ended { .. })), "it is not told a second time");
        }
    }
}
