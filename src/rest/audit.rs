//! What was written down: a list for people, an export with all that it takes to verify it, and what this node finds
//! when it verifies it. Only who may administer the cluster gets here. Changes nothing; `callboard_protocol` verifies.
//!
//! Reading order: this file (the list, and what a chain is like) · `export`.

pub(super) mod export;

use std::collections::HashMap;
use std::time::SystemTime;

use actix::Addr;
use actix_web::http::StatusCode;
use callboard_actors::runtime::ask;
use callboard_actors::store::{AuditFilter, AuditPlace};
use callboard_actors::store_reader::{GetAuditHash, GetAuditHeads, GetAuditRecords, ListAudit, StoreReader};
use callboard_protocol::access::audit::Claims;
use callboard_protocol::access::audit::chain::{Record, Verdict, Verifier};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::paging::{MAX_PAGE, PAGE};
use crate::http::answer;
use crate::http::openapi::{Described, schema};
use crate::http::query::Query;
use crate::http::route::{Answer, Call};

/// Records read at a time.
const STEP: u32 = 500;
/// Records looked at for one page, whatever is found in them.
const MOST: usize = 5_000;

/// What happened, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    items: Vec<AuditEvent>,
    /// For the next page; null on the last one. A page may be short, or empty, and not be the last one.
    next: Option<String>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEvent {
    at: String,
    /// The node that wrote it down, and in which record.
    node: String,
    seq: u64,
    what: String,
    /// Null for nobody in particular.
    user: Option<String>,
    address: Option<String>,
    door: String,
    /// The names of what it was about.
    #[schema(value_type = Object)]
    target: Map<String, Value>,
    /// `done`, `unchanged`, `refused` or `unknown`.
    outcome: String,
    /// Why it was refused.
    code: Option<String>,
    request: Option<String>,
    /// How often, where such events are summed.
    count: u64,
}

/// What the chains of all nodes are like.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditChains {
    items: Vec<AuditChain>,
}

/// What the chain of a node is like.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditChain {
    node: String,
    /// The first record that is there.
    first: u64,
    /// The last one up to which all is right.
    last: u64,
    records: u64,
    /// What is wrong, and where it begins; null when nothing is.
    flaw: Option<String>,
    broken: Option<u64>,
}

impl From<Verdict> for AuditChain {
    fn from(verdict: Verdict) -> Self {
        let Verdict { node, first, last, records, flaw } = verdict;
        Self {
            node,
            first,
            last,
            records,
            broken: flaw.as_ref().map(|flaw| flaw.seq()),
            flaw: flaw.map(|flaw| flaw.to_string()),
        }
    }
}

impl AuditEvent {
    fn of(record: &Record, event: &Value) -> Self {
        let text = |member: &str| event.get(member).and_then(Value::as_str).map(str::to_owned);
        let at = event.get("at").and_then(Value::as_i64).map_or(record.at, WallMillis);
        Self {
            at: answer::rfc3339(at),
            node: record.node.clone(),
            seq: record.seq,
            what: text("what").unwrap_or_default(),
            user: text("user"),
            address: text("address"),
            door: text("door").unwrap_or_default(),
            target: event.get("target").and_then(Value::as_object).cloned().unwrap_or_default(),
            outcome: text("outcome").unwrap_or_default(),
            code: text("code"),
            request: text("request"),
            count: event.get("count").and_then(Value::as_u64).unwrap_or(1),
        }
    }
}

/// The events of a record, newest first. What can't be read has none, and whoever verifies the chain says so.
fn events(record: &Record) -> Vec<Value> {
    let body: Option<Value> = serde_json::from_str(&record.body).ok();
    let events = body.and_then(|mut body| body.get_mut("events").map(Value::take));
    match events {
        Some(Value::Array(events)) => events.into_iter().rev().collect(),
        _ => Vec::new(),
    }
}

/// Which of the events of its records are shown.
struct Wanted<'a> {
    user: Option<&'a str>,
    what: Option<&'a str>,
}

impl Wanted<'_> {
    fn is(&self, event: &Value) -> bool {
        let fits = |wanted: Option<&str>, member: &str| {
            wanted.is_none_or(|wanted| event.get(member).and_then(Value::as_str) == Some(wanted))
        };
        fits(self.user, "user") && fits(self.what, "what")
    }
}

/// Where a page ends: a record, and how many of its events were looked at.
#[derive(Debug, Clone)]
struct Cursor {
    place: AuditPlace,
    taken: usize,
}

impl Cursor {
    fn text(&self) -> String {
        let AuditPlace { at, node, seq } = &self.place;
        format!("{}.{seq}.{}.{node}", at.0, self.taken)
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let mut parts = text.splitn(4, '.');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (at, seq, taken) = (number(), number(), number());
        let read = (|| {
            let place =
                AuditPlace { at: WallMillis(at?), seq: u64::try_from(seq?).ok()?, node: parts.next()?.to_owned() };
            Some(Self { place, taken: usize::try_from(taken?).ok()? })
        })();
        read.ok_or_else(|| ApiError::new(ErrorCode::InvalidCursor, "the cursor was not given out here"))
    }
}

/// A moment that a parameter names.
fn moment(query: &Query<'_>, name: &'static str) -> Result<Option<WallMillis>, ApiError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let wrong = || ApiError::parameter(name, "a moment is written such as 2026-11-30T16:00:00Z");
    let at = humantime::parse_rfc3339_weak(text).map_err(|_unreadable| wrong())?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).map_err(|_before| wrong())?;
    i64::try_from(since.as_millis()).map(|millis| Some(WallMillis(millis))).map_err(|_too_late| wrong())
}

/// `GET` of what happened, newest first.
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query(&["user", "what", "from", "to", "node", "limit", "cursor"])?;
    let limit = usize::try_from(query.count("limit", PAGE, MAX_PAGE)?).unwrap_or(usize::MAX);
    let (from, to) = (moment(&query, "from")?, moment(&query, "to")?);
    let filter = AuditFilter { node: query.text("node"), from, to };
    let wanted = Wanted { user: query.get("user"), what: query.get("what") };
    let cursor = query.get("cursor").map(Cursor::read).transpose()?;
    let store = &call.state.worker.store;
    let (mut items, mut seen) = (Vec::new(), 0);
    let mut records = match &cursor {
        None => Vec::new(),
        Some(Cursor { place, .. }) => record(store, place).await?,
    };
    let (mut skip, mut end) = (cursor.as_ref().map_or(0, |cursor| cursor.taken), cursor.map(|cursor| cursor.place));
    loop {
        for record in &records {
            let place = AuditPlace { at: record.at, node: record.node.clone(), seq: record.seq };
            for (index, event) in events(record).iter().enumerate().skip(std::mem::take(&mut skip)) {
                if wanted.is(event) {
                    items.push(AuditEvent::of(record, event));
                }
                if items.len() >= limit {
                    let next = Some(Cursor { place, taken: index + 1 }.text());
                    return answer::json(StatusCode::OK, &AuditPage { items, next });
                }
            }
            end = Some(place);
        }
        seen += records.len();
        if seen >= MOST {
            let next = end.map(|place| Cursor { place, taken: usize::MAX >> 1 }.text());
            return answer::json(StatusCode::OK, &AuditPage { items, next });
        }
        let question = ListAudit { filter: filter.clone(), after: end.clone(), limit: STEP };
        records = ask(store, question, READ_DEADLINE).await??;
        if records.is_empty() {
            return answer::json(StatusCode::OK, &AuditPage { items, next: None });
        }
    }
}

/// The record at a place, unless it was removed.
async fn record(store: &Addr<StoreReader>, place: &AuditPlace) -> Result<Vec<Record>, ApiError> {
    let question = GetAuditRecords { node: place.node.clone(), after: place.seq.saturating_sub(1), limit: 1 };
    let mut found = ask(store, question, READ_DEADLINE).await??;
    found.retain(|record| record.seq == place.seq);
    Ok(found)
}

/// `GET` of what the chains are like: all of them are read.
pub(super) async fn chains(call: Call) -> Answer {
    call.query(&[])?;
    let store = &call.state.worker.store;
    let heads = ask(store, GetAuditHeads, READ_DEADLINE).await??;
    let mut verifier = Verifier::default();
    for (node, head) in &heads {
        let mut after = 0;
        // What comes while this goes on is not looked at.
        while after < head.seq {
            let question = GetAuditRecords { node: node.clone(), after, limit: STEP };
            let records = ask(store, question, READ_DEADLINE).await??;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in records.iter().filter(|record| record.seq <= head.seq) {
                verifier.take(record, claims(record));
            }
            // Others on this thread have their turn.
            tokio::task::yield_now().await;
        }
    }
    let mut hashes = HashMap::new();
    for seen in verifier.seen() {
        let place = (seen.node.clone(), seen.head.seq);
        let question = GetAuditHash { node: place.0.clone(), seq: place.1 };
        hashes.insert(place, ask(store, question, READ_DEADLINE).await??);
    }
    let found = |node: &str, seq: u64| hashes.get(&(node.to_owned(), seq)).copied().flatten();
    let items = verifier.end(found, false).into_iter().map(AuditChain::from).collect();
    answer::json(StatusCode::OK, &AuditChains { items })
}

/// What a body claims of chains. One that can't be read claims nothing; that it was changed shows elsewhere.
fn claims(record: &Record) -> Option<Claims> {
    serde_json::from_str(&record.body).ok()
}

fn filters(described: Described) -> Described {
    described
        .query("from", schema::text(), "Not before this moment, such as 2026-11-30T16:00:00Z")
        .query("to", schema::text(), "Before this moment")
        .query("node", schema::free(128), "Only what this node wrote down")
}

/// The description of the list.
pub(super) fn describe_list() -> Described {
    filters(Described::new("access", "listAudit", "List who did what, newest first"))
        .query("user", schema::free(128), "Only what this user did")
        .query("what", schema::text(), "Only this kind, such as `publish` or `log_in_refused`")
        .query("limit", schema::count(MAX_PAGE), "Items of a page; 100 when nothing is said")
        .query("cursor", schema::text(), "The member `next` of the page before")
        .json::<AuditPage>(200, "A page")
        .refuses(&[
            ErrorCode::InvalidParameter,
            ErrorCode::InvalidCursor,
            ErrorCode::Unavailable,
            ErrorCode::Overloaded,
        ])
}

/// The description of the chains.
pub(super) fn describe_chains() -> Described {
    Described::new("access", "verifyAudit", "Read everything that was written down, and say whether it holds")
        .json::<AuditChains>(200, "What the chain of each node is like")
        .refuses(&[ErrorCode::InvalidParameter, ErrorCode::Unavailable, ErrorCode::Overloaded])
}

#[cfg(test)]
mod tests;
