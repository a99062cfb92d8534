//! Who is connected to the broker, and which sessions wait for their clients.

use axum::Json;
use axum::extract::State as Extract;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_broker::SessionSummary;

use super::State;
use super::caller::Caller;
use super::problem::{Problem, Query};

/// On one page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// Those behind the client identifier `after`.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: String,
    limit: Option<usize>,
}

/// `GET /broker/clients`: connections, in the order of client identifiers.
pub(super) async fn clients(state: Extract<State>, caller: Caller, page: Query<Page>) -> Result<Json<Value>, Problem> {
    list(&state, &caller, page.0, true).await
}

/// `GET /broker/sessions`: sessions, with a connection or without, in the order of client identifiers.
pub(super) async fn sessions(state: Extract<State>, caller: Caller, page: Query<Page>) -> Result<Json<Value>, Problem> {
    list(&state, &caller, page.0, false).await
}

async fn list(state: &State, caller: &Caller, page: Page, only_connected: bool) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let limit = page.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let broker = state.provisioning.broker.clone();
    // A hundred thousand sessions are looked through: not beside connections.
    let found = tokio::task::spawn_blocking(move || broker.sessions(&page.after, limit + 1, only_connected)).await;
    let mut found = found.map_err(|error| Problem::internal(&error))?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.client_id.to_string());
    let now = Timestamp::now();
    let shown: Vec<Value> = found.iter().map(|session| shown(session, now)).collect();
    let name = if only_connected { "clients" } else { "sessions" };
    Ok(Json(json!({name: shown, "next": next})))
}

fn shown(session: &SessionSummary, now: Timestamp) -> Value {
    let moment = |span: Option<SignedDuration>| Some(now.checked_add(span?).ok()?.to_string());
    let signed = |duration: std::time::Duration| SignedDuration::try_from(duration).ok();
    let connection = session.connection.as_ref();
    json!({
        "client_id": &*session.client_id,
        "connected": connection.is_some(),
        "address": connection.map(|connection| connection.address.to_string()),
        "listener": connection.map(|connection| &*connection.listener),
        "protocol": connection.map(|connection| connection.version.to_string()),
        "connected_at": moment(connection.and_then(|connection| signed(connection.duration()).map(|span| -span))),
        "expires_at": moment(session.expires_in.and_then(signed)),
        "subscriptions": session.subscriptions,
        "queued": session.queued,
        "queued_bytes": session.queued_bytes,
    })
}
