//! Whether the process lives and whether the node can serve: one rule for every interface. Asks, never repairs.

use std::time::Duration;

use actix_web::http::StatusCode;
use callboard_actors::conf_manager::GetStall;
use callboard_actors::lease_keeper::{GetStanding, Standing};
use callboard_actors::runtime::ask;
use callboard_actors::store_reader::Probe;
use callboard_actors::store_writer::ProveWritable;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::access::{Answer, Call};
use super::openapi::Described;
use super::problem::{ErrorCode, Problem};
use super::{State, answer};

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
    commits: &'static str,
    migrations: &'static str,
    membership: &'static str,
}

/// `GET /healthz`.
pub(super) async fn up(call: Call) -> Answer {
    call.query(&[])?;
    answer::json(StatusCode::OK, &Health { status: "up" })
}

/// Whether the node can serve everything: the one rule for every interface that is asked.
pub(super) struct Readiness {
    /// The database answers.
    database: bool,
    /// Why commits do not go through, as a sentence for anybody.
    commits: Result<(), String>,
    /// The node takes part as it shall.
    membership: bool,
}

impl Readiness {
    /// Asks the database and the parts of the node. A commit that went through a moment ago proves that others do; else
    /// one is tried. Publishes that fail all the same, for want of acknowledgements, say that the next one will.
    pub(super) async fn of(state: &State) -> Self {
        let worker = &state.worker;
        let (database, commits, stall, standing) = futures_util::future::join4(
            ask(&worker.store, Probe, CHECK_DEADLINE),
            ask(&worker.node.store_writer, ProveWritable, CHECK_DEADLINE),
            ask(&worker.node.conf_manager, GetStall, CHECK_DEADLINE),
            ask(&worker.node.lease_keeper, GetStanding, CHECK_DEADLINE),
        )
        .await;
        Self {
            database: matches!(database, Ok(Ok(()))),
            commits: match (commits, stall) {
                (Ok(Ok(())), Ok(None)) => Ok(()),
                (Ok(Err(reason)), _) | (Ok(Ok(())), Ok(Some(reason))) => Err(reason),
                (Err(_late), _) | (_, Err(_late)) => Err("the database did not answer in time".to_owned()),
            },
            membership: matches!(standing, Ok(Standing::Settled)),
        }
    }

    /// Why the node can't serve everything; `None` when it can.
    pub(super) fn refusal(&self) -> Option<String> {
        match &self.commits {
            _ if !self.database => Some("the database does not answer".to_owned()),
            Err(reason) => Some(format!("no publish can succeed: {reason}")),
            Ok(()) if !self.membership => Some("the node has not joined the cluster; its log says why".to_owned()),
            Ok(()) => None,
        }
    }

    fn checks(&self) -> Checks {
        let word = |up: bool| if up { "up" } else { "down" };
        Checks {
            database: word(self.database),
            commits: word(self.commits.is_ok()),
            // A database that lacks migrations is refused at the start, before anything is served.
            migrations: word(true),
            membership: word(self.membership),
        }
    }
}

/// `GET /readyz`.
pub(super) async fn ready(call: Call) -> Answer {
    call.query(&[])?;
    let readiness = Readiness::of(&call.state).await;
    let checks = readiness.checks();
    let refusal = match (call.state.shared.draining.refuse_new(), readiness.refusal()) {
        (Err(stopping), _) => stopping,
        (Ok(()), Some(reason)) => Problem::new(ErrorCode::Unavailable, reason),
        (Ok(()), None) => return answer::json(StatusCode::OK, &Ready { status: "ready", checks }),
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
