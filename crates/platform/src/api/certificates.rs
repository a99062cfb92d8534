//! Certificates of devices: asked for by the devices themselves, or by operators for them; and the tokens with which a
//! new device asks for its first.

use std::time::Duration;

use axum::extract::{FromRequestParts, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tesaiot_contract::secret::{EnrolmentToken as Token, KeyKind};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_store::registry::{EnrolmentToken, NotCertified};
use tesaiot_tls::CertificateSummary;

use super::caller::{Address, By, Caller, credential};
use super::payload::{self, Signing};
use super::problem::{Path, Problem};
use super::{State, blocking};
use crate::enrolment::{self, EnrolmentError, Right};

/// How long a token is good unless asked otherwise, and at most, in seconds.
const TOKEN_SECONDS: (u64, u64) = (24 * 3600, 30 * 24 * 3600);
/// The form of a chain without JSON around it (RFC 8555, section 9.1).
const CHAIN: &str = "application/pem-certificate-chain";

/// Who asks for a certificate. The key of the request may be all there is to say.
pub(super) struct Asker(Who);

enum Who {
    Known(Caller),
    Token(Secret),
    Nobody,
}

impl FromRequestParts<State> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        if super::caller::Shown::of(parts).is_none() {
            match credential(&parts.headers) {
                Some(text) if KeyKind::of(&text) == Some(KeyKind::Enrolment) => {
                    let token = Token::parse(&text).ok_or_else(Problem::unauthorized)?;
                    return Ok(Self(Who::Token(token.secret)));
                }
                // A credential that cannot be read is not none.
                None if !parts.headers.contains_key("x-api-key")
                    && !parts.headers.contains_key(header::AUTHORIZATION) =>
                {
                    return Ok(Self(Who::Nobody));
                }
                _ => {}
            }
        }
        Caller::from_request_parts(parts, state).await.map(|caller| Self(Who::Known(caller)))
    }
}

impl Asker {
    fn right(self, id: &DeviceId) -> Result<Right, Problem> {
        match self.0 {
            Who::Token(token) => Ok(Right::Token(token)),
            Who::Nobody => Ok(Right::ExpiredKey),
            Who::Known(Caller::Device { id: own, by }) if own == *id => Ok(match by {
                By::Certificate(serial) => Right::Certificate(serial),
                By::Key(credential) => Right::Secret(credential),
            }),
            Who::Known(caller) => Err(caller.device(Some(id)).err().unwrap_or_else(Problem::unauthorized)),
        }
    }
}

/// `POST /devices/{id}/csr`: a certificate for a key that the device made.
pub(super) async fn request(
    Extract(state): Extract<State>,
    Extension(Address(address)): Extension<Address>,
    asker: Asker,
    Path(id): Path<DeviceId>,
    headers: HeaderMap,
    body: Signing,
) -> Result<Response, Problem> {
    let right = asker.right(&id)?;
    // Whoever is not known to be the device must not silence what is said of the device itself, or of others.
    let source = match right {
        Right::Token(_) | Right::ExpiredKey => address.to_string(),
        _ => id.to_string(),
    };
    certify(&state, &id, (right, &source), &headers, &body).await
}

/// `POST /devices/{id}/certificate/sign-csr`: the same, by an operator.
pub(super) async fn sign(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    headers: HeaderMap,
    body: Signing,
) -> Result<Response, Problem> {
    let actor = caller.operator()?;
    certify(&state, &id, (Right::Operator(actor.to_owned()), actor), &headers, &body).await
}

async fn certify(
    state: &State,
    id: &DeviceId,
    (right, source): (Right, &str),
    headers: &HeaderMap,
    body: &Signing,
) -> Result<Response, Problem> {
    let is_operator = matches!(right, Right::Operator(_));
    let csr = match &body.0 {
        Ok(bytes) => enrolment::read(id, bytes),
        Err(_) => Err(tesaiot_pki::RequestError::TooLarge { limit: enrolment::MAX_BYTES }.into()),
    };
    let answered = match csr {
        Ok(csr) => state.enrolment.certify(id, csr, right, source).await,
        Err(error) => Err(error),
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(EnrolmentError::Refused(NotCertified::NoSuchDevice)) if is_operator => {
            return Err(Problem::no_such_device(id.as_str()));
        }
        Err(error) => return Err(error.into()),
    };
    let status = if answer.again { StatusCode::OK } else { StatusCode::CREATED };
    let wants_chain = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| {
        accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == CHAIN))
    });
    if wants_chain {
        return Ok((status, [(header::CONTENT_TYPE, CHAIN)], answer.chain_pem).into_response());
    }
    let mut shown = shown_chain(state, id, &answer.chain_pem);
    shown["again"] = answer.again.into();
    Ok((status, Json(shown)).into_response())
}

/// A chain, and what a device needs beside it.
fn shown_chain(state: &State, id: &DeviceId, chain_pem: &str) -> Value {
    let provisioning = &state.provisioning;
    let leaf = CertificateSummary::all_from_pem(chain_pem).ok().and_then(|mut chain| chain.drain(..).next());
    json!({
        "success": true,
        "device_id": id,
        "certificate": chain_pem,
        "ca_chain": provisioning.authority.trust_chain_pem(),
        "serial": leaf.as_ref().map(|leaf| enrolment::hexadecimal(&leaf.serial)),
        "not_before": leaf.as_ref().map(|leaf| leaf.not_before.to_string()),
        "not_after": leaf.as_ref().map(|leaf| leaf.not_after.to_string()),
        "endpoints": provisioning.endpoints_for_certificate(),
    })
}

/// `POST /devices/{id}/certificate/issue` and `…/renew`: a new key and its certificate, made here. The key is shown this
/// once. The certificate before it stays good until its end.
pub(super) async fn issue(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<impl IntoResponse, Problem> {
    let actor = caller.operator()?;
    let issued = state.provisioning.issue(&id).await?;
    state.incidents.operator(actor, "certificate.issue", id.as_str(), "allowed").await;
    let mut shown = shown_chain(&state, &id, &issued.chain_pem);
    shown["private_key"] = issued.key_pem.as_ref().map(Secret::expose).into();
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(shown)))
}

#[derive(Deserialize)]
pub(super) struct MakeToken {
    lifetime_seconds: Option<u64>,
}

fn shown_token(token: &EnrolmentToken) -> Value {
    json!({
        "number": token.number,
        "device_id": token.device,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.to_string(),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
        "used_at": token.used_at.map(|at| at.to_string()),
    })
}

/// `POST /devices/{id}/enrolment-tokens`: shown this once.
pub(super) async fn make_token(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
    payload::Json(asked): payload::Json<MakeToken>,
) -> Result<impl IntoResponse, Problem> {
    let actor = caller.operator()?;
    let seconds = asked.lifetime_seconds.unwrap_or(TOKEN_SECONDS.0);
    if !(1..=TOKEN_SECONDS.1).contains(&seconds) {
        return Err(Problem::invalid(format!("lifetime_seconds is 1 to {} (30 days)", TOKEN_SECONDS.1)));
    }
    state.device(&id).await?;
    let (registry, of) = (state.provisioning.registry.clone(), id.clone());
    let lifetime = Duration::from_secs(seconds);
    let (token, secret) = blocking(move || registry.create_enrolment_token(&of, lifetime, Timestamp::now())).await?;
    state.incidents.operator(actor, "enrolment-token.create", id.as_str(), "allowed").await;
    let authority = state.provisioning.authority_fingerprint();
    let whole = Token { device: id, secret, authority: Some(authority) }.to_secret();
    let mut shown = shown_token(&token);
    shown["token"] = whole.expose().into();
    shown["ca_fingerprint"] = enrolment::hexadecimal(&authority).into();
    shown["api_base_url"] = state.provisioning.endpoints.api_base_url.clone().into();
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(shown)))
}

/// `GET /devices/{id}/enrolment-tokens`: all of them, those that are over too.
pub(super) async fn tokens(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    caller.viewer()?;
    state.device(&id).await?;
    let registry = state.provisioning.registry.clone();
    let tokens = blocking(move || registry.enrolment_tokens(&id)).await?;
    Ok(Json(json!({"tokens": tokens.iter().map(shown_token).collect::<Vec<_>>()})))
}

/// `DELETE /devices/{id}/enrolment-tokens`: none that was not used is good any more.
pub(super) async fn revoke_tokens(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<Value>, Problem> {
    let actor = caller.operator()?;
    state.device(&id).await?;
    let (registry, of) = (state.provisioning.registry.clone(), id.clone());
    let revoked = blocking(move || registry.revoke_enrolment_tokens(&of, Timestamp::now())).await?;
    state.incidents.operator(actor, "enrolment-token.revoke", id.as_str(), "allowed").await;
    Ok(Json(json!({"success": true, "device_id": id, "revoked": revoked})))
}

impl From<EnrolmentError> for Problem {
    fn from(error: EnrolmentError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        let status = match error {
            EnrolmentError::Registry(error) => return error.into(),
            EnrolmentError::Issue(error) => return Self::internal(&error),
            EnrolmentError::Interrupted => return Self::internal(&EnrolmentError::Interrupted),
            EnrolmentError::Request(tesaiot_pki::RequestError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            EnrolmentError::NoRequest | EnrolmentError::WrongDevice | EnrolmentError::Request(_) => {
                StatusCode::BAD_REQUEST
            }
            EnrolmentError::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            // The same for a device that is not there: who has no token learns nothing.
            EnrolmentError::Refused(NotCertified::NoSuchDevice | NotCertified::TokenUnknown) => {
                return Self::unauthorized();
            }
            EnrolmentError::Refused(NotCertified::KeyUnknown) => StatusCode::UNAUTHORIZED,
            EnrolmentError::Refused(_) => StatusCode::FORBIDDEN,
        };
        Self::new(status, code, detail)
    }
}
