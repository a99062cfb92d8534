//! `POST /auth/login`: a password for a token.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_contract::Secret;

use super::payload;
use super::problem::Problem;
use super::{State, blocking};

/// How long a login lasts.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

#[derive(Deserialize)]
pub(super) struct Login {
    email: String,
    password: Secret,
}

pub(super) async fn login(
    Extract(state): Extract<State>,
    payload::Json(login): payload::Json<Login>,
) -> Result<Json<Value>, Problem> {
    // Waiting here is what slows guessing down; the semaphore is never closed.
    let Ok(_turn) = state.password_checks.acquire().await else { return Err(Problem::unauthorized()) };
    let registry = state.provisioning.registry.clone();
    let email = login.email.clone();
    let verified = blocking(move || {
        let Some(user) = registry.verify_user(&email, login.password.expose())? else {
            return Ok::<_, tesaiot_store::StoreError>(None);
        };
        let token = registry.create_session(user.id, LIFETIME, Timestamp::now())?;
        Ok(Some((user, token)))
    });
    match verified.await? {
        Some((user, token)) => {
            state.incidents.operator(&format!("user:{}", user.email), "user.login", &user.email, "allowed").await;
            let expires_at = Timestamp::now() + LIFETIME;
            Ok(Json(json!({
                "success": true,
                "token": token.expose(),
                "access_token": token.expose(),
                "token_type": "Bearer",
                "expires_at": expires_at.to_string(),
                "user": {"email": user.email, "name": user.name, "role": user.role.as_str()},
            })))
        }
        None => {
            state.incidents.login_refused(&login.email);
            Err(Problem::new(StatusCode::UNAUTHORIZED, "bad_credentials", "wrong email or password"))
        }
    }
}
