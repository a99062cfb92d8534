//! The live feed: samples as they are stored, over a WebSocket.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Extract;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tesaiot_contract::DeviceId;
use tokio::sync::broadcast::error::RecvError;

use super::State;
use super::caller::Caller;
use super::problem::Problem;
use super::telemetry::value;
use crate::ingest::Stored;

/// Longest message a watcher may send, in bytes.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// How often a watcher's right to watch is looked at again.
const CHECK: Duration = Duration::from_secs(30);
/// How long a watcher may take to read one message before it is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a watcher says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Request {
    /// Which devices; none means all.
    Subscribe {
        #[serde(default, rename = "deviceIds")]
        device_ids: HashSet<DeviceId>,
    },
}

/// `GET /ws/telemetry`.
pub(super) async fn feed(
    Extract(state): Extract<State>,
    caller: Caller,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    caller.viewer()?;
    let Ok(place) = Arc::clone(&state.feeds).try_acquire_owned() else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_feeds", "too many live feeds are open"));
    };
    Ok(upgrade.max_message_size(MAX_MESSAGE_BYTES).on_upgrade(async move |socket| {
        watch(&state, &headers, socket).await;
        drop(place);
    }))
}

/// `None`: not subscribed yet. An empty set: all devices.
type Wanted = Option<HashSet<DeviceId>>;

async fn watch(state: &State, headers: &HeaderMap, mut socket: WebSocket) {
    let mut live = state.ingest.live();
    let mut check = tokio::time::interval(CHECK);
    let mut wanted: Wanted = None;
    loop {
        let answer = tokio::select! {
            () = state.stop.cancelled() => return,
            // A login that ended or a token that was taken back ends the feed too.
            _ = check.tick() => match Caller::of(headers, state).await {
                Ok(Some(caller)) if caller.viewer().is_ok() => None,
                _ => return,
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Text(text))) => Some(subscribe(&text, &mut wanted)),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => None,
            },
            stored = live.recv(), if wanted.is_some() => match stored {
                Ok(stored) => is_wanted(&wanted, &stored).then(|| shown(&stored)),
                Err(RecvError::Lagged(missed)) => Some(json!({"type": "missed", "count": missed})),
                Err(RecvError::Closed) => return,
            },
        };
        if let Some(answer) = answer {
            let sent = tokio::time::timeout(WRITE_TIMEOUT, socket.send(Message::text(answer.to_string())));
            if !matches!(sent.await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn subscribe(text: &str, wanted: &mut Wanted) -> Value {
    match serde_json::from_str(text) {
        Ok(Request::Subscribe { device_ids }) => {
            let answer = json!({"type": "subscribed", "deviceIds": device_ids});
            *wanted = Some(device_ids);
            answer
        }
        Err(error) => json!({"type": "error", "message": format!("not understood: {error}")}),
    }
}

fn is_wanted(wanted: &Wanted, stored: &Arc<Stored>) -> bool {
    wanted.as_ref().is_some_and(|devices| devices.is_empty() || devices.contains(&stored.device))
}

fn shown(stored: &Stored) -> Value {
    let mut data = Map::new();
    let mut units = Map::new();
    for metric in &stored.sample.metrics {
        data.insert(metric.name.to_string(), value(&metric.value));
        if let Some(unit) = &metric.unit {
            units.insert(metric.name.to_string(), (&**unit).into());
        }
    }
    json!({
        "type": "device_telemetry",
        "deviceId": stored.device,
        "telemetryType": stored.kind,
        "data": data,
        "units": units,
        "timestamp": stored.sample.time.unwrap_or(stored.received_at).to_string(),
        "received_at": stored.received_at.to_string(),
        "stored_at": stored.stored_at.to_string(),
    })
}
