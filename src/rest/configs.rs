//! Reading one configuration: at once, or held until it differs from what the client has. The hot path of the node:
//! one message to the reader of the same thread, and the bytes go out as they are kept.

use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, HttpDate, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use callboard_actors::cache::reading::Reading;
use callboard_actors::long_poll::{Hold, PollAnswer};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::config::{ConfigState, ConfigType};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::{self, ClientIdentity};
use callboard_protocol::long_poll::Watched;
use callboard_protocol::wire::condition::ReadCondition;
use callboard_protocol::wire::{content_type, wait};
use tokio::sync::oneshot;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::state::State;
use crate::http::answer::{TYPE, VERSION};
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};
use crate::http::{answer, client, connection, headers, stale};

/// The media types that [`content_type::of`] gives.
const MEDIA_TYPES: [&str; 6] =
    ["text/plain", "application/json", "application/xml", "text/html", "application/yaml", "application/toml"];

/// `GET` of a configuration.
pub(super) async fn read(call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Read, &key))?;
    let wait = match call.query(&["wait"])?.get("wait") {
        None => None,
        Some(text) => Some(wait::parse(text).map_err(|error| ApiError::parameter("wait", error.to_string()))?),
    };
    let lines = call.request.headers();
    let (if_match, if_none_match) = (headers::list(lines, &IF_MATCH), headers::list(lines, &IF_NONE_MATCH));
    let held = ReadCondition::of_read(if_match.as_deref(), if_none_match.as_deref())?;
    if wait.is_some() && held == ReadCondition::Nothing {
        return Err(ApiError::parameter("wait", "wait needs If-None-Match, which says what the client has"));
    }
    let client = client::identity(&call.request, call.caller.principal());
    let mut reading = stale::read(&call.state, key.clone()).await?;
    let (begun, wait) = (Instant::now(), wait.unwrap_or_default());
    let _held = (!wait.is_zero()).then(|| connection::hold(&call.request));
    loop {
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() || reading.age.is_some() || !has(&held, &reading.state, &client) {
            break;
        }
        let watched = Watched { key: key.clone(), held: held.clone().into() };
        let end = tokio::select! {
            end = until_different(&call.state, watched, left, client.clone().into_owned()) => end?,
            () = call.caller.changed(&call.state) => {
                return Err(ApiError::new(ErrorCode::Forbidden, "what you may do has changed; ask again"));
            }
        };
        reading = later(reading, stale::read(&call.state, key.clone()).await?);
        // What changed may be as before again.
        if end == WaitEnd::Over {
            break;
        }
    }
    if reading.state.metadata.is_secret {
        call.caller.require(&Demand::Key(Action::Secret, &key))?;
    }
    Ok(stale::mark(&reading, answer(&reading.state, &held, &client)?))
}

fn chosen<'a>(state: &'a ConfigState, client: &ClientIdentity) -> Option<&'a Content> {
    gray::select(state, client).map(|(_, content)| content)
}

fn digest(state: &ConfigState, client: &ClientIdentity) -> Option<Md5> {
    chosen(state, client).map(Content::md5)
}

fn has(held: &ReadCondition, state: &ConfigState, client: &ClientIdentity) -> bool {
    held.is_held(state.version, digest(state, client))
}

/// What the second reading of a request says. One that may be old never takes back what the first one has shown.
fn later(first: Reading, second: Reading) -> Reading {
    if second.age.is_some() && second.state.version < first.state.version {
        return Reading { state: first.state, age: second.age };
    }
    second
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitEnd {
    /// The state is, or was for a moment, another one than the client has.
    Different,
    /// The time is over, or it could not be waited any longer: the next read says what there is.
    Over,
}

/// Holds the request until the state is another one than the client has, or the wait is over.
async fn until_different(
    state: &web::Data<State>,
    watched: Watched,
    wait: Duration,
    client: ClientIdentity,
) -> Result<WaitEnd, ApiError> {
    state.shared.draining.refuse_new()?;
    let (sender, answer) = oneshot::channel();
    // Not asked but sent: the answer comes through its own channel, and its drop ends the poll.
    state.worker.long_poll.do_send(Hold { records: vec![watched], client, wait: Some(wait), answer: sender });
    // The actor ends the wait; the deadline is for one that can't.
    match tokio::time::timeout(wait + READ_DEADLINE * 2, answer).await {
        Ok(Ok(PollAnswer::Changed(_))) => Ok(WaitEnd::Different),
        Ok(Ok(PollAnswer::Refused(refused))) => Err(refused.into()),
        // The time may have ended before anything could be compared.
        Ok(Ok(PollAnswer::Quiet | PollAnswer::Failed(_)) | Err(_)) | Err(_) => Ok(WaitEnd::Over),
    }
}

fn answer(state: &ConfigState, held: &ReadCondition, client: &ClientIdentity) -> Answer {
    let Some(content) = chosen(state, client) else {
        let detail = format!("{} does not exist", state.key);
        return Err(ApiError::new(ErrorCode::NotFound, detail).at(state.version));
    };
    if held.not_modified(state.version, Some(content.md5())) {
        return Ok(described_by_headers(StatusCode::NOT_MODIFIED, state, content).finish());
    }
    Ok(described_by_headers(StatusCode::OK, state, content).body(content.bytes().clone()))
}

/// The headers of 200, which 304 repeats.
fn described_by_headers(status: StatusCode, state: &ConfigState, content: &Content) -> HttpResponseBuilder {
    let kind = state.metadata.kind;
    let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(state.modified_at.0).unwrap_or_default());
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(content_type::of(kind))))
        .insert_header((ETAG, answer::entity_tag(content.md5())))
        .insert_header((LAST_MODIFIED, HttpDate::from(modified)))
        .insert_header((VERSION, HeaderValue::from(state.version.0)))
        .insert_header((TYPE, HeaderValue::from_static(kind.as_str())))
        // A cache on the way has to ask whether what it holds is still the newest.
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    if matches!(kind, ConfigType::Html | ConfigType::Xml) {
        // Somebody's content is no page of ours: a browser must not run it as one.
        answer.insert_header((CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")));
    }
    answer
}

/// The description of the route.
pub(super) fn describe() -> Described {
    let tags = "What the client has: a list of \"<md5>\" or \"v<version>\", or *";
    let wait = "Hold the request until the configuration differs from what If-None-Match names, at most 60s";
    Described::new("configs", "getConfig", "Read a configuration")
        .with_content(200, "The content", &MEDIA_TYPES)
        .key()
        .query("wait", schema::text().pattern(Some("^(([0-9]|[1-5][0-9]|60)s?|[0-9]{1,4}ms|1m)$")), wait)
        .header("If-None-Match", schema::tags(), tags)
        .answers(304, "The client has the present state")
        .refuses(&[
            ErrorCode::InvalidName,
            ErrorCode::InvalidParameter,
            ErrorCode::InvalidCondition,
            ErrorCode::NotFound,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ])
}

#[cfg(test)]
mod tests;
