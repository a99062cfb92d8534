//! What anybody may ask.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State;
use super::problem::Problem;

const PEM: &str = "application/x-pem-file";

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

/// `GET /ca/root` and `GET /ca/intermediate`: as PEM.
pub(super) async fn root(Extract(state): Extract<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PEM)], state.provisioning.authority.root_pem().to_owned())
}

pub(super) async fn intermediate(Extract(state): Extract<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PEM)], state.provisioning.authority.intermediate_pem().to_owned())
}

/// `GET /ca/crl`: which certificates are taken back, for verifiers that are not this platform.
pub(super) async fn revocation_list(Extract(state): Extract<State>) -> Result<impl IntoResponse, Problem> {
    let list = state.revocations.list(&state.provisioning).await?;
    Ok(([(header::CONTENT_TYPE, "application/pkix-crl")], list.der.clone()))
}

/// `GET /ca/crl.pem`: the same as PEM.
pub(super) async fn revocation_list_pem(Extract(state): Extract<State>) -> Result<impl IntoResponse, Problem> {
    let list = state.revocations.list(&state.provisioning).await?;
    Ok(([(header::CONTENT_TYPE, PEM)], list.pem.clone()))
}

/// `GET /certificates/public/ca-certificate`: the trust anchor. Whoever fetches it over an unverified connection must
/// compare its fingerprint by another way.
pub(super) async fn ca_certificate(Extract(state): Extract<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PEM)], state.provisioning.authority.trust_chain_pem())
}
