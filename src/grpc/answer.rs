//! What clients of Nacos are answered and told, as it is sent: a class, and JSON of the form that all of them take. Texts
//! are there and never null, `errorCode` is zero for what went well alone, and a notice has headers, if empty ones.

use callboard_actors::session::grpc::words::{Fault, Found, Notice};
use callboard_proto::nacos::{Metadata, Payload};
use callboard_protocol::config::ConfigState;
use callboard_protocol::content::Content;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::Part;
use callboard_protocol::nacos::fuzzy::group_key;
use callboard_protocol::unit::Refusal;
use prost_types::Any;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::Named;
use crate::session::answer::told;

/// Codes that clients know.
mod code {
    pub(super) const FAILED: i32 = 500;
    /// In an answer to a query: there is no such configuration.
    pub(super) const NOT_FOUND: i32 = 300;
    pub(super) const UNREGISTERED: i32 = 301;
    pub(super) const NO_HANDLER: i32 = 302;
    pub(super) const NO_RIGHT: i32 = 403;
    pub(super) const NOT_IMPLEMENTED: i32 = 501;
    pub(super) const UNDECODABLE: i32 = 502;
    pub(super) const OVER_THRESHOLD: i32 = 503;
    pub(super) const TOO_MANY_PATTERNS: i32 = 50_310;
    pub(super) const TOO_MANY_MATCHES: i32 = 50_311;
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    code: i32,
    message: String,
}

impl Refused {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What the client sent breaks a rule.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(code::FAILED, message)
    }

    /// A part of Nacos that is not there yet. It is refused, so that nobody takes it for done.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(code::NOT_IMPLEMENTED, format!("{what} is not supported by this server yet"))
    }

    /// A part of Nacos that is not here, and what to do instead.
    pub(super) fn absent(why: &str) -> Self {
        Self::new(code::NOT_IMPLEMENTED, why)
    }

    /// There is no such configuration for this client.
    pub(super) fn no_config() -> Self {
        Self::new(code::NOT_FOUND, "config data not exist")
    }

    /// The caller may not do this.
    pub(super) fn no_right(message: impl Into<String>) -> Self {
        Self::new(code::NO_RIGHT, message)
    }

    /// The client watches as many patterns as it may.
    pub(super) fn too_many_patterns(most: usize) -> Self {
        Self::new(code::TOO_MANY_PATTERNS, format!("a connection may watch {most} patterns"))
    }

    /// The pattern is watched, and the client is not told of all that it matches.
    pub(super) fn too_many_matches(count: u64) -> Self {
        Self::new(code::TOO_MANY_MATCHES, format!("the pattern matches {count} configurations; the first are told"))
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(Refusal::Conflict { .. }) => {
                Self::new(code::FAILED, "Cas publish fail, server md5 may have changed.")
            }
            Fault::Unknown(id) => {
                let message = format!("outcome unknown, request {id}, read the configuration to see");
                Self::new(code::OVER_THRESHOLD, message)
            }
            fault => {
                let is_too_much = matches!(
                    fault,
                    Fault::Busy | Fault::Watch(_) | Fault::TooManyWatches(_) | Fault::TooManyKeys(_) | Fault::Leaving
                );
                let (_, message, _) = told(fault);
                Self::new(if is_too_much { code::OVER_THRESHOLD } else { code::FAILED }, message)
            }
        }
    }
}

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
    let state: &ConfigState = &found.state;
    // Content is UTF-8; it was checked when it was published.
    let text = String::from_utf8_lossy(content.bytes());
    let fields = Queried {
        content: &text,
        content_type: state.metadata.kind.as_str(),
        md5: content.md5().hex(),
        last_modified: state.modified_at.0,
        beta: false,
        encrypted_data_key: state.metadata.encrypted_data_key.as_deref().unwrap_or_default(),
    };
    let age = found.age.map(|age| format!("stale: nothing newer could be known for {} s", age.as_secs()));
    answer("ConfigQueryResponse", 0, age.as_deref().unwrap_or_default(), request_id, fields)
}

/// Which configurations differ from what the client holds.
pub(super) fn listened(request_id: &str, named: &[Named], changed: &[bool]) -> Payload {
    let changed = named.iter().zip(changed).filter(|(_, is_changed)| **is_changed);
    let changed_configs =
        changed.map(|(Named { data_id, group, tenant }, _)| Changed { data_id, group, tenant }).collect();
    good("ConfigChangeBatchListenResponse", request_id, Listened { changed_configs })
}

/// A refusal, as an answer of this class.
pub(super) fn refused(class: &'static str, request_id: &str, Refused { code, message }: &Refused) -> Payload {
    match class {
        "ConfigQueryResponse" => {
            answer(class, *code, message, request_id, NotQueried { last_modified: 0, beta: false })
        }
        "ConfigChangeBatchListenResponse" => {
            answer(class, *code, message, request_id, Listened { changed_configs: Vec::new() })
        }
        _ => answer(class, *code, message, request_id, Nothing {}),
    }
}

/// The connection is not set up.
pub(super) fn unregistered(request_id: &str) -> Payload {
    answer("ErrorResponse", code::UNREGISTERED, "Connection is unregistered.", request_id, Nothing {})
}

/// Nobody knows such a request.
pub(super) fn no_handler(request_id: &str) -> Payload {
    answer("ErrorResponse", code::NO_HANDLER, "RequestHandler Not Found", request_id, Nothing {})
}

/// The body can't be read.
pub(super) fn undecodable(why: &str) -> Payload {
    answer("ErrorResponse", code::UNDECODABLE, &format!("the body can't be read: {why}"), "", Nothing {})
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
