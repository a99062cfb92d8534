//! Errors of the interface: RFC 9457 problem details, with the fields that older clients read.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tesaiot_store::StoreError;

use crate::ingest::{Rejected, Unavailable};
use crate::provisioning::ProvisioningError;

/// An error a client hears of.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// A stable word.
    code: &'static str,
    /// For a person: what is wrong, and what to do.
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "send a valid X-API-KEY, or Authorization: Bearer with a token from /api/v1/auth/login";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub(crate) fn no_such_device(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_device", format!("there is no device '{id}'"))
    }

    /// Something failed on this side; the cause is in the log, not in the answer.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the platform failed; its log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": format!("urn:tesaiot:problem:{}", self.code),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "success": false,
            "error": {"code": self.code, "message": self.detail},
        });
        let content_type = (header::CONTENT_TYPE, "application/problem+json");
        let body = body.to_string();
        if self.status == StatusCode::UNAUTHORIZED {
            return (self.status, [content_type, (header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (self.status, [content_type], body).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::AlreadyExists { .. } => Self::new(StatusCode::CONFLICT, "already_exists", error.to_string()),
            StoreError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            StoreError::Invalid { .. } => Self::invalid(error.to_string()),
            StoreError::Full { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", "the platform's disk is full")
            }
            _ => Self::internal(&error),
        }
    }
}

impl From<ProvisioningError> for Problem {
    fn from(error: ProvisioningError) -> Self {
        match error {
            ProvisioningError::Registry(error) => error.into(),
            ProvisioningError::NoSuchDevice(id) => Self::no_such_device(id.as_str()),
            error @ (ProvisioningError::HasNoKey(_) | ProvisioningError::HasNoCertificate { .. }) => {
                Self::new(StatusCode::CONFLICT, "wrong_login_method", error.to_string())
            }
            other => Self::internal(&other),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        let detail = "the store cannot take messages now; keep the message and send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Unavailable(unavailable) => unavailable.into(),
            Rejected::Payload(error) if error.is_too_large() => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.code(), error.to_string())
            }
            Rejected::Payload(error) => Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string()),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

/// Query parameters, whose rejection is a [`Problem`].
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

/// Path parameters, whose rejection is a [`Problem`].
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

pub(super) async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path; the interface is under /api/v1")
}

pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not serve that method")
}
