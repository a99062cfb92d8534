//! HTTPS: REST and the live feed (the wire contract, section 10).
//!
//! A handler gets a [`caller::Caller`] or does not run: authorization is a value it must hold. Every path is also
//! served under `/api/v1/external/`.

mod broker;
mod caller;
mod certificates;
mod commands;
mod devices;
mod letters;
mod live;
mod login;
pub(crate) mod metrics;
mod mqtt_tokens;
mod patience;
mod payload;
mod problem;
mod public;
mod server;
mod telemetry;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Limits;
use tesaiot_store::Telemetry;
use tesaiot_store::registry::Device;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::commands::Commands;
use crate::enrolment::Enrolment;
use crate::incidents::Incidents;
use crate::ingest::Ingest;
use crate::presence::Presence;
use crate::provisioning::Provisioning;
use crate::revocations::Revocations;

use problem::Problem;
pub(crate) use server::Server;

/// Passwords verified at a time: each costs a core tens of milliseconds and 19 MB, on purpose.
const PASSWORD_CHECKS: usize = 2;
/// Live feeds open at a time.
const LIVE_FEEDS: usize = 256;
/// Exports read at a time: each holds one batch of points in memory while its reader takes its time.
const EXPORTS: usize = 16;
/// Largest request body, in bytes: beyond it a request is refused unread. A batch carries up to 1000 samples.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// What every handler reaches.
#[derive(Clone)]
pub(crate) struct State {
    provisioning: Provisioning,
    enrolment: Enrolment,
    telemetry: Telemetry,
    ingest: Ingest,
    incidents: Incidents,
    presence: Presence,
    commands: Commands,
    /// The word for the organization in tokens, unless another is asked for.
    organization: Arc<str>,
    /// Bounds of one message.
    limits: Arc<Limits>,
    /// The same for a batch, whose bytes the request body's limit bounds.
    batch_limits: Arc<Limits>,
    revocations: Revocations,
    password_checks: Arc<Semaphore>,
    /// Places for live feeds.
    feeds: Arc<Semaphore>,
    /// Places for exports.
    exports: Arc<Semaphore>,
    /// Files whose size is told.
    files: metrics::Files,
    /// Cancelled when the platform drains: feeds end.
    stop: CancellationToken,
}

/// What a [`State`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) provisioning: Provisioning,
    pub(crate) enrolment: Enrolment,
    pub(crate) telemetry: Telemetry,
    pub(crate) ingest: Ingest,
    pub(crate) incidents: Incidents,
    pub(crate) presence: Presence,
    pub(crate) commands: Commands,
    /// As the platform's configuration calls it.
    pub(crate) organization: &'a str,
    pub(crate) limits: Limits,
    pub(crate) files: metrics::Files,
    pub(crate) stop: CancellationToken,
}

impl State {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let Parts {
            provisioning,
            enrolment,
            telemetry,
            ingest,
            incidents,
            presence,
            commands,
            organization,
            limits,
            files,
            stop,
        } = parts;
        let batch_limits = Limits { max_payload_bytes: MAX_BODY_BYTES, ..limits };
        Self {
            provisioning,
            enrolment,
            telemetry,
            ingest,
            incidents,
            presence,
            commands,
            organization: mqtt_tokens::organization(organization).into(),
            limits: Arc::new(limits),
            batch_limits: Arc::new(batch_limits),
            revocations: Revocations::default(),
            password_checks: Arc::new(Semaphore::new(PASSWORD_CHECKS)),
            feeds: Arc::new(Semaphore::new(LIVE_FEEDS)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            files,
            stop,
        }
    }
}

/// Every path of the interface.
pub(crate) fn router(state: State) -> Router {
    let paths = Router::new()
        .route("/health", get(public::health))
        .route("/certificates/public/ca-certificate", get(public::ca_certificate))
        .route("/ca/root", get(public::root))
        .route("/ca/intermediate", get(public::intermediate))
        .route("/ca/crl", get(public::revocation_list))
        .route("/ca/crl.pem", get(public::revocation_list_pem))
        .route("/auth/login", post(login::login))
        .route("/telemetry", post(telemetry::post))
        .route("/telemetry/batch", post(telemetry::post_batch))
        .route("/telemetry/latest", get(telemetry::fleet::latest))
        .route("/telemetry/aggregate", get(telemetry::fleet::aggregate))
        .route("/dead-letters", get(letters::list))
        .route("/dead-letters/replay", post(letters::replay_many))
        .route("/dead-letters/{number}", get(letters::show))
        .route("/dead-letters/{number}/replay", post(letters::replay))
        .route("/broker/clients", get(broker::clients))
        .route("/broker/sessions", get(broker::sessions))
        .route("/devices", get(devices::list).post(devices::create))
        .route("/devices/{id}", get(devices::show).delete(devices::remove))
        .route("/devices/{id}/enable", post(devices::enable))
        .route("/devices/{id}/disable", post(devices::disable))
        .route("/devices/{id}/api-keys", post(devices::rotate_api_key))
        .route("/devices/{id}/bundle.zip", post(devices::bundle))
        .route("/devices/{id}/csr", post(certificates::request))
        .route("/devices/{id}/certificate/issue", post(certificates::issue))
        .route("/devices/{id}/certificate/renew", post(certificates::issue))
        .route("/devices/{id}/certificate/sign-csr", post(certificates::sign))
        .route("/devices/{id}/certificate/revoke", post(devices::revoke))
        .route(
            "/devices/{id}/enrolment-tokens",
            get(certificates::tokens).post(certificates::make_token).delete(certificates::revoke_tokens),
        )
        .route("/devices/{id}/telemetry", get(telemetry::range).post(telemetry::post_for_device))
        .route("/devices/{id}/telemetry/latest", get(telemetry::latest))
        .route("/devices/{id}/gaps", get(telemetry::gaps))
        .route("/devices/{id}/commands", get(commands::list).post(commands::send))
        .route("/devices/{id}/commands/{command}", get(commands::show))
        .route("/devices/{id}/config", get(commands::config).put(commands::set_config))
        .route("/devices/{id}/events", get(letters::events))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::revoke))
        .route("/mqtt-tokens", get(mqtt_tokens::list).post(mqtt_tokens::create))
        .route("/mqtt-tokens/{id}", delete(mqtt_tokens::revoke))
        .route("/ws/telemetry", get(live::feed));
    Router::new()
        .nest("/api/v1/external", paths.clone())
        .nest("/api/v1", paths)
        .route("/ws/telemetry", get(live::feed))
        .route("/metrics", get(metrics::metrics))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(state)
}

/// What a device asks for itself, with its certificate.
pub(crate) fn device_router(state: State) -> Router {
    let paths = Router::new()
        .route("/health", get(public::health))
        .route("/certificates/public/ca-certificate", get(public::ca_certificate))
        .route("/telemetry", post(telemetry::post))
        .route("/telemetry/batch", post(telemetry::post_batch))
        .route("/devices/{id}", get(devices::show))
        .route("/devices/{id}/csr", post(certificates::request))
        .route("/devices/{id}/config", get(commands::config))
        .route("/devices/{id}/telemetry", post(telemetry::post_for_device));
    Router::new()
        .nest("/api/v1/external", paths.clone())
        .nest("/api/v1", paths)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(state)
}

/// Runs what may block on the disk where it may.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Send + 'static,
    Problem: From<E>,
{
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))?;
    Ok(done?)
}

impl State {
    /// The device, or a 404: an unknown device is not one without telemetry.
    async fn device(&self, id: &DeviceId) -> Result<Device, Problem> {
        let (registry, asked) = (self.provisioning.registry.clone(), id.clone());
        blocking(move || registry.device(&asked)).await?.ok_or_else(|| Problem::no_such_device(id.as_str()))
    }
}
