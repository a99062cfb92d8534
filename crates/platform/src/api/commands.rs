//! Commands and configurations for a device: sent, listed, and what became of them.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_contract::topic::CommandName;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{Command, CommandKind, CommandState};

use super::caller::Caller;
use super::payload;
use super::problem::{Path, Problem, Query};
use super::{State, blocking};
use crate::commands::{NotOrdered, Order};

/// How long a command may wait for its device, unless said otherwise, and at most: an hour, a year.
const EXPIRES: (u64, u64) = (3600, 366 * 86_400);
/// Commands of one answer, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 500);
/// Names that are topics of their own below `commands/`.
const TAKEN: [&str; 3] = ["ack", "csr", "certificate"];

#[derive(Deserialize)]
pub(super) struct Send {
    #[serde(alias = "command")]
    name: String,
    #[serde(default, alias = "params", alias = "parameters")]
    arguments: Map<String, Value>,
    expires_in_seconds: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
}

/// `POST /devices/{id}/commands`: 202, and where it is from then on.
pub(super) async fn send(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    payload::Json(send): payload::Json<Send>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.operator()?.to_owned();
    let name = CommandName::new(&send.name).ok().filter(|name| !TAKEN.contains(&name.as_str()));
    let Some(name) = name else {
        return Err(Problem::invalid("name is one level of a topic, and not a topic of its own"));
    };
    let expires = send.expires_in_seconds.unwrap_or(EXPIRES.0);
    if !(1..=EXPIRES.1).contains(&expires) {
        return Err(Problem::invalid(format!("expires_in_seconds is a number from 1 to {}", EXPIRES.1)));
    }
    let action = format!("command.send {name}");
    let order = Order {
        device: id.clone(),
        kind: CommandKind::Command,
        name,
        arguments: Value::Object(send.arguments).to_string(),
        actor: actor.clone(),
        expires_in: Some(Duration::from_secs(expires)),
    };
    let command = give(&state, order).await?;
    state.incidents.operator(&actor, &action, id.as_str(), "allowed").await;
    Ok((StatusCode::ACCEPTED, Json(shown(&command))))
}

/// `GET /devices/{id}/commands`: newest first.
pub(super) async fn list(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let (registry, asked) = (state.provisioning.registry.clone(), id.clone());
    let limit = page.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let commands = blocking(move || registry.commands(&asked, limit)).await?;
    Ok(Json(json!({"device_id": id, "commands": commands.iter().map(shown).collect::<Vec<_>>()})))
}

/// `GET /devices/{id}/commands/{command}`: where one is.
pub(super) async fn show(
    Extract(state): Extract<State>,
    caller: Caller,
    Path((id, command)): Path<(DeviceId, String)>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    let registry = state.provisioning.registry.clone();
    let found = blocking(move || registry.command(&id, &command)).await?;
    let none = || Problem::new(StatusCode::NOT_FOUND, "no_such_command", "there is no such command of this device");
    found.map(|command| Json(shown(&command))).ok_or_else(none)
}

/// `GET /devices/{id}/config`: what the device is to work by, and whether it does.
pub(super) async fn config(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    state.device(&id).await?;
    let (registry, asked) = (state.provisioning.registry.clone(), id.clone());
    let found = blocking(move || registry.device_configuration(&asked)).await?;
    Ok(Json(match found {
        Some(command) => configured(&command),
        None => json!({"device_id": id, "config": {}, "status": null}),
    }))
}

/// `PUT /devices/{id}/config`: it replaces what was set before, and waits for a device that is away.
pub(super) async fn set_config(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    payload::Json(config): payload::Json<Map<String, Value>>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.operator()?.to_owned();
    let name = CommandName::new("set-config").map_err(|error| Problem::internal(&error))?;
    let arguments = Value::Object(config).to_string();
    let kind = CommandKind::Configuration;
    let order = Order { device: id.clone(), kind, name, arguments, actor: actor.clone(), expires_in: None };
    let command = give(&state, order).await?;
    state.incidents.operator(&actor, "device.config", id.as_str(), "allowed").await;
    Ok((StatusCode::ACCEPTED, Json(configured(&command))))
}

async fn give(state: &State, order: Order) -> Result<Command, Problem> {
    let commands = state.commands.clone();
    let device = order.device.clone();
    match blocking(move || Ok::<_, StoreError>(commands.order(order))).await? {
        Ok(command) => Ok(command),
        Err(NotOrdered::Registry(StoreError::NotFound { .. })) => Err(Problem::no_such_device(device.as_str())),
        Err(NotOrdered::Registry(error @ StoreError::Invalid { .. })) => {
            Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_commands", error.to_string()))
        }
        Err(NotOrdered::Registry(error)) => Err(error.into()),
        Err(error @ NotOrdered::Random) => Err(Problem::internal(&error)),
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn shown(command: &Command) -> Value {
    json!({
        "command_id": command.id,
        "device_id": command.device,
        "name": command.name,
        "arguments": json_of(&command.arguments),
        "status": command.state.as_str(),
        "final": command.state.is_final(),
        "created_by": command.actor,
        "created_at": command.created_at.to_string(),
        "expires_at": command.expires_at.map(|at| at.to_string()),
        "sent_at": command.sent_at.map(|at| at.to_string()),
        "answered_at": command.answered_at.map(|at| at.to_string()),
        "error": command.error,
        "result": command.result.as_deref().map(json_of),
    })
}

fn configured(command: &Command) -> Value {
    json!({
        "device_id": command.device,
        "config": json_of(&command.arguments),
        "status": command.state.as_str(),
        "in_force": command.state == CommandState::Done,
        "set_by": command.actor,
        "set_at": command.created_at.to_string(),
        "answered_at": command.answered_at.map(|at| at.to_string()),
        "error": command.error,
    })
}
