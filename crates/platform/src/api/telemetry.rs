//! Telemetry: sent by devices, asked for by operators.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tesaiot_contract::telemetry::Limits;
use tesaiot_contract::{DeviceId, DeviceTopic};
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{Latest, Point, RangeQuery};

use super::caller::Caller;
use super::payload::Payload;
use super::problem::{Path, Problem, Query};
use super::{State, blocking};

/// Points in one answer, unless asked otherwise, and at most.
const POINTS: (usize, usize) = (1000, 100_000);
/// Dead letters in one answer, unless asked otherwise, and at most.
const DEAD_LETTERS: (usize, usize) = (100, 1000);

type Answer = Result<(StatusCode, Json<Value>), Problem>;

/// `POST /telemetry`.
pub(super) async fn post(Extract(state): Extract<State>, caller: Caller, payload: Payload) -> Answer {
    let device = caller.device(None)?;
    store(&state, &device, payload.0, &state.limits).await
}

/// `POST /devices/{id}/telemetry`.
pub(super) async fn post_for_device(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    payload: Payload,
) -> Answer {
    let device = caller.device(Some(&id))?;
    store(&state, &device, payload.0, &state.limits).await
}

async fn store(state: &State, device: &DeviceId, payload: Bytes, limits: &Limits) -> Answer {
    let topic = DeviceTopic::telemetry(device, None).to_string();
    let accepted = state.ingest.request(device, &topic, payload, limits).await?;
    state.presence.seen(device, None);
    Ok((
        StatusCode::CREATED,
        Json(json!({
            "success": true,
            "telemetry_id": accepted.id,
            "device_id": device,
            "timestamp": accepted.time.to_string(),
            "metrics_stored": accepted.metrics,
        })),
    ))
}

/// `{"telemetry":[…]}`, the elements not yet looked at.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    telemetry: &'a RawValue,
}

/// `POST /telemetry/batch`: up to 1000 samples, stored together or not at all.
pub(super) async fn post_batch(Extract(state): Extract<State>, caller: Caller, payload: Payload) -> Answer {
    let device = caller.device(None)?;
    let Payload(payload) = payload;
    let batch: Batch<'_> = serde_json::from_slice(&payload)
        .map_err(|error| Problem::invalid(format!("the body is not {{\"telemetry\": […]}}: {error}")))?;
    if !batch.telemetry.get().starts_with('[') {
        return Err(Problem::invalid("'telemetry' is an array of samples"));
    }
    let samples = payload.slice_ref(batch.telemetry.get().as_bytes());
    store(&state, &device, samples, &state.batch_limits).await
}

/// Which points: `since` or `from`/`to` (also `start_time`/`end_time`).
#[derive(Deserialize)]
pub(super) struct Range {
    metric: Option<Box<str>>,
    since: Option<String>,
    #[serde(alias = "start_time")]
    from: Option<Timestamp>,
    #[serde(alias = "end_time")]
    to: Option<Timestamp>,
    limit: Option<usize>,
    order: Option<String>,
}

impl Range {
    fn into_query(self, now: Timestamp) -> Result<RangeQuery, Problem> {
        let from = match (&self.since, self.from) {
            (Some(_), Some(_)) => return Err(Problem::invalid("give 'since' or 'from', not both")),
            (Some(since), None) => {
                let span = duration(since)
                    .ok_or_else(|| Problem::invalid("'since' is a number and a unit: 90s, 15m, 24h or 7d"))?;
                now.checked_sub(span).unwrap_or(Timestamp::MIN)
            }
            (None, from) => from.unwrap_or(Timestamp::MIN),
        };
        let newest_first = match self.order.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::invalid("'order' is 'asc' or 'desc'")),
        };
        let to = self.to.unwrap_or(Timestamp::MAX);
        if from >= to {
            return Err(Problem::invalid("'from' must be before 'to'"));
        }
        let limit = self.limit.unwrap_or(POINTS.0).clamp(1, POINTS.1);
        Ok(RangeQuery { metric: self.metric, from, to, limit, newest_first })
    }
}

/// A span of time: `90s`, `15m`, `24h`, `7d`.
fn duration(text: &str) -> Option<jiff::SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    Some(jiff::SignedDuration::from_secs(number.checked_mul(seconds)?))
}

/// `GET /devices/{id}/telemetry`.
pub(super) async fn range(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let mut query = range.into_query(Timestamp::now())?;
    let limit = query.limit;
    query.limit += 1;
    let (telemetry, asked) = (state.telemetry.clone(), id.clone());
    let mut points = blocking(move || telemetry.range(&asked, &query)).await?;
    let truncated = points.len() > limit;
    points.truncate(limit);
    let points: Vec<_> = points.iter().map(shown_point).collect();
    Ok(Json(json!({"device_id": id, "points": points, "truncated": truncated})))
}

/// `GET /devices/{id}/telemetry/latest`.
pub(super) async fn latest(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let (telemetry, asked) = (state.telemetry.clone(), id.clone());
    let latest = blocking(move || Ok::<_, StoreError>(telemetry.latest(&asked))).await?;
    let latest: Vec<_> = latest.iter().map(shown_latest).collect();
    Ok(Json(json!({"device_id": id, "latest": latest})))
}

/// `GET /devices/{id}/gaps`: per run of the device, what is missing of its sequence numbers.
pub(super) async fn gaps(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let (telemetry, asked) = (state.telemetry.clone(), id.clone());
    let boots: Vec<_> = blocking(move || Ok::<_, StoreError>(telemetry.gaps(&asked)))
        .await?
        .into_iter()
        .map(|boot| json!({"boot": boot.boot, "first": boot.first, "last": boot.last, "missing": boot.missing}))
        .collect();
    Ok(Json(json!({"device_id": id, "boots": boots})))
}

#[derive(Deserialize)]
pub(super) struct DeadLetters {
    limit: Option<usize>,
}

/// `GET /dead-letters`: what could not be understood, newest first. Payloads are shown as their size only.
pub(super) async fn dead_letters(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(query): Query<DeadLetters>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let limit = query.limit.unwrap_or(DEAD_LETTERS.0).clamp(1, DEAD_LETTERS.1);
    let telemetry = state.telemetry.clone();
    let letters: Vec<_> = blocking(move || telemetry.dead_letters(limit))
        .await?
        .into_iter()
        .map(|letter| {
            json!({
                "number": letter.number,
                "device_id": letter.device,
                "topic": letter.topic,
                "received_at": letter.received_at.to_string(),
                "code": letter.code,
                "reason": letter.reason,
                "payload_bytes": letter.payload.len(),
            })
        })
        .collect();
    Ok(Json(json!({"dead_letters": letters})))
}

fn shown_point(point: &Point) -> Value {
    json!({
        "metric": point.metric,
        "value": value(&point.value),
        "unit": point.unit,
        "time": point.time.to_string(),
        "received_at": point.received_at.to_string(),
        "type": point.kind,
    })
}

fn shown_latest(latest: &Latest) -> Value {
    json!({
        "metric": latest.metric,
        "value": value(&latest.value),
        "unit": latest.unit,
        "time": latest.time.to_string(),
        "received_at": latest.received_at.to_string(),
        "type": latest.kind,
    })
}

/// A metric's value as JSON.
pub(super) fn value(value: &tesaiot_contract::Value) -> Value {
    match value {
        tesaiot_contract::Value::Float(number) => (*number).into(),
        tesaiot_contract::Value::Integer(number) => (*number).into(),
        tesaiot_contract::Value::Bool(flag) => (*flag).into(),
        tesaiot_contract::Value::Text(text) => (&**text).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        assert_eq!(duration("15m"), Some(jiff::SignedDuration::from_mins(15)));
        assert_eq!(duration("7d"), Some(jiff::SignedDuration::from_hours(7 * 24)));
        for bad in ["", "m", "15", "-1m", "1w", "9999999999999999999d", "9223372036854775807d", "1ชม"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
