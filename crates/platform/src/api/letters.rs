//! Dead letters and events: what was received and is no sample.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_contract::{DeviceId, DeviceTopic};
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{DeadLetter, DeadLetterQuery, DeadLetterSummary, MessageQuery, StoredMessage};

use super::caller::Caller;
use super::problem::{Path, Problem, Query};
use super::{State, blocking};
use crate::ingest::replay::{ReplayError, Replayed};

/// On one page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);
/// Payload bytes that are read and committed together when letters are replayed.
const REPLAYED_TOGETHER: usize = 4 << 20;

/// Which dead letters: those older than `before`, newest first.
#[derive(Deserialize)]
pub(super) struct Letters {
    device_id: Option<DeviceId>,
    code: Option<Box<str>>,
    before: Option<u64>,
    limit: Option<usize>,
}

/// `GET /dead-letters`: what could not be understood, newest first. Payloads are shown as their size only.
pub(super) async fn list(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(asked): Query<Letters>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let limit = asked.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let query = DeadLetterQuery { device: asked.device_id, code: asked.code, before: asked.before, limit: limit + 1 };
    let telemetry = state.telemetry.clone();
    let mut letters = blocking(move || telemetry.dead_letters(&query)).await?;
    let has_more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().filter(|_| has_more).map(|last| last.number);
    let counts = state.telemetry.counts();
    Ok(Json(json!({
        "dead_letters": letters.iter().map(shown_letter).collect::<Vec<_>>(),
        "next": next,
        "total": counts.dead_letters,
        "dropped": counts.dead_letters_dropped,
    })))
}

/// `GET /dead-letters/{number}`: one with its payload.
pub(super) async fn show(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(number): Path<u64>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let letter = letter(&state, number).await?;
    let DeadLetter { number, device, topic, received_at, payload, code, reason } = letter;
    let payload_bytes = payload.len() as u64;
    let summary = DeadLetterSummary { number, device, topic, received_at, payload_bytes, code, reason };
    let mut shown = shown_letter(&summary);
    show_payload(&mut shown, &payload);
    Ok(Json(shown))
}

/// `POST /dead-letters/{number}/replay`: read it again by the rules of today; stored and removed in one commit, or
/// left as it is, with the reason.
pub(super) async fn replay(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(number): Path<u64>,
) -> Result<Json<Value>, Problem> {
    let actor = caller.operator()?;
    let letter = letter(&state, number).await?;
    let mut answers = state.ingest.replay(vec![letter], &state.batch_limits).await?;
    match answers.pop() {
        Some((_, Replayed::Stored { entries, duplicates, values })) => {
            state.incidents.operator(actor, "dead-letter.replay", &number.to_string(), "allowed").await;
            let done = json!({
                "success": true, "number": number, "entries": entries, "duplicates": duplicates, "values": values,
            });
            Ok(Json(done))
        }
        Some((_, Replayed::Refused(unreadable))) => {
            let detail = format!("it is still not understood: {unreadable}");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, unreadable.code(), detail))
        }
        Some((_, Replayed::Gone)) | None => Err(no_such_letter(number)),
    }
}

/// Which dead letters to replay: those behind `after`, oldest first.
#[derive(Deserialize)]
pub(super) struct Replays {
    device_id: Option<DeviceId>,
    code: Option<Box<str>>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// `POST /dead-letters/replay`: as many as `limit` at a time, oldest first; `next` says where to go on.
pub(super) async fn replay_many(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(asked): Query<Replays>,
) -> Result<Json<Value>, Problem> {
    let actor = caller.operator()?;
    let limit = asked.limit.unwrap_or(PAGE.1).clamp(1, PAGE.1);
    let query = DeadLetterQuery { device: asked.device_id, code: asked.code, before: None, limit };
    let (telemetry, after) = (state.telemetry.clone(), asked.after.unwrap_or(0));
    let numbers = blocking(move || telemetry.dead_letter_numbers(after, &query)).await?;
    let next = numbers.last().copied().filter(|_| numbers.len() == limit);
    let mut done = Done::default();
    let mut left = numbers.into_iter().peekable();
    while left.peek().is_some() {
        let telemetry = state.telemetry.clone();
        let loaded = blocking(move || {
            let (mut letters, mut bytes, mut damaged) = (Vec::new(), 0, 0_u64);
            while bytes < REPLAYED_TOGETHER
                && let Some(number) = left.next()
            {
                match telemetry.dead_letter(number) {
                    Ok(Some(letter)) => {
                        bytes += letter.payload.len();
                        letters.push(letter);
                    }
                    Ok(None) => {}
                    // One that is damaged does not hold up the others.
                    Err(StoreError::Corrupt { .. }) => damaged += 1,
                    Err(error) => return Err(error),
                }
            }
            Ok((letters, damaged, left))
        });
        let (letters, damaged, rest) = loaded.await?;
        left = rest;
        done.damaged += damaged;
        for (_, replayed) in state.ingest.replay(letters, &state.batch_limits).await? {
            done.add(&replayed);
        }
    }
    if done.replayed > 0 {
        state.incidents.operator(actor, "dead-letter.replay", &format!("{} letters", done.replayed), "allowed").await;
    }
    Ok(Json(json!({
        "success": true,
        "replayed": done.replayed,
        "refused": done.refused,
        "damaged": done.damaged,
        "entries": done.entries,
        "duplicates": done.duplicates,
        "values": done.values,
        "next": next,
    })))
}

#[derive(Default)]
struct Done {
    replayed: u64,
    refused: u64,
    damaged: u64,
    entries: usize,
    duplicates: usize,
    values: u64,
}

impl Done {
    fn add(&mut self, replayed: &Replayed) {
        match replayed {
            Replayed::Stored { entries, duplicates, values } => {
                self.replayed += 1;
                self.entries += entries;
                self.duplicates += duplicates;
                self.values += values;
            }
            Replayed::Refused(_) => self.refused += 1,
            Replayed::Gone => {}
        }
    }
}

/// Which events: those older than `before`, newest first.
#[derive(Deserialize)]
pub(super) struct Events {
    before: Option<u64>,
    limit: Option<usize>,
}

/// `GET /devices/{id}/events`: what it sent to `events/#`, newest first.
pub(super) async fn events(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    Query(asked): Query<Events>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let limit = asked.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let (telemetry, device) = (state.telemetry.clone(), id.clone());
    let (events, next) = blocking(move || page_of_events(&telemetry, &device, asked.before, limit)).await?;
    let events: Vec<Value> = events.iter().map(shown_event).collect();
    Ok(Json(json!({"device_id": id, "events": events, "next": next})))
}

fn page_of_events(
    telemetry: &tesaiot_store::Telemetry,
    device: &DeviceId,
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<StoredMessage>, Option<u64>), StoreError> {
    let topic = DeviceTopic::events(device, None).to_string();
    // Either name of the base may have been used, and messages are kept by the name that was.
    let prefixes = [topic.clone(), topic.replacen("device/", "devices/", 1)];
    let (mut events, mut complete_from) = (Vec::new(), 0);
    for prefix in prefixes {
        let query =
            MessageQuery { device: Some(device.clone()), topic_prefix: Some(prefix.into()), before, limit: limit + 1 };
        let found = telemetry.messages(&query)?;
        let bytes: usize = found.iter().map(|message| message.payload.len()).sum();
        // A page that was cut short says nothing of what is older than its last message.
        if let Some(last) = found.last()
            && (found.len() > limit || bytes >= MessageQuery::MAXIMUM_PAGE_BYTES)
        {
            complete_from = complete_from.max(last.number);
        }
        events.extend(found);
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.number));
    events.retain(|event| event.number >= complete_from);
    let has_more = complete_from > 0 || events.len() > limit;
    events.truncate(limit);
    let next = events.last().filter(|_| has_more).map(|last| last.number);
    Ok((events, next))
}

async fn letter(state: &State, number: u64) -> Result<DeadLetter, Problem> {
    let telemetry = state.telemetry.clone();
    blocking(move || telemetry.dead_letter(number)).await?.ok_or_else(|| no_such_letter(number))
}

fn no_such_letter(number: u64) -> Problem {
    let detail = format!("there is no dead letter {number}: it was replayed, or dropped for newer ones");
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn shown_letter(letter: &DeadLetterSummary) -> Value {
    json!({
        "number": letter.number,
        "device_id": letter.device,
        "topic": letter.topic,
        "received_at": letter.received_at.to_string(),
        "code": letter.code,
        "reason": letter.reason,
        "payload_bytes": letter.payload_bytes,
    })
}

fn shown_event(event: &StoredMessage) -> Value {
    let mut shown = json!({
        "number": event.number,
        "topic": event.topic,
        "received_at": event.received_at.to_string(),
    });
    show_payload(&mut shown, &event.payload);
    shown
}

/// A payload as what it is: JSON, text, or bytes in hexadecimal.
fn show_payload(shown: &mut Value, payload: &[u8]) {
    let (name, value) = match (serde_json::from_slice::<Value>(payload), std::str::from_utf8(payload)) {
        (Ok(document), _) => ("payload", document),
        (_, Ok(text)) => ("payload_text", text.into()),
        _ => {
            let digits = payload.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let text: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
            ("payload_hex", text.into())
        }
    };
    shown[name] = value;
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unavailable(unavailable) => unavailable.into(),
            ReplayError::Store(error) => error.into(),
        }
    }
}
