//! Listing the configurations of a namespace, page by page.

use actix_web::http::StatusCode;
use callboard_actors::runtime::ask;
use callboard_actors::store::{ListFilter, Summary};
use callboard_actors::store_reader::ListConfigs;
use callboard_protocol::access::grant::{Action, Area, Demand, Names};
use callboard_protocol::config::check_text;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::{self, check_group, check_prefix};
use callboard_protocol::wire::cursor::{FilterDigest, ListCursor};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::paging::{MAX_PAGE, PAGE, cut};
use crate::http::answer;
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};

/// Longest text to search for, in characters.
const MAX_TEXT: usize = 256;

/// A page of configurations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    items: Vec<ConfigSummary>,
    /// For the next page; null on the last one.
    next: Option<String>,
}

/// A configuration without its content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigSummary {
    namespace: String,
    group: String,
    data_id: String,
    version: u64,
    /// Null where the content is a secret.
    md5: Option<String>,
    /// Whether the content is a secret.
    secret: bool,
    r#type: &'static str,
    description: Option<String>,
    tags: Vec<String>,
    application: Option<String>,
    /// Bytes of content.
    size: u64,
    created_at: String,
    modified_at: String,
}

impl From<Summary> for ConfigSummary {
    fn from(summary: Summary) -> Self {
        Self {
            namespace: summary.key.namespace().to_owned(),
            group: summary.key.group().to_owned(),
            data_id: summary.key.data_id().to_owned(),
            version: summary.version.0,
            md5: summary.md5.map(|md5| md5.hex()),
            secret: summary.is_secret,
            r#type: summary.kind.as_str(),
            description: summary.description,
            tags: summary.tags,
            application: summary.application,
            size: summary.size,
            created_at: answer::rfc3339(summary.created_at),
            modified_at: answer::rfc3339(summary.modified_at),
        }
    }
}

/// `GET` of the configurations of a namespace.
pub(super) async fn list(call: Call) -> Answer {
    let namespace = key::namespace(call.part("namespace"))?.to_owned();
    let query = call.query(&["group", "prefix", "q", "limit", "cursor"])?;
    let limit = query.count("limit", PAGE, MAX_PAGE)?;
    if let Some(group) = query.get("group") {
        check_group(group)?;
    }
    let prefix = query.get("prefix").filter(|prefix| !prefix.is_empty());
    if let Some(prefix) = prefix {
        check_prefix(prefix)?;
    }
    let area = Area {
        namespace: &namespace,
        group: query.get("group").map(Names::One),
        data_id: prefix.map(Names::Beginning),
    };
    call.caller.require(&Demand::Area(Action::Read, area))?;
    let text = query.get("q").filter(|text| !text.is_empty());
    if let Some(text) = text {
        check_text("q", text, MAX_TEXT).map_err(|error| ApiError::parameter("q", error.to_string()))?;
    }
    let digest = FilterDigest::of(&[Some(&namespace), query.get("group"), prefix, text]);
    let after = match query.get("cursor") {
        None => None,
        Some(cursor) => Some(ListCursor::decode(cursor, &digest)?),
    };
    let filter = ListFilter {
        namespace,
        group: query.text("group"),
        data_id_prefix: prefix.map(str::to_owned),
        text: text.map(str::to_owned),
    };
    let after = after.map(|cursor| (cursor.group, cursor.data_id));
    // One more than asked for tells whether there is a next page.
    let question = ListConfigs { filter, after, limit: limit + 1 };
    let found = ask(&call.state.worker.store, question, READ_DEADLINE).await??;
    answer::json(StatusCode::OK, &page(found, limit, &digest))
}

fn page(found: Vec<Summary>, limit: u32, digest: &FilterDigest) -> Page {
    let (found, next) = cut(found, limit, digest);
    Page { items: found.into_iter().map(ConfigSummary::from).collect(), next }
}

/// The description of the route.
pub(super) fn describe() -> Described {
    Described::new("configs", "listConfigs", "List the configurations of a namespace")
        .namespace()
        .query("group", schema::group(), "Only this group")
        .query("prefix", schema::prefix(), "Only data ids that begin so")
        .query("q", schema::free(MAX_TEXT), "Only where data id or description holds this text")
        .query("limit", schema::count(MAX_PAGE), "Items of a page; 100 when nothing is said")
        .query("cursor", schema::text(), "The member `next` of the page before")
        .json::<Page>(200, "A page")
        .refuses(&[
            ErrorCode::InvalidName,
            ErrorCode::InvalidParameter,
            ErrorCode::InvalidCursor,
            ErrorCode::Overloaded,
        ])
}
