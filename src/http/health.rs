//! Whether the process lives and whether the node can serve. Asks, never repairs.

use std::time::Duration;

use actix_web::http::StatusCode;
use callboard_actors::lease_keeper::{GetStanding, Standing};
use callboard_actors::runtime::ask;
use callboard_actors::store_reader::Probe;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::access::{Answer, Call};
use super::answer;
use super::openapi::Described;
use super::problem::{ErrorCode, Problem};

/// How long each check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

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
    checks: Checks,
}

/// What was looked at; each is `up` or `down`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checks {
    database: &'static str,
    migrations: &'static str,
    membership: &'static str,
}

/// `GET /healthz`.
pub(super) async fn up(call: Call) -> Answer {
    call.query(&[])?;
    answer::json(StatusCode::OK, &Health { status: "up" })
}

/// `GET /readyz`.
pub(super) async fn ready(call: Call) -> Answer {
    call.query(&[])?;
    let worker = &call.state.worker;
    let (database, settled) = futures_util::future::join(
        ask(&worker.store, Probe, CHECK_DEADLINE),
        ask(&worker.node.lease_keeper, GetStanding, CHECK_DEADLINE),
    )
    .await;
    let (database, membership) = (matches!(database, Ok(Ok(()))), !matches!(settled, Ok(Standing::Unknown) | Err(_)));
    let word = |up: bool| if up { "up" } else { "down" };
    // A database that lacks migrations is refused at the start, before anything is served.
    let checks = Checks { database: word(database), migrations: word(true), membership: word(membership) };
    let refusal = match call.state.shared.draining.refuse_new() {
        Err(stopping) => stopping,
        Ok(()) if database && membership => {
            return answer::json(StatusCode::OK, &Ready { status: "ready", checks });
        }
        Ok(()) => Problem::new(ErrorCode::Unavailable, "the node can't serve everything at present"),
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
