//! The body of a request, read within bounds.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::BodyExt;

use super::problem::Problem;
use super::{MAX_BODY_BYTES, State};

/// How much of a body that is too large is read and dropped, and for how long. A connection that is closed while its
/// client still sends is reset, and the reset overtakes the answer that says why.
const DROPPED: (usize, Duration) = (64 * 1024 * 1024, Duration::from_secs(10));

/// A whole body of at most [`MAX_BODY_BYTES`].
pub(super) struct Payload(pub(super) Bytes);

impl FromRequest<State> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let mut body = request.into_body();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::invalid("the body ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > MAX_BODY_BYTES {
                let _ = tokio::time::timeout(DROPPED.1, drop_rest(body)).await;
                let detail = format!("a request body has at most {MAX_BODY_BYTES} bytes");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail));
            }
            read.extend_from_slice(&data);
        }
        Ok(Self(read.into()))
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
