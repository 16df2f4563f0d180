//! The export: a first line that says how far it goes, then each record as it is stored, one line each, the chain of
//! one node after the other. Sent in pieces, so that its length costs no memory.

use std::collections::{BTreeMap, VecDeque};

use actix::Addr;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use callboard_actors::runtime::ask;
use callboard_actors::store_reader::{GetAuditHeads, GetAuditRecords, GetAuditSince, StoreReader};
use callboard_protocol::access::audit::chain::Head;
use callboard_protocol::error_code::ErrorCode;
use futures_util::stream::try_unfold;
use serde::Serialize;

use super::{STEP, filters, moment};
use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call};

const MEDIA_TYPE: &str = "application/x-ndjson";

/// The first line.
#[derive(Serialize)]
struct First<'a> {
    /// The form of what follows.
    audit: u32,
    /// How far each chain goes.
    heads: &'a BTreeMap<String, Head>,
    /// Which records follow: those after the first number, up to the second.
    spans: BTreeMap<&'a str, (u64, u64)>,
    /// Whether some are left out because others were asked for.
    part: bool,
}

/// A record.
#[derive(Serialize)]
struct Line<'a> {
    node: &'a str,
    seq: u64,
    at: i64,
    hash: String,
    body: &'a str,
}

/// Records of one node that are to be sent.
#[derive(Debug, Clone)]
struct Span {
    node: String,
    after: u64,
    through: u64,
}

/// `GET` of everything.
pub(crate) async fn export(call: Call) -> Answer {
    let query = call.query(&["from", "to", "node"])?;
    let (from, to, node) = (moment(&query, "from")?, moment(&query, "to")?, query.get("node"));
    let part = from.is_some() || to.is_some() || node.is_some();
    let store = call.state.worker.store.clone();
    // As of one moment: what others see of a chain later is not in the export either.
    let heads = ask(&store, GetAuditHeads, READ_DEADLINE).await??;
    let mut spans = VecDeque::new();
    for (name, head) in heads.iter().filter(|(name, _)| node.is_none_or(|node| node == name.as_str())) {
        let since = async |at| {
            let first = ask(&store, GetAuditSince { node: name.clone(), from: at }, READ_DEADLINE).await??;
            Ok::<_, ApiError>(first.map_or(head.seq, |first| first.saturating_sub(1)).min(head.seq))
        };
        let after = match from {
            None => 0,
            Some(from) => since(from).await?,
        };
        let through = match to {
            None => head.seq,
            Some(to) => since(to).await?,
        };
        spans.push_back(Span { node: name.clone(), after, through });
    }
    let told = spans.iter().map(|span| (span.node.as_str(), (span.after, span.through))).collect();
    let first = line(&First { audit: 1, heads: &heads, spans: told, part })?;
    let pieces = try_unfold((Some(first), store, spans), async |(first, store, mut spans)| {
        let piece = match first {
            Some(first) => Some(first),
            None => piece(&store, &mut spans).await.inspect_err(|error| {
                tracing::warn!(%error, "an export of what was written down breaks off");
            })?,
        };
        Ok::<_, ApiError>(piece.map(|piece| (Bytes::from(piece), (None, store, spans))))
    });
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Ok(answer.streaming(Box::pin(pieces)))
}

/// The lines of some more records; `None` when all were sent.
async fn piece(store: &Addr<StoreReader>, spans: &mut VecDeque<Span>) -> Result<Option<Vec<u8>>, ApiError> {
    loop {
        let Some(span) = spans.front_mut() else { return Ok(None) };
        let left = span.through.saturating_sub(span.after);
        let limit = u32::try_from(left).map_or(STEP, |left| left.min(STEP));
        let question = GetAuditRecords { node: span.node.clone(), after: span.after, limit };
        let records = if limit == 0 { Vec::new() } else { ask(store, question, READ_DEADLINE).await?? };
        let mut text = Vec::new();
        for record in records.iter().filter(|record| record.seq <= span.through) {
            let hash = record.hash.to_string();
            text.extend(line(&Line {
                node: &record.node,
                seq: record.seq,
                at: record.at.0,
                hash,
                body: &record.body,
            })?);
        }
        match records.last() {
            Some(last) if last.seq < span.through => span.after = last.seq,
            Some(_) | None => drop(spans.pop_front()),
        }
        if !text.is_empty() {
            return Ok(Some(text));
        }
    }
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut line = serde_json::to_vec(value).map_err(|_unwritable| ApiError::internal())?;
    line.push(b'\n');
    Ok(line)
}

/// The description of the route.
pub(crate) fn describe() -> Described {
    filters(Described::new(
        "access",
        "exportAudit",
        "All that was written down, as lines of JSON with all that it takes to verify it",
    ))
    .with_content(200, "How far it goes, then one record on each line", &[MEDIA_TYPE])
    .refuses(&[ErrorCode::InvalidParameter, ErrorCode::Unavailable, ErrorCode::Overloaded])
}
