//! `callboard put`, and what it shares with `callboard rm`: the name of the request, and how its outcome is printed.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::Path;

use callboard_client::{Condition, Effect, Publish, Published};
use serde_json::json;
use uuid::Uuid;

use super::arguments::{Format, PutCondition, PutOptions, Record};
use super::failure::Failure;
use super::output::{document, print, print_json};
use super::{Setting, session};

/// What is read of a content at most: above what any node takes, and below what a computer can't hold.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Publishes a configuration.
pub(super) async fn run(options: PutOptions, setting: &Setting) -> Result<(), Failure> {
    let PutOptions { named, file, kind, condition, description, secret, record, .. } = options;
    let content = read(file.as_deref())?;
    let key = setting.key(&named);
    let request_id = request_id(&record);
    let mut publish = Publish::new(&key, content).idempotency_key(&request_id);
    if let Some(kind) = kind {
        publish = publish.kind(kind);
    }
    if let Some(condition) = condition.to_condition() {
        publish = publish.condition(condition);
    }
    if let Some(description) = description {
        publish = publish.description(description);
    }
    if let Some(secret) = secret {
        publish = publish.secret(secret);
    }
    if let Some(note) = record.note {
        publish = publish.note(note);
    }
    let (client, _) = session::connect(setting).await?;
    let published = client.publish(publish).await;
    session::close(client).await;
    let nodes = &setting.preferences.nodes;
    let published = published.map_err(|error| Failure::of_change(error, &key, &request_id, nodes))?;
    show(&published, setting.preferences.output)
}

impl PutCondition {
    fn to_condition(&self) -> Option<Condition> {
        let md5 = || self.if_md5.clone().map(Condition::IfMd5);
        let absent = || self.if_absent.then_some(Condition::IfAbsent);
        self.if_version.map(Condition::IfVersion).or_else(md5).or_else(absent)
    }
}

/// The idempotency key that was given, or one of our own, so that it can be named when the outcome is not known.
pub(super) fn request_id(record: &Record) -> String {
    record.idempotency_key.clone().unwrap_or_else(|| Uuid::new_v4().simple().to_string())
}

/// Prints what a change did.
pub(super) fn show(published: &Published, format: Format) -> Result<(), Failure> {
    let Published { key, version, md5, effect, replayed } = published;
    let effect = match effect {
        Effect::Created => "created",
        Effect::Updated => "updated",
        Effect::Unchanged => "unchanged",
        Effect::Removed => "removed",
        // The list is open: a later client knows more.
        _ => "unknown",
    };
    match format {
        Format::Table => print(&format!("{effect} {key} version {version}\n")),
        Format::Json => {
            let more = json!({ "version": version, "md5": md5, "effect": effect, "replayed": replayed });
            print_json(&document(key, more))
        }
    }
}

fn read(file: Option<&Path>) -> Result<String, Failure> {
    match file.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let unreadable = |error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
            text(File::open(path).map_err(unreadable)?, &path.display().to_string())
        }
        None if file.is_none() && std::io::stdin().is_terminal() => {
            let message = "nothing to publish: name a FILE, pipe the content in, or type it after naming the file -";
            Err(Failure::Usage(message.to_owned()))
        }
        None => text(std::io::stdin().lock(), "standard input"),
    }
}

fn text(source: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Failure::Usage(format!("{name} is longer than the {MAX_BYTES} bytes that can be sent")));
    }
    // What the error would say holds the content.
    String::from_utf8(bytes).map_err(|_bytes| Failure::Usage(format!("{name} is not UTF-8 text")))
}

#[cfg(test)]
mod tests;
