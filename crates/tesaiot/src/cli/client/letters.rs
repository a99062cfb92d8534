//! What was received and is no sample: dead letters and events; and what was not received: gaps.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tesaiot_contract::DeviceId;

use super::Client;
use super::error::ClientError;

/// A message that could not be understood.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Letter {
    pub(crate) number: u64,
    pub(crate) device_id: Option<String>,
    /// Empty when it was not read
    pub(crate) topic: String,
    pub(crate) received_at: String,
    /// A stable word for the reason
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) payload_bytes: u64,
    #[serde(flatten)]
    pub(crate) payload: Payload,
}

/// Bytes as what they are; absent from lists.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Payload {
    #[serde(rename = "payload", default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    #[serde(rename = "payload_text", default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(rename = "payload_hex", default, skip_serializing_if = "Option::is_none")]
    hexadecimal: Option<String>,
}

/// Some of the dead letters, newest first.
#[derive(Debug, Deserialize)]
pub(crate) struct Letters {
    pub(crate) dead_letters: Vec<Letter>,
    /// Where the next page begins; none on the last
    pub(crate) next: Option<u64>,
    /// Letters kept
    pub(crate) total: u64,
    /// Letters dropped for newer ones
    pub(crate) dropped: u64,
}

/// What became of dead letters.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Replayed {
    /// Letters that are stored now, and no dead letters any more
    #[serde(default)]
    pub(crate) replayed: u64,
    /// Letters that are still not understood
    #[serde(default)]
    pub(crate) refused: u64,
    /// Letters that cannot be read
    #[serde(default)]
    pub(crate) damaged: u64,
    /// Samples or messages they held
    pub(crate) entries: u64,
    /// Those of them that had come on another way
    pub(crate) duplicates: u64,
    /// Metric values stored
    pub(crate) values: u64,
    #[serde(default, skip_serializing)]
    pub(crate) next: Option<u64>,
}

/// One message of a device, kept as it came.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) topic: String,
    pub(crate) received_at: String,
    #[serde(flatten)]
    pub(crate) payload: Payload,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
    /// Where the next page begins; none on the last
    pub(crate) next: Option<u64>,
}

/// What is missing of one run of a device.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) boot: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// First and last of each range
    pub(crate) missing: Vec<(u64, u64)>,
}

#[derive(Debug, Deserialize)]
struct Gaps {
    boots: Vec<Run>,
}

type Query<'a> = [(&'a str, &'a str)];

impl Client {
    pub(crate) fn dead_letters(&self, query: &Query<'_>) -> Result<Letters, ClientError> {
        self.get("/dead-letters", query)
    }

    /// One, with its payload.
    pub(crate) fn dead_letter(&self, number: u64) -> Result<Letter, ClientError> {
        self.get(&format!("/dead-letters/{number}"), &[])
    }

    /// One, read again by the rules of today.
    pub(crate) fn replay(&self, number: u64) -> Result<Replayed, ClientError> {
        let done: Replayed = self.read(self.post(&format!("/dead-letters/{number}/replay"))?)?;
        Ok(Replayed { replayed: 1, ..done })
    }

    /// Some, oldest first; [`Replayed::next`] says where to go on.
    pub(crate) fn replay_some(&self, query: &Query<'_>) -> Result<Replayed, ClientError> {
        let request = self.agent.post(self.path("/dead-letters/replay")).query_pairs(query.iter().copied());
        self.read(self.answer(request.header("Authorization", self.bearer()).send_empty())?)
    }

    pub(crate) fn gaps(&self, id: &DeviceId) -> Result<Vec<Run>, ClientError> {
        self.get::<Gaps>(&format!("/devices/{id}/gaps"), &[]).map(|gaps| gaps.boots)
    }

    pub(crate) fn events(&self, id: &DeviceId, query: &Query<'_>) -> Result<Events, ClientError> {
        self.get(&format!("/devices/{id}/events"), query)
    }
}

impl Replayed {
    /// With those of another call.
    #[must_use]
    pub(crate) fn and(self, more: &Self) -> Self {
        Self {
            replayed: self.replayed + more.replayed,
            refused: self.refused + more.refused,
            damaged: self.damaged + more.damaged,
            entries: self.entries + more.entries,
            duplicates: self.duplicates + more.duplicates,
            values: self.values + more.values,
            next: more.next,
        }
    }
}

impl Payload {
    /// On one line.
    pub(crate) fn line(&self) -> String {
        match (&self.json, &self.text, &self.hexadecimal) {
            (Some(json), ..) => json.to_string(),
            (None, Some(text), _) => text.clone(),
            (None, None, Some(hexadecimal)) => format!("0x{hexadecimal}"),
            (None, None, None) => String::new(),
        }
    }

    /// On as many lines as it takes.
    pub(crate) fn lines(&self) -> String {
        match &self.json {
            Some(json) => serde_json::to_string_pretty(json).unwrap_or_else(|_| json.to_string()),
            None => self.line(),
        }
    }
}

/// A query with what was given of it.
pub(crate) fn given<'a>(pairs: &'a [(&'a str, Option<String>)]) -> Vec<(&'a str, &'a str)> {
    pairs.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect()
}

/// A JSON object, for tests and for nothing else.
#[cfg(test)]
pub(crate) fn read<T: serde::de::DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_shown_as_what_it_is_and_handed_on_as_it_came() {
        for (document, line) in [
            (json!({"payload": {"n": [1]}}), r#"{"n":[1]}"#),
            (json!({"payload_text": "not json"}), "not json"),
            (json!({"payload_hex": "ff01"}), "0xff01"),
            (json!({}), ""),
        ] {
            let payload: Payload = read(document.clone());
            assert_eq!((payload.line(), serde_json::to_value(&payload).unwrap()), (line.to_owned(), document));
        }
    }
}
