//! The last commands and what became of them, on disk, so that a restart answers truthfully.
//!
//! `commands.json` is a list of answers, oldest first, replaced as a whole: commands are rare and few are kept. A crash
//! leaves the list before or after the change. An entry that says `received` at the start of the program belongs to a
//! command that the end of the last run cut off.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Answer, State};
use crate::state_file;

/// How many commands are remembered: more than a platform hands over at once, which is 100.
const KEPT: usize = 256;
/// How many there may be at all, with those whose answer the broker does not have. More than these are only reached by a
/// flood that is not answered; the oldest is given up then.
const MOST: usize = 1024;
/// Longest result that is kept with its answer, in bytes of JSON; a longer one is answered once and not again.
const MOST_RESULT: usize = 4 * 1024;

/// One command.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    answer: Answer,
    /// The broker has the final answer
    #[serde(default)]
    told: bool,
}

/// What is known of an identifier.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// Nothing: the command is new.
    New,
    /// It came before, and this became of it so far.
    Before(Box<Answer>),
}

/// The commands of the past.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    path: Option<PathBuf>,
    entries: VecDeque<Entry>,
}

impl Journal {
    /// Reads the journal in `directory`; without one, commands are remembered in memory alone. A damaged journal is an
    /// empty one: it is better to run a command twice than to be out of reach.
    pub(crate) fn open(directory: Option<&Path>) -> Self {
        let path = directory.map(|directory| directory.join("commands.json"));
        let text = path.as_ref().and_then(|path| fs::read(path).ok());
        let entries = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, entries }
    }

    /// What is known of a command.
    pub(crate) fn look_up(&self, id: &str) -> Known {
        match self.entries.iter().rev().find(|entry| entry.answer.id.as_deref() == Some(id)) {
            Some(entry) => Known::Before(Box::new(entry.answer.clone())),
            None => Known::New,
        }
    }

    /// Keeps where a command is, durably. Answers without an identifier are not kept.
    ///
    /// # Errors
    /// The disk refuses; the command is kept in memory.
    pub(crate) fn keep(&mut self, answer: &Answer) -> io::Result<()> {
        if answer.id.is_none() {
            return Ok(());
        }
        let mut kept = answer.clone();
        if kept.result.as_ref().is_some_and(|result| result.to_string().len() > MOST_RESULT) {
            kept.result = None;
        }
        match self.entries.iter_mut().find(|entry| entry.answer.id == kept.id) {
            Some(entry) => entry.answer = kept,
            None => self.entries.push_back(Entry { answer: kept, told: false }),
        }
        while self.entries.len() > KEPT {
            let told = self.entries.iter().position(|entry| entry.told);
            match told {
                Some(index) => drop(self.entries.remove(index)),
                None if self.entries.len() > MOST => drop(self.entries.pop_front()),
                None => break,
            }
        }
        self.write()
    }

    /// The broker has this answer.
    pub(crate) fn told(&mut self, answer: &Answer) {
        let same = |entry: &&mut Entry| entry.answer.id == answer.id && entry.answer.status == answer.status;
        if let Some(entry) = self.entries.iter_mut().find(same)
            && answer.status != State::Received
        {
            entry.told = true;
            // Not durable at once: told a second time after a crash, an answer is the same answer.
        }
    }

    /// Final answers that the broker may not have.
    pub(crate) fn untold(&self) -> Vec<Answer> {
        let untold = self.entries.iter().filter(|entry| !entry.told && entry.answer.status != State::Received);
        untold.map(|entry| entry.answer.clone()).collect()
    }

    /// Commands that the end of the last run cut off.
    pub(crate) fn cut_off(&self) -> Vec<Answer> {
        let open = self.entries.iter().filter(|entry| entry.answer.status == State::Received);
        open.map(|entry| entry.answer.clone()).collect()
    }

    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let json = serde_json::to_vec(&self.entries).map_err(io::Error::other)?;
        state_file::replace(path, &json)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn answer(id: &str, status: State) -> Answer {
        Answer::new("ping", Some(id), status, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_became_of_a_command_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(Some(folder.path()));
        assert_eq!(journal.look_up("a"), Known::New);
        journal.keep(&answer("a", State::Received)).unwrap();
        journal.keep(&answer("a", State::Done)).unwrap();
        journal.keep(&answer("b", State::Received)).unwrap();
        let mut long = answer("c", State::Done);
        long.result = Some(json!("x".repeat(5000)));
        journal.keep(&long).unwrap();
        journal.told(&answer("c", State::Done));
        journal.keep(&Answer::new("ping", None, State::Done, Timestamp::UNIX_EPOCH)).unwrap();

        let journal = Journal::open(Some(folder.path()));
        assert_eq!(journal.look_up("a"), Known::Before(Box::new(answer("a", State::Done))));
        assert_eq!(journal.look_up("c"), Known::Before(Box::new(answer("c", State::Done))), "without its long result");
        assert_eq!(journal.cut_off(), [answer("b", State::Received)]);
        assert_eq!(journal.untold().len(), 2, "told again rather than not at all");
        fs::write(folder.path().join("commands.json"), "[{").unwrap();
        assert_eq!(Journal::open(Some(folder.path())).look_up("a"), Known::New);
    }

    #[test]
    fn few_are_kept_and_none_goes_before_it_is_told() {
        let mut journal = Journal::open(None);
        let last = KEPT + 100;
        for number in 0..=last {
            journal.keep(&answer(&number.to_string(), State::Done)).unwrap();
        }
        assert_eq!(journal.untold().len(), last + 1, "all of them are to be told");
        for number in 0..last {
            journal.told(&answer(&number.to_string(), State::Done));
        }
        journal.keep(&answer("next", State::Received)).unwrap();
        assert_eq!((journal.entries.len(), journal.untold().len()), (KEPT, 1));
        assert_eq!((journal.look_up("0"), journal.look_up("101")), (Known::New, Known::New));
        assert!(matches!(journal.look_up(&last.to_string()), Known::Before(_)));
        for number in 0..2 * MOST {
            journal.keep(&answer(&format!("flood {number}"), State::Done)).unwrap();
        }
        assert_eq!(journal.entries.len(), MOST);
    }
}
