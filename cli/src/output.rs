//! Writing to standard output and standard error.

use std::io::Write as _;

use callboard_client::ConfigKey;
use serde_json::{Map, Value, json};

use super::Setting;
use super::arguments::Format;
use super::failure::Failure;
use super::table::printable;

/// Writes an answer as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a document over several lines.
pub(super) fn print_json(document: &Value) -> Result<(), Failure> {
    print(&format!("{document:#}\n"))
}

/// Answers that something was done: a line for people, a document for programs.
pub(super) fn tell(setting: &Setting, line: &str, document: &Value) -> Result<(), Failure> {
    match setting.preferences.output {
        Format::Table => print(&format!("{line}\n")),
        Format::Json => print_json(document),
    }
}

/// Tells people something that is no part of the answer.
pub(super) fn remark(text: &str) {
    let line = format!("callboard: {}\n", printable(text));
    // Nobody can be told that it is lost.
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

/// The members that name a configuration, and some more.
pub(super) fn document(key: &ConfigKey, more: Value) -> Value {
    let mut members = Map::new();
    members.insert("namespace".to_owned(), json!(key.namespace()));
    members.insert("group".to_owned(), json!(key.group()));
    members.insert("dataId".to_owned(), json!(key.data_id()));
    if let Value::Object(more) = more {
        members.extend(more);
    }
    Value::Object(members)
}

/// The text of a member, whatever its type, such as `/addresses/http`; empty when there is none.
pub(super) fn cell(document: &Value, pointer: &str) -> String {
    match document.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(item, "")).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// The items of a member that is a list; none when there is no such member.
pub(super) fn items<'a>(document: &'a Value, member: &str) -> &'a [Value] {
    document.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
