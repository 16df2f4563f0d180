//! Whether the process lives and whether the node can serve: one rule for every interface. Asks, never repairs.

use actix_web::http::StatusCode;
use callboard_protocol::error_code::ErrorCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::readiness::Readiness;
use crate::http::answer;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call};

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `up`.
    status: &'static str,
}

/// The node can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`.
    status: &'static str,
    /// `on`, or `off` where whoever reaches the node may do everything.
    authentication: &'static str,
    checks: Checks,
}

/// What was looked at; each is `up` or `down`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checks {
    database: &'static str,
    commits: &'static str,
    migrations: &'static str,
    membership: &'static str,
}

/// `GET /healthz`.
pub(super) async fn up(call: Call) -> Answer {
    call.query(&[])?;
    answer::json(StatusCode::OK, &Health { status: "up" })
}

impl Checks {
    fn of(readiness: &Readiness) -> Self {
        let word = |up: bool| if up { "up" } else { "down" };
        Self {
            database: word(readiness.database),
            commits: word(readiness.commits.is_ok()),
            // A database that lacks migrations is refused at the start, before anything is served.
            migrations: word(true),
            membership: word(readiness.membership.is_ok()),
        }
    }
}

/// `GET /readyz`.
pub(super) async fn ready(call: Call) -> Answer {
    call.query(&[])?;
    let readiness = Readiness::of(&call.state).await;
    let checks = Checks::of(&readiness);
    let refusal = match (call.state.shared.draining.refuse_new(), readiness.refusal()) {
        (Err(stopping), _) => stopping,
        (Ok(()), Some(reason)) => ApiError::new(ErrorCode::Unavailable, reason),
        (Ok(()), None) => {
            let authentication = if call.state.shared.auth.is_on() { "on" } else { "off" };
            return answer::json(StatusCode::OK, &Ready { status: "ready", authentication, checks });
        }
    };
    Err(refusal.with("checks", json!(checks)))
}

/// The description of `/healthz`.
pub(super) fn describe_up() -> Described {
    Described::new("node", "getHealth", "Does the process live?")
        .json::<Health>(200, "It does")
        .refuses(&[ErrorCode::InvalidParameter])
}

/// The description of `/readyz`.
pub(super) fn describe_ready() -> Described {
    Described::new("node", "getReadiness", "Can the node serve? If not, the problem's member `checks` says why")
        .json::<Ready>(200, "It can")
        .refuses(&[ErrorCode::InvalidParameter, ErrorCode::ShuttingDown])
}
