//! The body of a request, read within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::Problem;
use super::{MAX_BODY_BYTES, State};

/// How long a whole body may take: a socket that is left half-said is not kept.
const READ_TIME: Duration = Duration::from_secs(30);
/// Largest JSON body of an operator's request, in bytes.
const MAX_JSON_BYTES: usize = 64 * 1024;
/// How much of a body that is too large is read and dropped, and for how long. A connection that is closed while its
/// client still sends is reset, and the reset overtakes the answer that says why.
const DROPPED: (usize, Duration) = (64 * 1024 * 1024, Duration::from_secs(10));

/// A whole body of at most [`MAX_BODY_BYTES`].
pub(super) struct Payload(pub(super) Bytes);

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl FromRequest<State> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        read(request.into_body(), MAX_BODY_BYTES).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let bytes = read(request.into_body(), MAX_JSON_BYTES).await?;
        // The error of the parser says where, and repeats no value of a secret field.
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::invalid(format!("the body is not what this path takes: {error}")))
    }
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + READ_TIME;
    let mut read = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", format!("the body took longer than {READ_TIME:?}"))
        })?;
        let Some(frame) = frame else { return Ok(read.into()) };
        let frame = frame.map_err(|_| Problem::invalid("the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            let _ = timeout(DROPPED.1, drop_rest(body)).await;
            let detail = format!("a request body has at most {limit} bytes here");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail));
        }
        read.extend_from_slice(&data);
    }
}

async fn drop_rest(mut body: Body) {
    let mut left = DROPPED.0;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.into_data().map_or(0, |data| data.len());
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
