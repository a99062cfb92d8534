//! What anybody may ask.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State;

/// `GET /health`: whether the platform serves, and since it serves only what it can store, whether it stores.
pub(super) async fn health(Extract(state): Extract<State>) -> (StatusCode, Json<Value>) {
    let storing = state.ingest.is_storing();
    let code = if storing { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (ingest, broker) = (state.ingest.counters(), state.provisioning.broker.counters());
    let broker: serde_json::Map<_, _> =
        broker.entries().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let answer = json!({
        "status": if storing { "ok" } else { "not storing" },
        "version": env!("CARGO_PKG_VERSION"),
        "ingest": ingest.to_json(),
        "broker": broker,
        "refusals": state.incidents.counted(),
    });
    (code, Json(answer))
}

/// `GET /certificates/public/ca-certificate`: the trust anchor. Whoever fetches it over an unverified connection must
/// compare its fingerprint by another way.
pub(super) async fn ca_certificate(Extract(state): Extract<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], state.provisioning.authority.trust_chain_pem())
}
