//! Tokens with which applications read topics over MQTT: made, listed, taken back. For administrators.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_mqtt::topic;
use tesaiot_store::registry::{MqttToken, TokenId};

use super::caller::Caller;
use super::payload;
use super::problem::{Path, Problem};
use super::tokens::check_name;
use super::{State, blocking};
use crate::applications;

/// Topic filters of one token, and bytes of each.
const MAX_TOPICS: (usize, usize) = (50, 512);
/// Characters of the organization in a token.
const MAX_ORGANIZATION: usize = 32;

#[derive(Deserialize)]
pub(super) struct Create {
    name: String,
    topics: Vec<String>,
    organization: Option<String>,
}

fn shown(token: &MqttToken) -> Value {
    json!({
        "token_id": token.id.0,
        "name": token.name,
        "organization": token.organization,
        "topics": token.topics,
        "created_at": token.created_at.to_string(),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
    })
}

/// `POST /mqtt-tokens`: the token is shown this once.
pub(super) async fn create(
    Extract(state): Extract<State>,
    caller: Caller,
    payload::Json(create): payload::Json<Create>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = caller.admin()?;
    check_name(&create.name)?;
    let organization = create.organization.unwrap_or_else(|| state.organization.to_string());
    if !is_organization(&organization) {
        return Err(Problem::invalid(format!("an organization has 1 to {MAX_ORGANIZATION} of a-z, 0-9 and -")));
    }
    if !(1..=MAX_TOPICS.0).contains(&create.topics.len()) || !create.topics.iter().all(|topic| is_grant(topic)) {
        return Err(Problem::invalid(format!(
            "topics are 1 to {} topic filters below device/, say device/+/telemetry/#",
            MAX_TOPICS.0
        )));
    }
    let registry = state.provisioning.registry.clone();
    let made = move || registry.create_mqtt_token(&create.name, &organization, &create.topics, Timestamp::now());
    let (token, secret) = blocking(made).await?;
    let subject = format!("{} {} ({})", token.id.0, token.name, token.topics.join(" "));
    state.incidents.operator(actor, "mqtt-token.create", &subject, "allowed").await;
    let mut answer = shown(&token);
    answer["token"] = secret.expose().into();
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /mqtt-tokens`: all of them, those that were taken back too.
pub(super) async fn list(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.admin()?;
    let registry = state.provisioning.registry.clone();
    let tokens = blocking(move || registry.list_mqtt_tokens()).await?;
    Ok(Json(json!({"tokens": tokens.iter().map(shown).collect::<Vec<_>>()})))
}

/// `DELETE /mqtt-tokens/{id}`: whoever is connected with it is not any more.
pub(super) async fn revoke(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let actor = caller.admin()?;
    let (registry, broker) = (state.provisioning.registry.clone(), state.provisioning.broker.clone());
    blocking(move || applications::revoke(&registry, &broker, TokenId(id))).await?;
    state.incidents.operator(actor, "mqtt-token.revoke", &id.to_string(), "allowed").await;
    Ok(StatusCode::NO_CONTENT)
}

/// The platform's organization as the word in a token: the platform's name for people may have more in it.
pub(super) fn organization(name: &str) -> String {
    let word: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let word: String = word.trim_matches('-').chars().take(MAX_ORGANIZATION).collect();
    if word.is_empty() { "tesaiot".into() } else { word }
}

fn is_organization(word: &str) -> bool {
    (1..=MAX_ORGANIZATION).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// What may be granted: topics of devices.
fn is_grant(filter: &str) -> bool {
    filter.len() <= MAX_TOPICS.1
        && !filter.chars().any(char::is_control)
        && topic::is_valid_filter(filter)
        && ["device/#", "devices/#"].iter().any(|all| topic::covers(all, filter))
        && !["device", "devices"].contains(&filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_topics_of_devices() {
        for good in ["device/#", "device/+/telemetry/#", "devices/+/status", "device/pump-7/events/door"] {
            assert!(is_grant(good), "{good}");
        }
        for bad in ["", "#", "+/pump-7/status", "$SYS/#", "$share/a/device/#", "device", "device/a#", "device/a\nb"] {
            assert!(!is_grant(bad), "{bad}");
        }
        assert!(!is_grant(&format!("device/{}", "a".repeat(600))));
    }

    #[test]
    fn an_organization_is_a_word() {
        for (name, word) in [("tesaiot", "tesaiot"), ("Ward 7, North", "ward-7--north"), ("โรงพยาบาล", "tesaiot")]
        {
            assert_eq!(organization(name), word);
            assert!(is_organization(word));
        }
        assert!(!is_organization("a_b") && !is_organization(""));
    }
}
