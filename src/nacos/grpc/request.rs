//! What a client of Nacos sent, as the session actor takes it. Every field may be missing or null, fields that nobody
//! knows are skipped, and an empty text is as good as none. Owns the translation; a message that breaks a rule is
//! answered, and nothing else is harmed.

use std::collections::BTreeSet;
use std::fmt;

use callboard_actors::session::grpc::message::{Listening, StreamMessage};
use callboard_proto::bounded::{List, Table};
use callboard_protocol::config::{MetadataError, check_text};
use callboard_protocol::content::Reported;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::{ClientIdentity, Secrets};
use callboard_protocol::key::{ConfigKey, KeyError, namespace_of};
use callboard_protocol::nacos::fuzzy::{Pattern, key_of};
use callboard_protocol::session::client::{Client, ClientId, ClientKind, MAX_LABEL, MAX_LABELS, MAX_SOFTWARE};
use callboard_protocol::write_request::{Change, Condition, KeyWrite, MAX_ORIGIN_TEXT, Origin, Source, WriteRequest};
use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use uuid::Uuid;

use crate::api::access::Principal;
use crate::api::error::ApiError;
use crate::api::off_worker;
use crate::nacos::publish::{edit, refusal_of_content};

/// The group of who names none.
const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// Most configurations of one request to listen: as many as `grpc.max_listens` can allow a connection.
const MAX_CONTEXTS: usize = 100_000;
/// Most names of what a client holds already of a pattern, whatever node told it of them: far more than are told.
const MAX_RECEIVED: usize = 10_000;
/// Most labels, and most additions to a publish. What is kept of them is fewer.
const MAX_NAMED: usize = 1_000;

/// Everything that a request may hold. Nothing in it is longer than its type says, or deeper than its fields: what a
/// request takes up is bounded while it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Body {
    #[serde(deserialize_with = "text")]
    pub(super) request_id: Option<String>,
    #[serde(deserialize_with = "text")]
    data_id: Option<String>,
    #[serde(deserialize_with = "text")]
    group: Option<String>,
    #[serde(deserialize_with = "text")]
    tenant: Option<String>,
    #[serde(deserialize_with = "text")]
    tag: Option<String>,
    content: Option<String>,
    #[serde(deserialize_with = "text")]
    cas_md5: Option<String>,
    addition_map: Option<Table<Option<String>, MAX_NAMED>>,
    listen: Option<bool>,
    config_listen_contexts: Option<List<ListenContext, MAX_CONTEXTS>>,
    group_key_pattern: Option<String>,
    watch_type: Option<String>,
    initializing: Option<bool>,
    received_group_keys: Option<List<Option<String>, MAX_RECEIVED>>,
    client_version: Option<String>,
    labels: Option<Table<Option<String>, MAX_NAMED>>,
    /// That it is there is all there is to know.
    ability_table: Option<IgnoredAny>,
    result_code: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListenContext {
    #[serde(deserialize_with = "text")]
    data_id: Option<String>,
    #[serde(deserialize_with = "text")]
    group: Option<String>,
    #[serde(deserialize_with = "text")]
    md5: Option<String>,
    #[serde(deserialize_with = "text")]
    tenant: Option<String>,
}

/// Reads a text. A number is as good as its digits: clients that people wrote by hand send them.
fn text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    source.deserialize_any(Text)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map(|number| number.to_string()))
    }
}

/// The tenant and the group as the client wrote them, and the data id: an answer repeats them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) data_id: String,
    pub(super) group: String,
    pub(super) tenant: String,
}

/// What is asked about a pattern.
#[derive(Debug)]
pub(super) enum Watching {
    /// Watch it.
    Watch { text: String, pattern: Pattern, is_initial: bool, received: BTreeSet<ConfigKey> },
    /// Do not watch it any longer.
    Cancel(String),
}

/// A text, unless it is blank.
fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

impl Body {
    /// Reads a body. One without bytes is an empty one.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match bytes.trim_ascii_start().first() {
            None => Ok(Self::default()),
            Some(b'{') => serde_json::from_slice(bytes),
            Some(_) => Err(serde::de::Error::custom("it is no object")),
        }
    }

    /// The configuration that is named.
    pub(super) fn key(&self) -> Result<ConfigKey, ApiError> {
        let data_id = self.data_id.as_deref().unwrap_or_default();
        let group = filled(self.group.as_ref()).unwrap_or(DEFAULT_GROUP);
        ConfigKey::new(namespace_of(self.tenant.as_deref()), group, data_id).map_err(|error| refused_key(&error))
    }

    /// The tag that is insisted on.
    pub(super) fn tag(&self) -> Option<&str> {
        filled(self.tag.as_ref())
    }

    fn given(&self, name: &str) -> Option<&String> {
        self.addition_map.as_ref()?.0.get(name)?.as_ref()
    }

    fn addition(&self, name: &str) -> Option<&str> {
        filled(self.given(name))
    }

    /// A publish.
    pub(super) async fn publish(mut self, origin: Origin) -> Result<WriteRequest, ApiError> {
        let key = self.key()?;
        for gray in ["betaIps", "tag"] {
            if self.addition(gray).is_some() {
                return Err(unsupported(gray));
            }
        }
        let content =
            self.content.take().ok_or_else(|| ApiError::new(ErrorCode::InvalidParameter, "content is blank : "))?;
        let content = off_worker::content(content.into_boxed_str().into_boxed_bytes().into())
            .await
            .map_err(|error| ApiError::new(ErrorCode::InvalidParameter, refusal_of_content(&error)))?;
        let condition = match filled(self.cas_md5.as_ref()) {
            Some(expected) => Condition::NacosCas(expected.to_owned()),
            None => Condition::None,
        };
        let text = |name: &str| match name {
            "appName" | "encryptedDataKey" => self.given(name).cloned(),
            // SDKs of Python send all of them, blank where nobody set one.
            _ => self.addition(name).map(str::to_owned),
        };
        let edit = edit(|name| self.addition(name), text)
            .map_err(|error| ApiError::new(ErrorCode::InvalidParameter, error))?;
        // Who is known counts, whatever he says.
        let operator = origin.operator.clone().or_else(|| self.addition("src_user").map(str::to_owned));
        let origin = Origin { operator, ..origin }.checked().map_err(|error| refused_text(&error))?;
        let change = Change::Put { content, edit: Box::new(edit) };
        Ok(WriteRequest::of_one(KeyWrite { key, condition, change }, None, origin, Uuid::now_v7()))
    }

    /// A removal.
    pub(super) fn remove(self, origin: Origin) -> Result<WriteRequest, ApiError> {
        let key = self.key()?;
        if self.tag().is_some() {
            return Err(unsupported("tag"));
        }
        let origin = origin.checked().map_err(|error| refused_text(&error))?;
        let item = KeyWrite { key, condition: Condition::None, change: Change::Remove };
        Ok(WriteRequest::of_one(item, None, origin, Uuid::now_v7()))
    }

    /// Whether the client listens from now on, or does not any longer; to what, and under which names.
    pub(super) fn listens(self) -> (bool, Vec<Listening>, Vec<Named>) {
        let contexts = self.config_listen_contexts.map(|contexts| contexts.0).unwrap_or_default();
        let listens = contexts.into_iter().map(|ListenContext { data_id, group, md5, tenant }| {
            let (data_id, group) = (data_id.unwrap_or_default(), group.unwrap_or_default());
            let key = ConfigKey::new(namespace_of(tenant.as_deref()), &group, &data_id).ok();
            let reported = Reported::read(md5.as_deref().unwrap_or_default());
            let tenant = tenant.unwrap_or_default();
            (Listening { key, tenant: tenant.clone(), reported }, Named { data_id, group, tenant })
        });
        let (listens, named) = listens.unzip();
        (self.listen.unwrap_or(true), listens, named)
    }

    /// The configurations that the client wants to listen to, and can be told apart.
    pub(super) fn listened(&self) -> Vec<ConfigKey> {
        let contexts =
            self.config_listen_contexts.iter().flat_map(|contexts| &contexts.0).filter(|_| self.listen != Some(false));
        let key = |context: &ListenContext| {
            let (group, data_id) = (context.group.as_deref().unwrap_or_default(), context.data_id.as_deref());
            ConfigKey::new(namespace_of(context.tenant.as_deref()), group, data_id.unwrap_or_default()).ok()
        };
        contexts.filter_map(key).collect()
    }

    /// The pattern that the client wants to watch, if it is one.
    pub(super) fn watched(&self) -> Option<Pattern> {
        let cancels = self.watch_type.as_deref() == Some("CANCEL_WATCH");
        self.group_key_pattern.as_deref().filter(|_| !cancels).and_then(|text| Pattern::parse(text).ok())
    }

    /// What is asked about a pattern.
    pub(super) fn watching(self) -> Result<Watching, ApiError> {
        let text = self.group_key_pattern.unwrap_or_default();
        match self.watch_type.as_deref() {
            Some("CANCEL_WATCH") => return Ok(Watching::Cancel(text)),
            None | Some("" | "WATCH") => {}
            Some(_) => return Err(ApiError::new(ErrorCode::InvalidParameter, "watchType is WATCH or CANCEL_WATCH")),
        }
        let pattern =
            Pattern::parse(&text).map_err(|error| ApiError::new(ErrorCode::InvalidParameter, error.to_string()))?;
        let received = self.received_group_keys.map(|received| received.0).unwrap_or_default();
        let received = received.iter().flatten().filter_map(|name| key_of(name)).collect();
        Ok(Watching::Watch { text, pattern, is_initial: self.initializing.unwrap_or(false), received })
    }

    /// What a client says over its stream, of this class. `from` is where it comes from, `claimed` where it says it
    /// does.
    pub(super) fn stream_message(self, class: &str, id: &str, from: &str, claimed: &str) -> StreamMessage {
        if class == "ConnectionSetupRequest" {
            let wants_ready = self.ability_table.is_some();
            return StreamMessage::SetUp { client: Box::new(self.client(id, from, claimed)), wants_ready };
        }
        let number = self.request_id.and_then(|number| number.parse().ok());
        match (class.ends_with("Response"), number, self.result_code) {
            // Of which class it is says nothing: clients disagree about that.
            (true, Some(number), Some(code)) => StreamMessage::Acknowledged(number, code == 200),
            _ => StreamMessage::Other,
        }
    }

    /// Who the client says it is. What breaks a rule of what is kept of it is left out: no client is refused for its
    /// labels.
    fn client(self, id: &str, from: &str, claimed: &str) -> Client {
        let labels = self.labels.map(|labels| labels.0).unwrap_or_default();
        let label = |name: &str| labels.get(name).and_then(|value| filled(value.as_ref()));
        let short = |text: &str, max: usize| text.chars().filter(|sign| *sign != '\0').take(max).collect::<String>();
        let claimed = Some(claimed.trim()).filter(|claimed| (1..=MAX_LABEL).contains(&claimed.len()));
        let identity = ClientIdentity {
            address: claimed.unwrap_or(from).to_owned(),
            application: label("AppName").map(|name| short(name, callboard_protocol::config::MAX_APPLICATION)),
            tag: label("Vipserver-Tag").map(|tag| short(tag, MAX_LABEL)),
            labels: labels
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .filter(|(name, value)| [name, value].iter().all(|text| check_text("label", text, MAX_LABEL).is_ok()))
                .take(MAX_LABELS)
                .collect(),
            // Each request shows anew who asks.
            secrets: Secrets::Hidden,
        };
        let software = short(self.client_version.as_deref().unwrap_or_default(), MAX_SOFTWARE);
        Client { id: ClientId(id.into()), kind: ClientKind::Grpc, identity, software }
    }
}

/// Who asks for a change.
pub(super) fn origin(principal: &Principal, from: &str) -> Origin {
    let source_address = Some(from.chars().take(MAX_ORIGIN_TEXT).collect());
    Origin { channel: Source::Grpc, operator: principal.operator(), source_address, client_id: None, note: None }
}

/// A part of Nacos that is not there yet. It is refused, so that nobody takes it for done.
fn unsupported(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Unsupported, format!("{what} is not supported by this server yet"))
}

fn refused_key(error: &KeyError) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter, format!("invalid {}: {error}", error.part()))
}

fn refused_text(error: &MetadataError) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter, error.to_string())
}

#[cfg(test)]
mod tests;
