//! Users, roles and permissions as Nacos's interface has them, over those of the native interface: who may administer
//! here may there, and what is made here is the same thing. Owns how lists are cut into pages, which form each version
//! has, and the words of refusals; decides nothing about access and shows no hash.
//!
//! Reading order: this file (what the three have in common) · `users` · `roles` · `permissions`.

pub(super) mod permissions;
pub(super) mod roles;
pub(super) mod users;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use callboard_actors::access_directory::{ChangeAccess, ChangeFailure};
use callboard_actors::runtime::ask;
use callboard_actors::store::{CommitError, WriteError};
use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::directory::{ADMIN_ROLE, Directory};
use callboard_protocol::access::grant::is_like;
use callboard_protocol::error_code::ErrorCode;
use serde_json::{Value, json};

use super::Answer;
use super::answer::{bare, enveloped, is_v3, outcome};
use super::fault::Fault;
use super::parameters::Parameters;
use crate::api::error::ApiError;
use crate::api::state::State;
use crate::http::route::Call;

/// The role of administrators as Nacos calls it.
const NACOS_ADMIN: &str = "ROLE_ADMIN";
/// Items of a page when nobody says.
const PAGE: usize = 100;
/// How long a change may take until its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// What is known of users and roles.
fn directory(state: &State) -> Result<Arc<Directory>, Fault> {
    let known = state.worker.node.access.borrow().clone();
    known.ok_or_else(|| ApiError::new(ErrorCode::Unavailable, "this node has not read its users yet").into())
}

/// Makes a change, or gives why it is refused.
async fn change(call: &Call, change: Change) -> Result<Result<(), Refusal>, Fault> {
    let change = ChangeAccess { change, by: call.who() };
    match ask(&call.state.worker.node.access_directory, change, WRITE_DEADLINE).await {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(ChangeFailure::Write(WriteError::AccessRefused(refusal)))) => Ok(Err(refusal)),
        Ok(Err(ChangeFailure::Write(WriteError::Failed(CommitError::Aborted { cause, .. })))) => {
            Err(Fault::overloaded(format!("{cause}, nothing was written")))
        }
        Ok(Err(ChangeFailure::Write(_) | ChangeFailure::Ask(_))) | Err(_) => {
            Err(Fault::caused(ErrorCode::OutcomeUnknown, "outcome unknown, read the list to see"))
        }
    }
}

/// How Nacos tells a refusal where no call has words of its own.
fn refused(refusal: Refusal) -> Fault {
    Fault::invalid(match refusal {
        Refusal::Exists { what, name } => format!("{what} '{name}' already exist!"),
        Refusal::Missing { what: "role", name } => format!("role {name} not found!"),
        Refusal::Missing { what, name } => format!("{what} '{name}' not found!"),
        Refusal::BuiltIn => format!("role '{NACOS_ADMIN}' may do everything and is not permitted to change!"),
        Refusal::Name
        | Refusal::LastAdministrator { .. }
        | Refusal::Taken { .. }
        | Refusal::NoRole { .. }
        | Refusal::ShutOut { .. }
        | Refusal::GivenElsewhere { .. }
        | Refusal::NoPassword { .. } => refusal.to_string(),
    })
}

/// A role of Nacos as it is called here. `None` for a name that would be another role than is meant.
fn our_role(role: &str) -> Option<&str> {
    match role {
        NACOS_ADMIN => Some(ADMIN_ROLE),
        ADMIN_ROLE => None,
        role => Some(role),
    }
}

/// The reverse of [`our_role`].
fn nacos_role(role: &str) -> Option<&str> {
    match role {
        ADMIN_ROLE => Some(NACOS_ADMIN),
        NACOS_ADMIN => None,
        role => Some(role),
    }
}

/// A parameter that must be there.
fn required<'p>(parameters: &'p Parameters<'_>, name: &str) -> Result<&'p str, Fault> {
    parameters.get(name).ok_or_else(|| Fault::missing(name))
}

/// The answer to what was done.
fn done(request: &HttpRequest, text: &str) -> Answer {
    if is_v3(request.path()) { outcome(text) } else { enveloped(text) }
}

/// Whether `value` is what the parameter asks for: itself, or with `search=blur` what its `*` stand for.
fn fits(parameters: &Parameters<'_>, name: &str, value: &str) -> bool {
    let is_blur = parameters.get("search") == Some("blur");
    parameters
        .filled(name)
        .is_none_or(|wanted| if is_blur { is_like(wanted.as_bytes(), value.as_bytes()) } else { wanted == value })
}

/// The page that is asked for, of `rows`.
fn page(request: &HttpRequest, parameters: &Parameters<'_>, rows: &[Value]) -> Answer {
    let number = count(parameters, "pageNo", 1)?;
    let size = count(parameters, "pageSize", PAGE)?;
    let items: Vec<&Value> = rows.iter().skip((number - 1).saturating_mul(size)).take(size).collect();
    let page = json!({
        "totalCount": rows.len(), "pageNumber": number, "pagesAvailable": rows.len().div_ceil(size),
        "pageItems": items,
    });
    shown(request, &page)
}

/// What was asked for, bare in version 1.
fn shown(request: &HttpRequest, value: &Value) -> Answer {
    if is_v3(request.path()) { outcome(value) } else { bare(value) }
}

fn count(parameters: &Parameters<'_>, name: &str, default: usize) -> Result<usize, Fault> {
    let Some(text) = parameters.filled(name) else { return Ok(default) };
    let count = text.trim().parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| Fault::invalid("pageNo and pageSize must be greater than zero"))
}
