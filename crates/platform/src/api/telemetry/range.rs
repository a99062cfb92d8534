//! Stored points of one device: as they came, in buckets, or in as many as a plot has room for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_store::telemetry::{Algorithm, Bucket, BucketQuery, RangeQuery};

use super::super::caller::Caller;
use super::super::problem::{Path, Problem, Query};
use super::super::{State, blocking};
use super::question::{Aggregate, Format, Kind, Question, shown_bucket};
use super::{shown_point, stream};

/// `GET /devices/{id}/telemetry`.
pub(in crate::api) async fn range(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    Query(question): Query<Question>,
) -> Result<Response, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let query = question.range(Timestamp::now())?;
    let format = question.format()?;
    match question.kind(&query)? {
        Kind::Points if format == Format::Json || query.newest_first => {
            points(&state, id, query, question.limit(), format).await
        }
        Kind::Points => export(&state, &id, &query, format),
        Kind::Buckets(buckets) => in_buckets(&state, id, buckets, &question, question.format_of_few()?).await,
        Kind::Plot(points, algorithm) => plot(&state, id, query, (points, algorithm), question.format_of_few()?).await,
    }
}

/// All points, as they are read.
fn export(state: &State, id: &DeviceId, query: &RangeQuery, format: Format) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&state.exports).try_acquire_owned() else {
        let detail = "too many exports are being read; try again when one has ended";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_exports", detail));
    };
    Ok(stream::points(state.telemetry.export(id, query), id, format, place))
}

async fn points(
    state: &State,
    id: DeviceId,
    query: RangeQuery,
    limit: usize,
    format: Format,
) -> Result<Response, Problem> {
    let query = RangeQuery { limit: limit + 1, ..query };
    let (telemetry, asked) = (state.telemetry.clone(), id.clone());
    let mut points = blocking(move || telemetry.range(&asked, &query)).await?;
    let truncated = points.len() > limit;
    points.truncate(limit);
    if format != Format::Json {
        return Ok(stream::read_points(&points, &id, format));
    }
    let points: Vec<_> = points.iter().map(shown_point).collect();
    Ok(Json(json!({"device_id": id, "points": points, "truncated": truncated})).into_response())
}

async fn in_buckets(
    state: &State,
    id: DeviceId,
    query: BucketQuery,
    question: &Question,
    format: Format,
) -> Result<Response, Problem> {
    let aggregates = question.aggregates()?;
    let (telemetry, asked, metric) = (state.telemetry.clone(), id.clone(), query.metric.clone());
    let buckets = blocking(move || telemetry.buckets(&asked, &query)).await?;
    let about = json!({"device_id": id, "metric": metric});
    Ok(shown_buckets(about, buckets, &aggregates, question.limit(), format))
}

/// Buckets in the form that was asked for; `about` says whose they are.
pub(super) fn shown_buckets(
    mut about: Value,
    mut buckets: Vec<Bucket>,
    aggregates: &[(&'static str, Aggregate)],
    limit: usize,
    format: Format,
) -> Response {
    let truncated = buckets.len() > limit;
    buckets.truncate(limit);
    if format != Format::Json {
        return stream::buckets(&buckets, aggregates, format);
    }
    about["buckets"] = buckets.iter().map(|bucket| shown_bucket(bucket, aggregates)).collect();
    about["truncated"] = truncated.into();
    Json(about).into_response()
}

async fn plot(
    state: &State,
    id: DeviceId,
    query: RangeQuery,
    (points, algorithm): (usize, Algorithm),
    format: Format,
) -> Result<Response, Problem> {
    let (telemetry, asked, metric) = (state.telemetry.clone(), id.clone(), query.metric.clone());
    let chosen = blocking(move || telemetry.downsample(&asked, &query, points, algorithm)).await?;
    if format != Format::Json {
        return Ok(stream::plot(&chosen, format));
    }
    let chosen: Vec<_> =
        chosen.iter().map(|point| json!({"time": point.time.to_string(), "value": point.value})).collect();
    let algorithm = match algorithm {
        Algorithm::Lttb => "lttb",
        Algorithm::MinMax => "minmax",
    };
    Ok(Json(json!({"device_id": id, "metric": metric, "algorithm": algorithm, "plot": chosen})).into_response())
}
