//! Dead letters that are understood today: stored as what they say, and removed, in one commit.

use rusqlite::OptionalExtension;

use super::append::Appender;
use super::entry::{Appended, Entry};
use super::shared::subtract;
use crate::error::{During, StoreError};

/// A dead letter, and what it is understood as today.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The number of the dead letter.
    pub letter: u64,
    /// What is stored in its place.
    pub entries: Vec<Entry>,
}

impl Appender {
    /// Stores what dead letters say and removes these letters, in one durable commit.
    ///
    /// A letter that is not there (replayed already, or dropped to stay within the bounds) stores
    /// nothing and answers `None`: each letter is stored once, however often it is replayed. A
    /// sample that arrived on another way too is a duplicate, as in [`Appender::append`].
    ///
    /// # Errors
    /// As [`Appender::append`]; nothing is changed then.
    pub fn replay(&mut self, replays: &[Replay]) -> Result<Vec<Option<Appended>>, StoreError> {
        let failed = |appender: &Self, source| StoreError::from_sqlite(appender.path(), During::Read, source);
        let (mut letters, mut bytes) = (Vec::new(), 0);
        let mut entries = Vec::new();
        // Where the entries of each letter are; nothing for a letter that is not there.
        let mut places = Vec::with_capacity(replays.len());
        for replay in replays {
            let letter = i64::try_from(replay.letter).unwrap_or(i64::MAX);
            let size = self.letter_bytes(letter).map_err(|source| failed(self, source))?;
            let Some(size) = size.filter(|_| !letters.contains(&letter)) else {
                places.push(None);
                continue;
            };
            letters.push(letter);
            bytes += size;
            places.push(Some(entries.len()..entries.len() + replay.entries.len()));
            entries.extend(replay.entries.iter().cloned());
        }
        let appended = self.append_in_place_of(&entries, &letters)?;
        subtract(&self.shared.totals.dead_letters, letters.len() as u64);
        subtract(&self.shared.totals.dead_letter_bytes, bytes);
        let answers = places.into_iter().map(|place| {
            let place = place?;
            let values = entries[place.clone()].iter().zip(&appended.outcomes[place.clone()]);
            let values = values.map(|(entry, outcome)| entry.values_if(*outcome)).sum();
            Some(Appended { outcomes: appended.outcomes[place].to_vec(), values })
        });
        Ok(answers.collect())
    }

    fn letter_bytes(&self, letter: i64) -> rusqlite::Result<Option<u64>> {
        self.connection
            .prepare_cached("SELECT length(payload) FROM dead_letter WHERE number = ?1")?
            .query_row([letter], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
            .optional()
    }
}
