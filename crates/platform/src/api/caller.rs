//! Who a request is from, and what that allows.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::secret::KeyKind;
use tesaiot_pki::Serial;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{CredentialId, Registry, Role};
use tesaiot_tls::CertificateSummary;

use super::problem::Problem;
use super::{State, blocking};

/// What a device hears that asks for more.
const OWN_ONLY: &str = "a device key reads and writes its own device only";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(super) std::net::IpAddr);

/// The certificate that a connection was opened with, on the listener that asks for one. TLS has verified it; whether it
/// is still its device's is asked for every request.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Device and serial number; none for a certificate that names no device.
    claim: Option<(DeviceId, String)>,
}

impl Shown {
    /// What the leaf says.
    pub(super) fn new(leaf: &[u8]) -> Self {
        let claim = CertificateSummary::from_der(leaf).ok().and_then(|summary| {
            // Exactly: a common name that starts with the device id belongs to another device.
            let device = DeviceId::new(summary.subject_common_name.as_deref()?).ok()?;
            Some((device, Serial::from_bytes(&summary.serial).ok()?.to_string()))
        });
        Self { claim }
    }

    /// The one of this request's connection; none on a listener that asks for none.
    pub(super) fn of(parts: &Parts) -> Option<&Self> {
        parts.extensions.get()
    }
}

/// What a device came with.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// A certificate, by its serial number.
    Certificate(String),
    /// An API key, by its name.
    Key(CredentialId),
}

/// An authenticated caller. There is no way to get one but to be authenticated.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A device, by its API key or its certificate.
    Device {
        /// Which one.
        id: DeviceId,
        /// What it came with.
        by: By,
    },
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
            Self::Device { id: own, .. } if id.is_none_or(|id| id == own) => Ok(own.clone()),
            Self::Device { .. } => Err(Problem::forbidden(OWN_ONLY)),
            Self::Operator { .. } => Err(Problem::forbidden("this is for the device itself, with its own credential")),
        }
    }

    /// For reading what belongs to one device: the device itself, or anybody with a role.
    pub(crate) fn may_read(&self, id: &DeviceId) -> Result<(), Problem> {
        match self {
            Self::Operator { .. } => Ok(()),
            Self::Device { .. } => self.device(Some(id)).map(drop),
        }
    }

    /// For reading across devices. Returns the caller's name.
    pub(crate) fn viewer(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, .. } => Ok(name),
            Self::Device { .. } => Err(Problem::forbidden(OWN_ONLY)),
        }
    }

    /// For changing devices. Returns the caller's name.
    pub(crate) fn operator(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, role: Role::Admin | Role::Operator } => Ok(name),
            Self::Operator { .. } => Err(Problem::forbidden("this needs the role operator or admin")),
            Self::Device { .. } => Err(Problem::forbidden(OWN_ONLY)),
        }
    }
}

impl Caller {
    /// For deciding who may do what. Returns the caller's name.
    pub(crate) fn admin(&self) -> Result<&str, Problem> {
        match self {
            Self::Operator { name, role: Role::Admin } => Ok(name),
            Self::Operator { .. } => Err(Problem::forbidden("this needs the role admin")),
            Self::Device { .. } => Err(Problem::forbidden(OWN_ONLY)),
        }
    }
}

impl FromRequestParts<State> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        // A certificate decides: what the headers of its request say besides does not count.
        let caller = match Shown::of(parts) {
            Some(shown) => Self::shown(shown, state).await?,
            None => Self::of(&parts.headers, state).await?,
        };
        match caller {
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

    /// The device whose certificate this is, as the registry knows it now.
    async fn shown(shown: &Shown, state: &State) -> Result<Option<Self>, Problem> {
        let Some((id, serial)) = shown.claim.clone() else { return Ok(None) };
        let registry = state.provisioning.registry.clone();
        blocking(move || {
            let status = registry.admit_certificate(&id, &serial, Timestamp::now())?;
            Ok::<_, StoreError>(status.is_accepted().then_some(Self::Device { id, by: By::Certificate(serial) }))
        })
        .await
    }
}

/// The one credential of a request; `X-API-KEY` goes before `Authorization`.
pub(super) fn credential(headers: &HeaderMap) -> Option<zeroize::Zeroizing<String>> {
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
            let Some((id, key)) = registry.device_of_api_key(credential)? else { return Ok(None) };
            let enabled = registry.device(&id)?.is_some_and(|device| device.enabled);
            Ok(enabled.then_some(Caller::Device { id, by: By::Key(key) }))
        }
        Some(KeyKind::Rest) => Ok(registry
            .verify_token(credential)?
            .map(|token| Caller::Operator { name: format!("token:{}", token.name), role: token.role })),
        // An application's MQTT token opens no door here, an enrolment token one door, which is not this one.
        Some(KeyKind::Mqtt | KeyKind::Enrolment) => Ok(None),
        None => Ok(registry
            .session(credential, Timestamp::now())?
            .map(|user| Caller::Operator { name: format!("user:{}", user.email), role: user.role })),
    }
}
