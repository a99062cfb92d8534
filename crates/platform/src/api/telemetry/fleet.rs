//! Questions to many devices at once, for operators.

use axum::Json;
use axum::extract::State as Extract;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_store::StoreError;

use super::super::caller::Caller;
use super::super::problem::{Problem, Query};
use super::super::{State, blocking};
use super::question::Question;
use super::range::shown_buckets;
use super::shown_latest;

/// Devices in one answer, unless asked otherwise, and at most.
const DEVICES: (usize, usize) = (100, 1000);

#[derive(Deserialize)]
pub(in crate::api) struct Page {
    metric: Option<Box<str>>,
    after: Option<DeviceId>,
    limit: Option<usize>,
}

/// `GET /telemetry/latest`: the newest values of the devices behind `after`, in the order of ids.
pub(in crate::api) async fn latest(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let limit = page.limit.unwrap_or(DEVICES.0).clamp(1, DEVICES.1);
    let telemetry = state.telemetry.clone();
    let devices =
        blocking(move || Ok::<_, StoreError>(telemetry.latest_all(page.after.as_ref(), limit, page.metric.as_deref())))
            .await?;
    let next = if devices.len() < limit { None } else { devices.last().map(|(id, _)| id.clone()) };
    let devices: Vec<_> = devices
        .iter()
        .map(|(id, latest)| json!({"device_id": id, "latest": latest.iter().map(shown_latest).collect::<Vec<_>>()}))
        .collect();
    Ok(Json(json!({"devices": devices, "next": next})))
}

/// `GET /telemetry/aggregate`: one metric of some devices, or of all, in buckets or in one.
pub(in crate::api) async fn aggregate(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(question): Query<Question>,
) -> Result<Response, Problem> {
    caller.viewer()?;
    let query = question.single()?;
    let (format, aggregates) = (question.format_of_few()?, question.aggregates()?);
    let devices = question.devices()?;
    let (telemetry, metric) = (state.telemetry.clone(), query.metric.clone());
    let asked = devices.clone();
    let buckets = blocking(move || telemetry.aggregate(asked.as_deref(), &query)).await?;
    let about = json!({"metric": metric, "devices": devices});
    Ok(shown_buckets(about, buckets, &aggregates, question.limit(), format))
}

impl Question {
    /// In the buckets that were asked for, or in one.
    fn single(&self) -> Result<tesaiot_store::telemetry::BucketQuery, Problem> {
        let range = self.range(Timestamp::now())?;
        self.needs_metric("aggregate")?;
        self.buckets(&range, self.bucket())
    }

    /// The devices that were asked for; none for all.
    fn devices(&self) -> Result<Option<Vec<DeviceId>>, Problem> {
        let Some(devices) = &self.devices else {
            return Ok(None);
        };
        let parse = |id: &str| {
            DeviceId::new(id).map_err(|_| Problem::invalid("'devices' are device ids with commas between them"))
        };
        devices.split(',').map(parse).collect::<Result<_, _>>().map(Some)
    }
}
