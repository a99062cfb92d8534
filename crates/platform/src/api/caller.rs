//! Who a request is from, and what that allows.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::secret::KeyKind;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{Registry, Role};

use super::problem::Problem;
use super::{State, blocking};

/// An authenticated caller. There is no way to get one but to be authenticated.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A device, by its API key.
    Device(DeviceId),
    /// A person or a token, with a role.
    Operator {
        /// For the audit log.
        name: String,
        /// What it may do.
        role: Role,
    },
}

impl Caller {
    /// For what devices do themselves: the device, when it is `id` or no id was said.
    pub(crate) fn device(&self, id: Option<&DeviceId>) -> Result<DeviceId, Problem> {
        match self {
            Self::Device(own) if id.is_none_or(|id| id == own) => Ok(own.clone()),
            Self::Device(_) => Err(Problem::forbidden("a device key reads and writes its own device only")),
            Self::Operator { .. } => Err(Problem::forbidden("telemetry is sent with the API key of its device")),
        }
    }

    /// For reading what belongs to one device: the device itself, or anybody with a role.
    pub(crate) fn may_read(&self, id: &DeviceId) -> Result<(), Problem> {
        match self {
            Self::Operator { .. } => Ok(()),
            Self::Device(_) => self.device(Some(id)).map(drop),
        }
    }

    /// For reading across devices. Returns the caller's name.
    pub(crate) fn viewer(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, .. } => Ok(name),
            Self::Device(_) => Err(Problem::forbidden("a device key reads and writes its own device only")),
        }
    }

    /// For changing devices. Returns the caller's name.
    pub(crate) fn operator(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, role: Role::Admin | Role::Operator } => Ok(name),
            Self::Operator { .. } => Err(Problem::forbidden("this needs the role operator or admin")),
            Self::Device(_) => Err(Problem::forbidden("a device key reads and writes its own device only")),
        }
    }
}

impl Caller {
    /// For deciding who may do what. Returns the caller's name.
    pub(crate) fn admin(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, role: Role::Admin } => Ok(name),
            Self::Operator { .. } => Err(Problem::forbidden("this needs the role admin")),
            Self::Device(_) => Err(Problem::forbidden("a device key reads and writes its own device only")),
        }
    }
}

impl FromRequestParts<State> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        match Self::of(&parts.headers, state).await? {
            Some(caller) => Ok(caller),
            None => {
                state.incidents.request_refused(parts.uri.path());
                Err(Problem::unauthorized())
            }
        }
    }
}

impl Caller {
    /// Who these headers say, as the registry knows it now; `None` for nobody.
    pub(super) async fn of(headers: &HeaderMap, state: &State) -> Result<Option<Self>, Problem> {
        let Some(credential) = credential(headers) else { return Err(Problem::unauthorized()) };
        let registry = state.provisioning.registry.clone();
        blocking(move || identify(&registry, &credential)).await
    }
}

/// The one credential of a request; `X-API-KEY` goes before `Authorization`.
fn credential(headers: &HeaderMap) -> Option<zeroize::Zeroizing<String>> {
    let text = match headers.get("x-api-key") {
        Some(key) => key.to_str().ok()?,
        None => {
            let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())?
        }
    };
    Some(zeroize::Zeroizing::new(text.to_owned()))
}

fn identify(registry: &Registry, credential: &str) -> Result<Option<Caller>, StoreError> {
    match KeyKind::of(credential) {
        Some(KeyKind::Device) => {
            let Some(id) = registry.device_of_api_key(credential)? else { return Ok(None) };
            let enabled = registry.device(&id)?.is_some_and(|device| device.enabled);
            Ok(enabled.then_some(Caller::Device(id)))
        }
        Some(KeyKind::Rest) => Ok(registry
            .verify_token(credential)?
            .map(|token| Caller::Operator { name: format!("token:{}", token.name), role: token.role })),
        // An application's MQTT token opens no door here.
        Some(KeyKind::Mqtt) => Ok(None),
        None => Ok(registry
            .session(credential, Timestamp::now())?
            .map(|user| Caller::Operator { name: format!("user:{}", user.email), role: user.role })),
    }
}
