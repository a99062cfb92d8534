//! Tokens with which programs use this interface: made, listed, taken back. For administrators.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_store::registry::{OperatorToken, Role, TokenId};

use super::caller::Caller;
use super::payload;
use super::problem::{Path, Problem};
use super::{State, blocking};

/// Characters of a token's name.
const MAX_NAME: usize = 100;

#[derive(Deserialize)]
pub(super) struct Create {
    name: String,
    role: String,
}

fn shown(token: &OperatorToken) -> Value {
    json!({
        "token_id": token.id.0,
        "name": token.name,
        "role": token.role.as_str(),
        "created_at": token.created_at.to_string(),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
    })
}

/// Whether a token may be called this.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("a name has 1 to {MAX_NAME} characters and no control characters")));
    }
    Ok(())
}

/// `POST /tokens`: the token is shown this once.
pub(super) async fn create(
    Extract(state): Extract<State>,
    caller: Caller,
    payload::Json(create): payload::Json<Create>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.admin()?;
    let Some(role) = Role::parse(&create.role) else {
        return Err(Problem::invalid("role is 'viewer', 'operator' or 'admin'"));
    };
    check_name(&create.name)?;
    let registry = state.provisioning.registry.clone();
    let (token, secret) = blocking(move || registry.create_token(&create.name, role, Timestamp::now())).await?;
    state.incidents.operator(actor, "token.create", &subject(&token), "allowed").await;
    let mut answer = shown(&token);
    answer["token"] = secret.expose().into();
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /tokens`: all of them, those that were taken back too.
pub(super) async fn list(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.admin()?;
    let registry = state.provisioning.registry.clone();
    let tokens = blocking(move || registry.list_tokens()).await?;
    Ok(Json(json!({"tokens": tokens.iter().map(shown).collect::<Vec<_>>()})))
}

/// `DELETE /tokens/{id}`: refused from the next request on.
pub(super) async fn revoke(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let actor = caller.admin()?;
    let registry = state.provisioning.registry.clone();
    blocking(move || registry.revoke_token(TokenId(id), Timestamp::now())).await?;
    state.incidents.operator(actor, "token.revoke", &id.to_string(), "allowed").await;
    Ok(StatusCode::NO_CONTENT)
}

/// For the audit log: which one, and what it may do.
fn subject(token: &OperatorToken) -> String {
    format!("{} {} ({})", token.id.0, token.name, token.role.as_str())
}
