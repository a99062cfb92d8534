//! What the program says, and where: data on stdout, talk on stderr.
//!
//! Nothing here panics when a reader goes away. A closed stdout (`tesaiot telemetry get … | head`)
//! comes back as [`Closed`], which ends the command quietly and with success: the reader had enough.

pub(crate) mod failure;
#[cfg(feature = "platform")]
pub(crate) mod table;

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub(crate) use failure::failure;

/// Stdout has no reader any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct Closed;

/// Stdout cannot be written, for another reason than a reader that left.
#[derive(Debug, thiserror::Error)]
#[error("the output cannot be written")]
pub(crate) struct NotWritten(#[source] io::Error);

fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(NotWritten(error).into()),
    }
}

/// Writes to stdout as it is, and sends it on its way.
pub(crate) fn data(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    written(write!(stdout, "{text}").and_then(|()| stdout.flush()))
}

/// Writes bytes to stdout as they are.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Writes one line to stdout.
pub(crate) fn line(text: impl fmt::Display) -> anyhow::Result<()> {
    data(format_args!("{text}\n"))
}

/// Writes one JSON document to stdout, indented for people, with a line end.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(document)?)
}

/// Says one thing to the person in front: on stderr, where it disturbs no program that reads the data.
pub(crate) fn say(text: impl fmt::Display) {
    // A closed stderr has nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Something the person should know and may want to change; the command goes on.
pub(crate) fn warn(text: impl fmt::Display) {
    say(format_args!("{} {text}", Style::stderr().strong("warning:")));
}

/// Text that came from elsewhere, with everything that could steer a terminal replaced.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Emphasis, when the stream is a terminal and `NO_COLOR` is unset or empty (<https://no-color.org>).
#[derive(Clone, Copy)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// For text on stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: io::stderr().is_terminal() && emphasis_wanted() }
    }

    /// Bold: the words at the start of a line that say what it is.
    pub(crate) fn strong(self, text: &str) -> String {
        if self.on { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether the person wants emphasis at all.
pub(crate) fn emphasis_wanted() -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(plain("pump\u{1b}[2J\u{7}\n1 °C"), "pump\u{fffd}[2J\u{fffd}\u{fffd}1 °C");
    }

    #[test]
    fn a_reader_that_left_is_told_from_a_full_disk() {
        let left = written(Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
        assert!(left.is::<Closed>());
        let full = written(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.is::<NotWritten>());
    }
}
