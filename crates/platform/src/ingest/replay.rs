//! Dead letters, read again by the rules of today.
//!
//! What is understood now is stored as if it came at the time it came, and its letter is removed, in one commit of the
//! writer thread: a letter is stored once, however many operators replay it at a time. What is not stays where it is.

use tesaiot_contract::DeviceTopic;
use tesaiot_contract::telemetry::{Limits, PayloadError};
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{Appended, DeadLetter, Outcome, Replay};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Ingest, REQUEST_PATIENCE, Unavailable, Waiting, entries};

/// What became of one dead letter.
#[derive(Debug)]
pub(crate) enum Replayed {
    /// It is stored, and no dead letter any more.
    Stored {
        /// Samples or messages it held.
        entries: usize,
        /// Those of them that had arrived on another way already.
        duplicates: usize,
        /// Metric values stored.
        values: u64,
    },
    /// It was gone: replayed already, or dropped for newer ones.
    Gone,
    /// It is still not understood, and stays.
    Refused(Unreadable),
}

/// Why a dead letter stays one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("nothing that is stored is sent to its topic")]
    Topic,
    #[error("it was larger than is read, and only its beginning is here")]
    Cut,
}

impl Unreadable {
    /// A stable word.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Payload(error) => error.code(),
            Self::Topic => "unknown_topic",
            Self::Cut => "too_large_to_keep",
        }
    }
}

/// Why none of some letters could be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ingest {
    /// Replays dead letters together. The answers are in their order. `limits` are those of the largest message.
    pub(crate) async fn replay(
        &self,
        letters: Vec<DeadLetter>,
        limits: &Limits,
    ) -> Result<Vec<(u64, Replayed)>, ReplayError> {
        let mut answers = Vec::with_capacity(letters.len());
        let (mut replays, mut size) = (Vec::new(), 0);
        for letter in letters {
            let (number, bytes) = (letter.number, letter.payload.len());
            // Only a batch by HTTP may be larger than a message, and it was not refused for its size.
            let limits = if &*letter.code == "payload_too_large" { &*self.limits } else { limits };
            match understand(letter, limits) {
                Ok(replay) => {
                    size += bytes;
                    replays.push(replay);
                    // Until the store has answered.
                    answers.push((number, Replayed::Gone));
                }
                Err(unreadable) => answers.push((number, Replayed::Refused(unreadable))),
            }
        }
        if replays.is_empty() {
            return Ok(answers);
        }
        let (answer, committed) = oneshot::channel();
        self.submit(Vec::new(), Waiting::Replay(replays, answer), size).await?;
        // Given up here it may still be done later, and asking again does no harm.
        let committed = timeout(REQUEST_PATIENCE, committed).await.map_err(|_| Unavailable)?;
        let mut outcomes = committed.map_err(|_| Unavailable)??.into_iter();
        for (_, replayed) in answers.iter_mut().filter(|(_, replayed)| matches!(replayed, Replayed::Gone)) {
            if let Some(Some(appended)) = outcomes.next() {
                *replayed = stored(&appended);
            }
        }
        Ok(answers)
    }
}

fn understand(letter: DeadLetter, limits: &Limits) -> Result<Replay, Unreadable> {
    if &*letter.code == "too_large_to_keep" {
        return Err(Unreadable::Cut);
    }
    let topic = DeviceTopic::parse(&letter.topic).ok().filter(DeviceTopic::is_published_by_device);
    let (Some(topic), Some(device)) = (topic, &letter.device) else {
        return Err(Unreadable::Topic);
    };
    // The topic's device was the sender's when it was received; a letter that says otherwise is not believed.
    if topic.device != *device {
        return Err(Unreadable::Topic);
    }
    // What came as a batch is read as one: its members would be metrics otherwise.
    let is_batch = &*letter.code == "not_a_batch";
    let payload = if is_batch { entries::of_batch(&letter.payload)?.0 } else { letter.payload };
    let (entries, understood) = entries::of_message(device, &topic, payload, letter.received_at, limits);
    understood?;
    Ok(Replay { letter: letter.number, entries })
}

fn stored(appended: &Appended) -> Replayed {
    let duplicates = appended.outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
    Replayed::Stored { entries: appended.outcomes.len(), duplicates, values: appended.values }
}
