//! What is sent: generated samples, one message from the command line or a file, or what comes on stdin.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};

use clap::{ArgGroup, Args};
use serde_json::value::RawValue;
use tesaiot_contract::DeviceId;
use tesaiot_device::profile::{Generator, Profile, ProfileError};
use tesaiot_device::publisher::{Generated, Repeated, Source, SourceError, Stream};
use tesaiot_device::random::Random;
use tokio::sync::mpsc;

/// Longest message, in bytes: what an MQTT packet can carry (MQTT 5 section 1.5.5), less room for its topic.
const MAX_MESSAGE: usize = 268_000_000;
/// How much of stdin is read ahead: this many batches of this many messages or bytes.
const BATCHES: usize = 4;
const BATCH_MESSAGES: usize = 256;
const BATCH_BYTES: usize = 256 * 1024;

/// What stands in a message.
#[derive(Args)]
#[command(group = ArgGroup::new("payload").args(["profile", "message", "file", "stdin_lines", "stdin_json"]))]
pub(super) struct PayloadArgs {
    /// Samples of this profile: medical, environment, industrial, or a TOML file [default: medical]
    #[arg(long, value_name = "PROFILE", help_heading = "What is sent")]
    profile: Option<String>,
    /// This text
    #[arg(long, value_name = "TEXT", help_heading = "What is sent")]
    message: Option<String>,
    /// The contents of this file
    #[arg(long, value_name = "PATH", help_heading = "What is sent")]
    file: Option<PathBuf>,
    /// Each line of stdin that is not empty, as it comes
    #[arg(long, help_heading = "What is sent")]
    stdin_lines: bool,
    /// Each JSON value of stdin, as it comes; one may span lines
    #[arg(long, help_heading = "What is sent")]
    stdin_json: bool,
}

/// A payload that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The file cannot be read.
    #[error("File not readable: {}", path.display())]
    File {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// What was to come from stdin cannot be sent.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl PayloadError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Profile(error) => error.hint(),
            Self::File { .. } => {
                "check the path, who may read the file, and that it is no longer than a message may be"
            }
            Self::Source(SourceError::TooLong { .. }) => "send less in one message: no packet of MQTT carries more",
            Self::Source(SourceError::NotJson { .. }) => "give JSON values one after the other, or use --stdin-lines",
            Self::Source(SourceError::NotKept { source, .. }) => source.hint(),
            Self::Source(_) => "check what is written to this program's stdin",
        }
    }
}

/// Where the payloads of a run come from.
pub(super) enum Payload {
    Generated(Box<Generated>),
    Repeated(Repeated),
    Stream(Stream),
}

impl PayloadArgs {
    /// Whether messages come from stdin: as many as there are, as fast as they come.
    pub(super) fn is_stream(&self) -> bool {
        self.stdin_lines || self.stdin_json
    }

    /// Opens it.
    pub(super) fn open(&self, device: &DeviceId) -> Result<Payload, PayloadError> {
        if self.is_stream() {
            let read = if self.stdin_json { read_json } else { read_lines };
            return Ok(Payload::Stream(from_stdin(read)?));
        }
        if let Some(message) = &self.message {
            return Ok(Payload::Repeated(Repeated(message.clone().into())));
        }
        if let Some(path) = &self.file {
            let bytes = read_file(path).map_err(|source| PayloadError::File { path: path.clone(), source })?;
            return Ok(Payload::Repeated(Repeated(bytes.into())));
        }
        let profile = Profile::named(self.profile.as_deref().unwrap_or("medical"))?;
        Ok(Payload::Generated(Box::new(Generated(Generator::new(&profile, device, Random::from_system())))))
    }
}

impl Source for Payload {
    fn poll_next(&mut self, context: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        match self {
            Self::Generated(source) => source.poll_next(context, payload),
            Self::Repeated(source) => source.poll_next(context, payload),
            Self::Stream(source) => source.poll_next(context, payload),
        }
    }

    fn remaining(&self, count: u64, sent: u64) -> u64 {
        match self {
            Self::Stream(source) => source.remaining(count, sent),
            Self::Generated(_) | Self::Repeated(_) => count - sent,
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

type Batch = Result<Vec<bytes::Bytes>, SourceError>;

/// Reads stdin on a thread of its own: reading it blocks, and nothing but the end of the process can end that.
fn from_stdin(read: fn(&mut Batches)) -> Result<Stream, PayloadError> {
    let (sender, batches) = mpsc::channel(BATCHES);
    let thread = std::thread::Builder::new().name("stdin".into());
    thread
        .spawn(move || read(&mut Batches { sender, messages: Vec::new(), bytes: 0, number: 0 }))
        .map_err(SourceError::NotReadable)?;
    Ok(Stream::new(batches))
}

/// Messages on their way from the thread that reads.
struct Batches {
    sender: mpsc::Sender<Batch>,
    messages: Vec<bytes::Bytes>,
    bytes: usize,
    /// Messages so far.
    number: u64,
}

impl Batches {
    /// False when nobody wants any more.
    fn push(&mut self, message: bytes::Bytes, more_is_there: bool) -> bool {
        self.number += 1;
        self.bytes += message.len();
        self.messages.push(message);
        let full = self.messages.len() >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES;
        // What comes by and by is not held back until a batch is full.
        if full || !more_is_there { self.flush() } else { true }
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let messages = std::mem::take(&mut self.messages);
        messages.is_empty() || self.sender.blocking_send(Ok(messages)).is_ok()
    }

    fn fail(&mut self, error: SourceError) {
        if self.flush() {
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

fn read_lines(batches: &mut Batches) {
    let mut input = BufReader::with_capacity(64 * 1024, io::stdin());
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut input).take(MAX_MESSAGE as u64 + 2).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return batches.fail(SourceError::NotReadable(error)),
        }
        let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        if end > MAX_MESSAGE {
            return batches.fail(SourceError::TooLong { number: batches.number + 1, limit: MAX_MESSAGE });
        }
        if end > 0 && !batches.push(line[..end].to_vec().into(), input.buffer().contains(&b'\n')) {
            return;
        }
    }
    batches.flush();
}

fn read_json(batches: &mut Batches) {
    read_values(BufReader::with_capacity(64 * 1024, io::stdin()), MAX_MESSAGE, batches);
}

/// JSON values of `limit` bytes at most, the space before each included.
fn read_values(input: impl Read, limit: usize, batches: &mut Batches) {
    let left = Rc::new(Cell::new(limit));
    let input = Limited { input, left: Rc::clone(&left) };
    let values = serde_json::Deserializer::from_reader(input).into_iter::<Box<RawValue>>();
    for value in values {
        match value {
            // A value ends where the next one begins: whether that is there already is not known.
            Ok(value) => {
                if !batches.push(value.get().as_bytes().to_vec().into(), false) {
                    return;
                }
                left.set(limit);
            }
            Err(_) if left.get() == 0 => {
                return batches.fail(SourceError::TooLong { number: batches.number + 1, limit });
            }
            Err(error) if error.is_io() => return batches.fail(SourceError::NotReadable(error.into())),
            Err(error) => {
                let reason = format!("line {}, column {}: {}", error.line(), error.column(), kind(&error));
                return batches.fail(SourceError::NotJson { number: batches.number + 1, reason });
            }
        }
    }
    batches.flush();
}

/// Input that fails before a value without an end has filled the memory.
struct Limited<R> {
    input: R,
    /// Bytes that the value may still have
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(self.left.get());
        if wanted == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.input.read(&mut buffer[..wanted])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

/// Never what stands there: a payload is not printed.
fn kind(error: &serde_json::Error) -> &'static str {
    if error.is_eof() { "it ends within a value" } else { "no value can stand there" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of this input with a limit of 16 bytes.
    fn values(input: &str) -> (Vec<String>, Option<String>) {
        let (sender, mut receiver) = mpsc::channel(64);
        let mut batches = Batches { sender, messages: Vec::new(), bytes: 0, number: 0 };
        read_values(input.as_bytes(), 16, &mut batches);
        drop(batches);
        let (mut values, mut error) = (Vec::new(), None);
        while let Some(batch) = receiver.blocking_recv() {
            match batch {
                Ok(batch) => values.extend(batch.iter().map(|value| String::from_utf8_lossy(value).into_owned())),
                Err(failed) => error = Some(failed.to_string()),
            }
        }
        (values, error)
    }

    #[test]
    fn a_value_without_an_end_is_given_up_and_what_stood_before_it_is_not() {
        let fits = r#"{"a":"12345678"}"#;
        assert_eq!(fits.len(), 16);
        assert_eq!(values(&format!("{fits}{fits}")), (vec![fits.to_owned(); 2], None));
        let (before, error) = values(&format!("{fits}{{\"a\":\"{}", "x".repeat(1_000_000)));
        assert_eq!(before, [fits]);
        assert_eq!(error.as_deref(), Some("message 2 of the input is longer than 16 bytes"));
        let (_, error) = values(r#"{"a":"123456789"}"#);
        assert_eq!(error.as_deref(), Some("message 1 of the input is longer than 16 bytes"));
        assert_eq!(values("1 2 3"), (vec!["1".into(), "2".into(), "3".into()], None));
    }
}
