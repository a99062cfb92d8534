//! The body of a request, read within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
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

/// What is kept of a telemetry body that is too large, in bytes: enough to see what it was.
const KEPT: usize = 64 * 1024;

/// A body of telemetry, whole up to [`MAX_BODY_BYTES`]. What is larger is handed on as well: it belongs into the
/// dead-letter store.
pub(super) struct Payload(pub(super) Result<Bytes, TooLarge>);

/// A body that was too large.
#[derive(Debug)]
pub(super) struct TooLarge {
    /// Bytes that the client announced, or sent as far as they were read.
    pub(super) actual: u64,
    /// Bytes that are read at most.
    pub(super) limit: usize,
    /// Its beginning.
    pub(super) start: Bytes,
}

impl From<TooLarge> for Problem {
    fn from(too_large: TooLarge) -> Self {
        let detail = format!("a request body has at most {} bytes here", too_large.limit);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    }
}

/// A body with a certificate signing request.
pub(super) struct Signing(pub(super) Result<Bytes, TooLarge>);

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl FromRequest<State> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        read(request, MAX_BODY_BYTES).await.map(Self)
    }
}

impl FromRequest<State> for Signing {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        read(request, crate::enrolment::MAX_BYTES).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let bytes = read(request, MAX_JSON_BYTES).await??;
        // The error of the parser says where, and repeats no value of a secret field.
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::invalid(format!("the body is not what this path takes: {error}")))
    }
}

async fn read(request: Request, limit: usize) -> Result<Result<Bytes, TooLarge>, Problem> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    let deadline = Instant::now() + READ_TIME;
    let mut read = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", format!("the body took longer than {READ_TIME:?}"))
        })?;
        let Some(frame) = frame else { return Ok(Ok(read.into())) };
        let frame = frame.map_err(|_| Problem::invalid("the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            let mut sent = (read.len() + data.len()) as u64;
            read.extend_from_slice(&data[..data.len().min(KEPT.saturating_sub(read.len()))]);
            read.truncate(KEPT);
            read.shrink_to_fit();
            let _ = timeout(DROPPED.1, drop_rest(body, &mut sent)).await;
            return Ok(Err(TooLarge { actual: announced.unwrap_or(sent), limit, start: read.into() }));
        }
        read.extend_from_slice(&data);
    }
}

/// Reads on, and counts in `sent`.
async fn drop_rest(mut body: Body, sent: &mut u64) {
    let mut left = DROPPED.0;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.into_data().map_or(0, |data| data.len());
        *sent += size as u64;
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
