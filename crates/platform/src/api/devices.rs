//! Devices: create, list, show, enable, disable, credentials.

use std::io::{Cursor, Write};

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle::Bundle;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{AuthMode, Device, NewDevice};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::caller::Caller;
use super::payload;
use super::problem::{Path, Problem, Query};
use super::{State, blocking};
use crate::provisioning::ProvisioningError;

/// Devices on one page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// Characters of a device's name for people.
const MAX_NAME: usize = 200;

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<DeviceId>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Create {
    device_id: DeviceId,
    #[serde(default)]
    name: String,
    auth_mode: Option<String>,
}

/// A device as the interface shows it.
fn shown(state: &State, device: &Device) -> Value {
    json!({
        "device_id": device.id,
        "name": device.name,
        "auth_mode": device.auth_mode.as_str(),
        "enabled": device.enabled,
        "online": state.presence.is_online(&device.id),
        "presence_changed_at": device.presence_at.map(|at| at.to_string()),
        "offline_cause": device.offline_cause,
        "connected": state.provisioning.broker.is_connected(device.id.as_str()),
        "created_at": device.created_at.to_string(),
        "last_seen_at": device.last_seen_at.map(|at| at.to_string()),
        "last_address": device.last_address,
    })
}

pub(super) async fn list(
    Extract(state): Extract<State>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    let limit = page.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let registry = state.provisioning.registry.clone();
    let found = blocking(move || {
        let devices = registry.list_devices(page.after.as_ref(), limit)?;
        Ok::<_, StoreError>((devices, registry.count_devices()?))
    });
    let (devices, total) = found.await?;
    let next = (devices.len() == limit).then(|| devices.last().map(|device| device.id.clone())).flatten();
    let devices: Vec<_> = devices.iter().map(|device| shown(&state, device)).collect();
    Ok(Json(json!({"devices": devices, "next": next, "total": total})))
}

pub(super) async fn create(
    Extract(state): Extract<State>,
    caller: Caller,
    payload::Json(create): payload::Json<Create>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.operator()?;
    let word = create.auth_mode.as_deref().unwrap_or("mtls").replace('_', "-");
    let Some(auth_mode) = AuthMode::parse(&word) else {
        return Err(Problem::invalid("auth_mode is 'mtls' or 'server-tls'"));
    };
    if create.name.chars().count() > MAX_NAME || create.name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("a name has at most {MAX_NAME} characters and no control characters")));
    }
    let new = NewDevice { id: create.device_id, name: create.name, auth_mode };
    let device = state.provisioning.create(new).await?;
    state.incidents.operator(actor, "device.create", device.id.as_str(), "allowed").await;
    Ok((StatusCode::CREATED, Json(shown(&state, &device))))
}

pub(super) async fn show(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    caller.may_read(&id)?;
    let device = state.device(&id).await?;
    Ok(Json(shown(&state, &device)))
}

pub(super) async fn remove(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<StatusCode, Problem> {
    let actor = caller.operator()?;
    state.provisioning.remove(&id).await?;
    state.incidents.operator(actor, "device.remove", id.as_str(), "allowed").await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn enable(state: Extract<State>, caller: Caller, id: Path<DeviceId>) -> Result<Json<Value>, Problem> {
    set_enabled(state, caller, id, true).await
}

pub(super) async fn disable(state: Extract<State>, caller: Caller, id: Path<DeviceId>) -> Result<Json<Value>, Problem> {
    set_enabled(state, caller, id, false).await
}

async fn set_enabled(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    enabled: bool,
) -> Result<Json<Value>, Problem> {
    let actor = caller.operator()?;
    let device = state.provisioning.set_enabled(&id, enabled).await?;
    let action = if enabled { "device.enable" } else { "device.disable" };
    state.incidents.operator(actor, action, id.as_str(), "allowed").await;
    Ok(Json(shown(&state, &device)))
}

pub(super) async fn rotate_api_key(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.operator()?;
    let (key, replaced) = state.provisioning.rotate_api_key(&id).await?;
    state.incidents.operator(actor, "device.rotate-key", id.as_str(), "allowed").await;
    let shown = json!({
        "success": true,
        "device_id": id,
        "api_key": key.expose(),
        "revoked_certificates": replaced.certificates,
        "revoked_enrolment_tokens": replaced.enrolment_tokens,
    });
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn revoke(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    let actor = caller.operator()?;
    let revoked = state.provisioning.revoke_certificates(&id).await;
    if matches!(revoked, Err(ProvisioningError::HasNoCertificate { enrolment_tokens: 1.., .. })) {
        state.incidents.operator(actor, "enrolment-token.revoke", id.as_str(), "allowed").await;
    }
    let revoked = revoked?;
    state.incidents.operator(actor, "certificate.revoke", id.as_str(), "allowed").await;
    Ok(Json(json!({"success": true, "device_id": id, "revoked": revoked})))
}

/// `POST …/bundle.zip`: fresh credentials. A POST because each call issues new ones.
pub(super) async fn bundle(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<impl IntoResponse, Problem> {
    let actor = caller.operator()?;
    let bundle = state.provisioning.issue_bundle(&id).await?;
    state.incidents.operator(actor, "device.bundle", id.as_str(), "allowed").await;
    let archive = zipped(&bundle).map_err(|error| Problem::internal(&error))?;
    let disposition = format!("attachment; filename=\"{id}.zip\"");
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, archive))
}

fn zipped(bundle: &Bundle) -> std::io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for file in bundle.files() {
        let options = SimpleFileOptions::default().unix_permissions(file.mode);
        archive.start_file(file.name, options)?;
        archive.write_all(file.contents.expose().as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}
