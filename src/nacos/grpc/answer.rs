//! What clients of Nacos are answered and told, as it is sent: a class, and JSON of the form that all of them take.
//! Texts are there and never null, `errorCode` is zero for what went well alone, and a notice has headers, if empty
//! ones.

use callboard_actors::session::grpc::message::{Found, Notice};
use callboard_proto::nacos::{Metadata, Payload};
use callboard_protocol::config::ConfigState;
use callboard_protocol::content::Content;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::Part;
use callboard_protocol::nacos::fuzzy::group_key;
use prost_types::Any;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::escaped::{self, Escaped};
use crate::nacos::grpc::request::Named;
use crate::nacos::refusal::access_refusal;

/// What every answer holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a, T> {
    result_code: i32,
    error_code: i32,
    success: bool,
    message: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    fields: T,
}

/// Nothing besides.
#[derive(Serialize)]
struct Nothing {}

/// The answer to a query.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queried<'a> {
    content: &'a str,
    content_type: &'a str,
    md5: String,
    last_modified: i64,
    beta: bool,
    encrypted_data_key: &'a str,
}

/// The answer to a query that brought nothing. Some clients need these, whatever else is missing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotQueried {
    last_modified: i64,
    beta: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    data_id: &'a str,
    group: &'a str,
    tenant: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listened<'a> {
    changed_configs: Vec<Changed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'a> {
    connection_id: &'a str,
    support_ability_negotiation: bool,
}

/// An answer without words of its own.
pub(super) fn done(class: &'static str, request_id: &str) -> Payload {
    good(class, request_id, Nothing {})
}

/// What the client's connection is called.
pub(super) fn checked(request_id: &str, connection_id: &str) -> Payload {
    good("ServerCheckResponse", request_id, Checked { connection_id, support_ability_negotiation: true })
}

/// The content that the client gets of a configuration.
pub(super) fn queried(request_id: &str, found: &Found, content: &Content) -> Payload {
    // Content is UTF-8; it was checked when it was published.
    let text = String::from_utf8_lossy(content.bytes());
    with_content(request_id, found, (content, &text), |class, body| payload(class, body))
}

/// The class and the body of [`queried`], whose content is written as it goes out. `None` when it can't be.
pub(super) fn queried_long(request_id: &str, found: &Found, content: &Content) -> Option<(&'static str, Escaped)> {
    let write = |place: &str| with_content(request_id, found, (content, place), |_, body| serde_json::to_vec(body));
    Some((QUERIED, escaped::around(content.bytes(), write).ok()??))
}

const QUERIED: &str = "ConfigQueryResponse";

/// The content that the client gets of a configuration, with `text` in its place.
fn with_content<T>(
    request_id: &str,
    found: &Found,
    (content, text): (&Content, &str),
    write: impl FnOnce(&'static str, &Answer<'_, Queried<'_>>) -> T,
) -> T {
    let state: &ConfigState = &found.state;
    let fields = Queried {
        content: text,
        content_type: state.metadata.kind.as_str(),
        md5: content.md5().hex(),
        last_modified: state.modified_at.0,
        beta: false,
        encrypted_data_key: state.metadata.encrypted_data_key.as_deref().unwrap_or_default(),
    };
    let age = found.age.map(|age| format!("stale: nothing newer could be known for {} s", age.as_secs()));
    let message = age.as_deref().unwrap_or_default();
    write(QUERIED, &Answer { result_code: 200, error_code: 0, success: true, message, request_id, fields })
}

/// Which configurations differ from what the client holds.
pub(super) fn listened(request_id: &str, named: &[Named], changed: &[bool]) -> Payload {
    let changed = named.iter().zip(changed).filter(|(_, is_changed)| **is_changed);
    let changed_configs =
        changed.map(|(Named { data_id, group, tenant }, _)| Changed { data_id, group, tenant }).collect();
    good("ConfigChangeBatchListenResponse", request_id, Listened { changed_configs })
}

/// A refusal, as an answer of this class.
pub(super) fn refused(class: &'static str, request_id: &str, error: &ApiError) -> Payload {
    let (code, message) = (error.entry().nacos_grpc, access_refusal(error).unwrap_or(error.detail()));
    match class {
        "ConfigQueryResponse" => answer(class, code, message, request_id, NotQueried { last_modified: 0, beta: false }),
        "ConfigChangeBatchListenResponse" => {
            answer(class, code, message, request_id, Listened { changed_configs: Vec::new() })
        }
        _ => answer(class, code, message, request_id, Nothing {}),
    }
}

/// The class of what is told of a request for which there is no answer of its own class.
const ERROR: &str = "ErrorResponse";

/// The connection is not set up.
pub(super) fn unregistered(request_id: &str) -> Payload {
    refused(ERROR, request_id, &ApiError::new(ErrorCode::NotSetUp, "Connection is unregistered."))
}

/// Nobody knows such a request.
pub(super) fn no_handler(request_id: &str) -> Payload {
    refused(ERROR, request_id, &ApiError::new(ErrorCode::UnknownRequest, "RequestHandler Not Found"))
}

/// The body can't be read.
pub(super) fn undecodable(why: &str) -> Payload {
    refused(ERROR, "", &ApiError::new(ErrorCode::MalformedRequest, format!("the body can't be read: {why}")))
}

fn good<T: Serialize>(class: &'static str, request_id: &str, fields: T) -> Payload {
    answer(class, 0, "", request_id, fields)
}

fn answer<T: Serialize>(class: &'static str, error_code: i32, message: &str, request_id: &str, fields: T) -> Payload {
    let success = error_code == 0;
    let result_code = if success { 200 } else { 500 };
    payload(class, &Answer { result_code, error_code, success, message, request_id, fields })
}

fn payload(class: &str, body: &impl Serialize) -> Payload {
    // Texts and numbers can be written; an empty body would be taken for nothing said.
    let value = serde_json::to_vec(body).unwrap_or_default();
    Payload {
        metadata: Some(Metadata { r#type: class.to_owned(), ..Metadata::default() }),
        body: Some(Any { type_url: String::new(), value }),
    }
}

/// The notice that a configuration changed: by far the most frequent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigChanged<'a> {
    headers: Nothing,
    request_id: String,
    module: &'static str,
    data_id: &'a str,
    group: &'a str,
    tenant: &'a str,
}

/// A notice, as it is sent over a stream.
pub(super) fn notice(notice: Notice) -> Payload {
    let (class, module, number, mut fields) = match notice {
        Notice::Ready(number) => {
            let abilities =
                json!({ "fuzzyWatch": true, "supportPersistentInstanceByGrpc": false, "lock": false, "mcp": false });
            ("SetupAckRequest", "internal", number, json!({ "abilityTable": abilities }))
        }
        Notice::Detection(number) => ("ClientDetectionRequest", "internal", number, json!({})),
        Notice::Changed { number, key, tenant } => {
            let (data_id, group) = (key.data_id(), key.group());
            let (request_id, module) = (number.to_string(), "config");
            let headers = Nothing {};
            let said = ConfigChanged { headers, request_id, module, data_id, group, tenant: &tenant };
            return payload("ConfigChangeNotifyRequest", &said);
        }
        Notice::Matched { number, key, is_there } => {
            let change = if is_there { "CONFIG_CHANGED" } else { "DELETE_CONFIG" };
            let fields = json!({ "groupKey": group_key(&key), "changeType": change });
            ("ConfigFuzzyWatchChangeNotifyRequest", "config", number, fields)
        }
        Notice::Sync { number, pattern, part, sync } => {
            let (kind, current) = match part {
                Part::Batch(batch) if sync.is_initial => ("FUZZY_WATCH_INIT_NOTIFY", batch),
                Part::Batch(batch) => ("FUZZY_WATCH_DIFF_SYNC_NOTIFY", batch),
                Part::Finish => ("FINISH_FUZZY_WATCH_INIT_NOTIFY", 0),
            };
            let contexts = sync.keys.iter().map(|(key, is_there)| matched(key, *is_there)).collect::<Vec<_>>();
            let fields = json!({
                "groupKeyPattern": pattern,
                "syncType": kind,
                "contexts": contexts,
                "totalBatch": sync.total,
                "currentBatch": current,
            });
            ("ConfigFuzzyWatchSyncRequest", "config", number, fields)
        }
    };
    if let Value::Object(fields) = &mut fields {
        fields.insert("headers".to_owned(), json!({}));
        fields.insert("requestId".to_owned(), number.to_string().into());
        fields.insert("module".to_owned(), module.into());
    }
    payload(class, &fields)
}

fn matched(key: &ConfigKey, is_there: bool) -> Value {
    json!({ "groupKey": group_key(key), "changedType": if is_there { "ADD_CONFIG" } else { "DELETE_CONFIG" } })
}

#[cfg(test)]
mod tests;
