//! The history of one configuration: the list of its versions, and one version with its content.

use actix_web::http::StatusCode;
use callboard_actors::runtime::ask;
use callboard_actors::store::HistoryEntry;
use callboard_actors::store_reader::{GetHistoryEntry, ListHistory};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::config::Version;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::wire::cursor;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::escaped::{self, LONG};
use crate::api::memory::PATIENCE;
use crate::api::paging::{MAX_PAGE, PAGE};
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};
use crate::http::{answer, client, long};

/// A page of versions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryPage {
    items: Vec<Change>,
    /// For `before` of the next page; null on the last one.
    next: Option<u64>,
}

/// A change of a configuration.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    version: u64,
    /// `create`, `update` or `remove`.
    operation: &'static str,
    /// Null when the change removed the configuration, and of a secret that may not be seen.
    md5: Option<String>,
    /// Whether the content is a secret.
    secret: bool,
    r#type: &'static str,
    description: Option<String>,
    tags: Vec<String>,
    application: Option<String>,
    /// Bytes of content.
    size: u64,
    operator: Option<String>,
    source_address: Option<String>,
    client_id: Option<String>,
    channel: &'static str,
    note: Option<String>,
    request_id: String,
    at: String,
}

/// A change with the content that it made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangeWithContent {
    #[serde(flatten)]
    change: Change,
    /// Null when the change removed the configuration.
    content: Option<String>,
}

impl Change {
    /// What is shown of an entry: the digest of a secret only where its content is, too.
    fn of(entry: HistoryEntry, shows_secrets: bool) -> Self {
        let is_secret = entry.metadata.is_secret;
        Self {
            version: entry.version.0,
            operation: entry.operation.as_str(),
            md5: entry.md5.filter(|_| shows_secrets || !is_secret).map(|md5| md5.hex()),
            secret: is_secret,
            r#type: entry.metadata.kind.as_str(),
            description: entry.metadata.description,
            tags: entry.metadata.tags,
            application: entry.metadata.application,
            size: entry.size,
            operator: entry.origin.operator,
            source_address: entry.origin.source_address,
            client_id: entry.origin.client_id,
            channel: entry.origin.channel.as_str(),
            note: entry.origin.note,
            request_id: entry.request_id.as_str().to_owned(),
            at: answer::rfc3339(entry.at),
        }
    }
}

/// `GET` of the history.
pub(super) async fn list(call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Read, &key))?;
    let query = call.query(&["limit", "before"])?;
    let limit = query.count("limit", PAGE, MAX_PAGE)?;
    let rule = |_| ApiError::parameter("before", "before must be a version, such as the member `next` of a page");
    let before = query.get("before").map(cursor::decode_history).transpose().map_err(rule)?;
    // One more than asked for tells whether there is a next page.
    let shows_secrets = call.caller.principal().may(&Demand::Key(Action::Secret, &key));
    let question = ListHistory { key, before, limit: limit + 1 };
    let found = ask(&call.state.worker.store, question, READ_DEADLINE).await??;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    let items: Vec<Change> = found.into_iter().take(limit).map(|entry| Change::of(entry, shows_secrets)).collect();
    let next = items.last().filter(|_| more).map(|last| last.version);
    answer::json(StatusCode::OK, &HistoryPage { items, next })
}

/// `GET` of one version.
pub(super) async fn entry(call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Read, &key))?;
    call.query(&[])?;
    let rule = |_| ApiError::parameter("version", "the version in the path must be a number");
    let version = cursor::decode_history(call.part("version")).map_err(rule)?;
    let missing = || ApiError::new(ErrorCode::NotFound, format!("the history of {key} has no version {version}"));
    // Room for its content is there before it is read.
    let mut counted = call.state.shared.memory.answers.reserve(client::network(&call.request));
    let question = ListHistory { key: key.clone(), before: Some(Version(version.0.saturating_add(1))), limit: 1 };
    let newest = ask(&call.state.worker.store, question, READ_DEADLINE).await??.pop();
    let size = newest.filter(|newest| newest.version == version).ok_or_else(missing)?.size;
    counted.wait_for(usize::try_from(size).unwrap_or(usize::MAX), PATIENCE).await?;
    let question = GetHistoryEntry { key: key.clone(), version };
    let mut entry = ask(&call.state.worker.store, question, READ_DEADLINE).await??.ok_or_else(missing)?;
    if entry.metadata.is_secret {
        call.caller.require(&Demand::Key(Action::Secret, &key))?;
    }
    let content = entry.content.take();
    let change = Change::of(entry, true);
    if let Some(content) = content.as_ref().filter(|content| content.bytes().len() >= LONG) {
        let write = |place: &str| serde_json::to_vec(&ChangeWithContent { change, content: Some(place.to_owned()) });
        if let Ok(Some(text)) = escaped::around(content.bytes(), write) {
            return Ok(long::answer(&mut answer::json_head(StatusCode::OK), text, counted).await);
        }
        return Err(ApiError::internal());
    }
    let content = content.map(|content| String::from_utf8_lossy(content.bytes()).into_owned());
    answer::json(StatusCode::OK, &ChangeWithContent { change, content })
}

/// The description of the list.
pub(super) fn describe_list() -> Described {
    Described::new("history", "listHistory", "List the versions of a configuration, newest first")
        .key()
        .query("limit", schema::count(MAX_PAGE), "Items of a page; 100 when nothing is said")
        .query("before", schema::version(), "Only versions below this one")
        .json::<HistoryPage>(200, "A page")
        .refuses(&[ErrorCode::InvalidName, ErrorCode::InvalidParameter, ErrorCode::Overloaded])
}

/// The description of one version.
pub(super) fn describe_entry() -> Described {
    Described::new("history", "getHistoryEntry", "Read one version of a configuration")
        .key()
        .path("version", schema::version(), "The version")
        .json::<ChangeWithContent>(200, "The version with its content")
        .refuses(&[ErrorCode::InvalidName, ErrorCode::InvalidParameter, ErrorCode::NotFound, ErrorCode::Overloaded])
}
