//! Telemetry: sent by devices, asked for by operators.

mod arrow;
pub(super) mod fleet;
mod question;
mod range;
mod stream;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Limits;
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{Latest, Point};

use super::caller::Caller;
use super::payload::{Payload, TooLarge};
use super::problem::{Path, Problem};
use super::{State, blocking};
use crate::ingest::Body;

pub(super) use range::range;

type Answer = Result<(StatusCode, Json<Value>), Problem>;

/// `POST /telemetry`.
pub(super) async fn post(Extract(state): Extract<State>, caller: Caller, payload: Payload) -> Answer {
    let device = caller.device(None)?;
    store(&state, &device, payload, Body::Message, &state.limits).await
}

/// `POST /devices/{id}/telemetry`.
pub(super) async fn post_for_device(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    payload: Payload,
) -> Answer {
    let device = caller.device(Some(&id))?;
    store(&state, &device, payload, Body::Message, &state.limits).await
}

/// `POST /telemetry/batch`: `{"telemetry":[…]}`, up to 1000 samples, stored together or not at all.
pub(super) async fn post_batch(Extract(state): Extract<State>, caller: Caller, payload: Payload) -> Answer {
    let device = caller.device(None)?;
    store(&state, &device, payload, Body::Batch, &state.batch_limits).await
}

async fn store(
    state: &State,
    device: &DeviceId,
    payload: Payload,
    form: impl FnOnce(Bytes) -> Body,
    limits: &Limits,
) -> Answer {
    let body = match payload.0 {
        Ok(bytes) => form(bytes),
        Err(TooLarge { actual, limit, start }) => Body::TooLarge { actual, limit, start },
    };
    let accepted = state.ingest.request(device, body, limits).await?;
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

fn shown_point(point: Point<'_>) -> Value {
    json!({
        "metric": point.series.metric,
        "value": value(point.value),
        "unit": point.series.unit,
        "time": point.time.to_string(),
        "received_at": point.received_at.to_string(),
        "type": point.series.kind,
    })
}

fn shown_latest(latest: &Latest) -> Value {
    json!({
        "metric": latest.series.metric,
        "value": value(&latest.value),
        "unit": latest.series.unit,
        "time": latest.time.to_string(),
        "received_at": latest.received_at.to_string(),
        "type": latest.series.kind,
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
