//! Changing one configuration: `PUT` and `DELETE`. Turns a request into a publish unit, hands it over, and answers
//! with how it came out. A client that goes away takes nothing back: what was handed over runs to its end.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::config::{ConfigType, MAX_APPLICATION, MAX_DESCRIPTION, MetadataEdit};
use callboard_protocol::content::MAX_CONTENT;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::wire::{condition, content_type};
use callboard_protocol::write_request::{
    Change, Effect, KeyOutcome, KeyWrite, MAX_NOTE, MAX_REQUEST_ID, Origin, RequestId, Source,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::state::State;
use crate::api::{off_worker, outcome};
use crate::http::answer::VERSION;
use crate::http::openapi::{Described, schema};
use crate::http::query::Query;
use crate::http::route::{Answer, Call};
use crate::http::{answer, body, client, headers};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a publish did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Published {
    namespace: String,
    group: String,
    data_id: String,
    /// The version of the configuration now.
    version: u64,
    /// The digest of the content now; null once removed.
    md5: Option<String>,
    #[schema(value_type = EffectName)]
    effect: Effect,
    /// True when this is the answer to an earlier request with the same Idempotency-Key.
    replayed: bool,
}

/// What happened to the configuration.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it stands for the names of `Effect` in the description")]
pub(super) enum EffectName {
    Created,
    Updated,
    Unchanged,
    Removed,
}

/// `PUT` of a configuration.
pub(super) async fn put(mut call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Write, &key))?;
    let query = call.query(&["type", "description", "tags", "application", "secret", "note"])?;
    let note = query.text("note");
    let mut edit = edit(&query)?;
    let lines = call.request.headers();
    let declared = content_type::parse(headers::single(lines, &CONTENT_TYPE)?)
        .map_err(|error| ApiError::new(ErrorCode::UnsupportedType, error.to_string()))?;
    edit.kind = edit.kind.or(declared);
    let (if_match, if_none_match) = (headers::list(lines, &IF_MATCH), headers::list(lines, &IF_NONE_MATCH));
    let condition = condition::of_put(if_match.as_deref(), if_none_match.as_deref())?;
    let request_id = request_id(lines)?;
    let origin = origin(&call, note)?;
    let options = body::Options { max: MAX_CONTENT, patience: call.state.shared.options.body_timeout };
    let bytes = body::read(&call.request, &mut call.payload, options).await?;
    let change = Change::Put { content: off_worker::content(bytes).await?, edit: Box::new(edit.checked()?) };
    publish(&call.state, KeyWrite { key, condition, change }, request_id, origin).await
}

/// `DELETE` of a configuration.
pub(super) async fn remove(call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Write, &key))?;
    let note = call.query(&["note"])?.text("note");
    let lines = call.request.headers();
    let (if_match, if_none_match) = (headers::list(lines, &IF_MATCH), headers::list(lines, &IF_NONE_MATCH));
    let condition = condition::of_delete(if_match.as_deref(), if_none_match.as_deref())?;
    let (request_id, origin) = (request_id(lines)?, origin(&call, note)?);
    publish(&call.state, KeyWrite { key, condition, change: Change::Remove }, request_id, origin).await
}

fn edit(query: &Query<'_>) -> Result<MetadataEdit, ApiError> {
    let kind = match query.get("type") {
        None => None,
        Some(text) => Some(text.parse::<ConfigType>().map_err(|error| ApiError::parameter("type", error.to_string()))?),
    };
    let tags = query.get("tags").map(|tags| tags.split(',').map(str::to_owned).collect());
    let is_secret = match query.get("secret") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_other| ApiError::parameter("secret", "secret is true or false"))?),
    };
    let edit = MetadataEdit {
        kind,
        is_secret,
        description: query.text("description"),
        tags,
        application: query.text("application"),
        ..MetadataEdit::default()
    };
    // Checked before the body is read: who misspells a parameter need not send ten megabytes.
    Ok(edit.checked()?)
}

/// The id that the client chose; `None` when it chose none.
fn request_id(headers: &HeaderMap) -> Result<Option<RequestId>, ApiError> {
    let Some(value) = headers::single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let id = std::str::from_utf8(value).ok().and_then(|text| RequestId::new(text).ok());
    let rule =
        || ApiError::parameter("Idempotency-Key", format!("it must be 1 to {MAX_REQUEST_ID} visible characters"));
    id.map(Some).ok_or_else(rule)
}

fn origin(call: &Call, note: Option<String>) -> Result<Origin, ApiError> {
    let origin = Origin {
        channel: Source::Rest,
        operator: call.caller.principal().operator(),
        source_address: client::address(&call.request),
        client_id: None,
        note: note.filter(|note| !note.is_empty()),
    };
    Ok(origin.checked()?)
}

async fn publish(state: &State, item: KeyWrite, chosen: Option<RequestId>, origin: Origin) -> Answer {
    let key = item.key.clone();
    let outcome::Published { item, replayed } = outcome::publish(state, item, chosen, origin).await?;
    done(&key, &item, replayed)
}

fn done(key: &ConfigKey, item: &KeyOutcome, replayed: bool) -> Answer {
    let status = if item.effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((VERSION, HeaderValue::from(item.version.0)))
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    if let Some(md5) = item.md5 {
        answer.insert_header((ETAG, answer::entity_tag(md5)));
    }
    let published = Published {
        namespace: key.namespace().to_owned(),
        group: key.group().to_owned(),
        data_id: key.data_id().to_owned(),
        version: item.version.0,
        md5: item.md5.map(|md5| md5.hex()),
        effect: item.effect,
        replayed,
    };
    let body = serde_json::to_vec(&published).map_err(|_unwritable| ApiError::internal())?;
    Ok(answer.body(body))
}

/// The description of `PUT`.
pub(super) fn describe_put() -> Described {
    let kinds = schema::text().enum_values(Some(ConfigType::ALL.map(ConfigType::as_str)));
    let content = schema::text().min_length(Some(1)).pattern(Some("\\S"));
    described("putConfig", "Publish a configuration")
        .query("type", kinds, "The kind of text; the stored one stays when neither this nor Content-Type says")
        .query("description", schema::free(MAX_DESCRIPTION), "For people; empty clears it")
        .query(
            "tags",
            schema::text().pattern(Some("^[^,\\x00]{0,64}(,[^,\\x00]{0,64}){0,4}$")),
            "Labels, comma-separated",
        )
        .query("application", schema::free(MAX_APPLICATION), "The application it belongs to")
        .query(
            "secret",
            schema::text().enum_values(Some(["true", "false"])),
            "Whether the content is a secret: sealed in the database, and shown by a grant for secrets alone; it stays \
             what it was when nothing is said",
        )
        .header("If-None-Match", schema::text().enum_values(Some(["*"])), "Create only")
        .body(&["text/plain", "application/octet-stream"], content, "The content: UTF-8, not blank, up to 10 MiB")
        .json::<Published>(200, "Updated, or unchanged")
        .json::<Published>(201, "Created")
        .refuses(&[ErrorCode::InvalidContent, ErrorCode::BodyTimeout, ErrorCode::TooLarge, ErrorCode::UnsupportedType])
}

/// The description of `DELETE`.
pub(super) fn describe_remove() -> Described {
    described("deleteConfig", "Remove a configuration").json::<Published>(200, "Removed")
}

fn described(id: &str, summary: &str) -> Described {
    let key = schema::text().pattern(Some("^[!-~]{1,128}$"));
    Described::new("configs", id, summary)
        .key()
        .query("note", schema::free(MAX_NOTE), "Why, for the history")
        .header("If-Match", schema::strong_tags(), "Only if the present state is one of these")
        .header("Idempotency-Key", key, "Makes the request safe to repeat, for a day")
        .refuses(&[
            ErrorCode::InvalidName,
            ErrorCode::InvalidParameter,
            ErrorCode::InvalidCondition,
            ErrorCode::NotFound,
            ErrorCode::ConditionFailed,
            ErrorCode::IdempotencyKeyReused,
            ErrorCode::Rejected,
            ErrorCode::Overloaded,
            ErrorCode::Unavailable,
            ErrorCode::ShuttingDown,
            ErrorCode::OutcomeUnknown,
        ])
}
