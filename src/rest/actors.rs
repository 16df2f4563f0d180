//! The actors at work, for operators.

use std::time::Duration;

use actix_web::http::StatusCode;
use callboard_protocol::error_code::ErrorCode;
use serde_json::json;

use crate::api::error::ApiError;
use crate::http::answer;
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};

/// How long an actor may take to describe itself.
const OBSERVE_DEADLINE: Duration = Duration::from_secs(1);

/// `GET` of all actors.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    answer::json(StatusCode::OK, &json!({ "actors": call.state.worker.node.registry.list() }))
}

/// `GET` of one actor, with what it says of itself.
pub(super) async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let name = call.part("name");
    match call.state.worker.node.registry.observe(name, OBSERVE_DEADLINE).await {
        Some(observation) => answer::json(StatusCode::OK, &observation),
        None => Err(ApiError::new(ErrorCode::NotFound, "no actor has this name")),
    }
}

/// The description of the list.
pub(super) fn describe_list() -> Described {
    let actors = schema::object(&["actors"]).property("actors", schema::array(schema::actor()));
    Described::new("node", "listActors", "List the actors of the node and what they did")
        .document(200, "The actors", actors)
        .refuses(&[ErrorCode::InvalidParameter])
}

/// The description of one actor.
pub(super) fn describe_one() -> Described {
    Described::new("node", "getActor", "Look at one actor")
        .path("name", schema::text().min_length(Some(1)), "Its name, such as reader-0")
        .document(200, "The actor and its own snapshot", schema::actor())
        .refuses(&[ErrorCode::InvalidParameter, ErrorCode::NotFound])
}
