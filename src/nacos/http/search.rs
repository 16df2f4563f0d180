//! Searching configurations and looking at one with all that is known of it. Owns what is searched for and the form of
//! an item; `pages` writes a page.

use crate::nacos::http::client;
use callboard_protocol::gray::{self, ClientIdentity};
use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use callboard_actors::cache::reader::Get;
use callboard_actors::runtime::ask;
use callboard_actors::store::{Pattern, Search};
use callboard_actors::store_reader::ListHistory;
use callboard_protocol::access::grant::{Action, Area, Demand, Names};
use callboard_protocol::config::{ConfigState, MAX_APPLICATION, check_text};
use callboard_protocol::content::Md5;
use callboard_protocol::key::{ConfigKey, PUBLIC_NAMESPACE};
use serde::Serialize;

use crate::api::READ_DEADLINE;
use crate::api::error::ApiError;
use crate::api::escaped::{self, LONG};
use crate::http::long;
use crate::http::route::Call;
use crate::nacos::http::answer::{JSON, TEXT, bare, word};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::pages::Place;
use crate::nacos::http::parameters::Parameters;
use crate::nacos::http::{Answer, pages};

/// Highest number of a page, and most items of one.
const MOST: u64 = u32::MAX as u64;
/// Items of a page when nobody says.
const PAGE: u64 = 100;

/// What a value of a search means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Itself.
    Accurate,
    /// A pattern, where it holds a `*`.
    Blur,
}

/// A configuration in a page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyWrite {
    /// A number, as a text: that is how clients read it.
    id: String,
    data_id: String,
    group: String,
    content: String,
    md5: Option<String>,
    encrypted_data_key: String,
    tenant: String,
    app_name: String,
    r#type: &'static str,
}

/// A configuration with all that is known of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(flatten)]
    item: KeyWrite,
    create_time: i64,
    modify_time: i64,
    create_user: Option<String>,
    create_ip: Option<String>,
    desc: Option<String>,
    r#use: Option<String>,
    effect: Option<String>,
    schema: Option<String>,
    config_tags: Option<String>,
}

impl KeyWrite {
    /// What `client` gets to see of a state: of a secret neither content nor digest, unless it may. A long content is
    /// given beside it, and stands for itself in `content`.
    pub(super) fn of(state: &ConfigState, client: &ClientIdentity) -> (Self, Option<Bytes>) {
        let (key, metadata) = (&state.key, &state.metadata);
        let chosen = gray::select(state, client).map(|(_, content)| content);
        let bytes = chosen.map(|content| content.bytes().clone()).unwrap_or_default();
        let long = Some(&bytes).filter(|bytes| bytes.len() >= LONG).cloned();
        let content = if long.is_some() { String::new() } else { String::from_utf8_lossy(&bytes).into_owned() };
        let item = Self {
            id: number(key).to_string(),
            data_id: key.data_id().to_owned(),
            group: key.group().to_owned(),
            content,
            md5: chosen.map(|content| content.md5().hex()),
            encrypted_data_key: metadata.encrypted_data_key.clone().unwrap_or_default(),
            tenant: Some(key.namespace()).filter(|id| *id != PUBLIC_NAMESPACE).unwrap_or_default().to_owned(),
            app_name: metadata.application.clone().unwrap_or_default(),
            r#type: metadata.kind.as_str(),
        };
        (item, long)
    }

    /// The same with another content.
    pub(super) fn with(self, content: &str) -> Self {
        Self { content: content.to_owned(), ..self }
    }
}

/// A number that stands for a key: the first 53 bits of a digest, which any client can read.
fn number(key: &ConfigKey) -> u64 {
    let digest = Md5::of(key.to_string().as_bytes()).0;
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 11
}

/// Values that a parameter may list; a statement holds only so many conditions.
const MAX_LISTED: usize = 100;

/// A page of the configurations that fit.
pub(super) async fn list(call: &Call, parameters: &Parameters<'_>, mode: Mode) -> Answer {
    let place = Place { number: count(parameters, "pageNo", 1)?, size: count(parameters, "pageSize", PAGE)? };
    let listed = |name: &str| {
        let values = parameters.filled(name).unwrap_or_default().split(',').map(str::trim);
        let values: BTreeSet<&str> = values.filter(|value| !value.is_empty()).collect();
        if values.len() > MAX_LISTED {
            return Err(Fault::invalid(format!("invalid {name}, it names more than {MAX_LISTED}")));
        }
        Ok(values.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let names = |name: &str, mode| {
        parameters.filled(name).and_then(|text| match mode {
            Mode::Accurate => Some(Names::One(text)),
            Mode::Blur => Names::of_pattern(text),
        })
    };
    let area = Area { namespace: parameters.namespace(), group: names("group", mode), data_id: names("dataId", mode) };
    call.caller.require(&Demand::Area(Action::Read, area))?;
    check_text("appName", parameters.filled("appName").unwrap_or_default(), MAX_APPLICATION)?;
    let types = if mode == Mode::Blur { listed("types")? } else { Vec::new() };
    let kinds: Vec<_> = types.iter().filter_map(|text| text.parse().ok()).collect();
    let has_no_type = kinds.is_empty() && !types.is_empty();
    if has_no_type || !parameters.may_name_something() {
        return pages::nothing(place);
    }
    let search = Search {
        namespace: parameters.namespace().to_owned(),
        data_id: pattern(parameters, "dataId", mode),
        group: pattern(parameters, "group", mode),
        application: pattern(parameters, "appName", mode),
        kinds,
        tags: listed("config_tags")?,
        ..Search::default()
    };
    pages::page(call, search, place).await
}

/// One configuration with all that is known of it; an empty body when there is none.
pub(super) async fn detail(call: &Call, parameters: &Parameters<'_>) -> Answer {
    let key = parameters.key(true)?;
    call.caller.require(&Demand::Key(Action::Read, &key))?;
    let state = ask(&call.state.worker.reader, Get { key }, READ_DEADLINE).await??;
    if state.is_absent() {
        return Ok(word(TEXT, ""));
    }
    let question = ListHistory { key: state.key.clone(), before: None, limit: 1 };
    // Who changed it last; not known any longer when that was long ago.
    let last = ask(&call.state.worker.store, question, READ_DEADLINE).await??.pop().map(|entry| entry.origin);
    let (create_user, create_ip) = last.map(|origin| (origin.operator, origin.source_address)).unwrap_or_default();
    let metadata = &state.metadata;
    let (item, content) = KeyWrite::of(&state, &client::identity(call, None));
    let detail = Detail {
        item,
        create_time: state.created_at.0,
        modify_time: state.modified_at.0,
        create_user,
        create_ip,
        desc: metadata.description.clone(),
        r#use: metadata.usage.clone(),
        effect: metadata.effect.clone(),
        schema: metadata.schema.clone(),
        config_tags: Some(metadata.tags.join(",")).filter(|tags| !tags.is_empty()),
    };
    let Some(content) = content else { return bare(&detail) };
    let network = crate::http::client::network(&call.request);
    let counted = call.state.shared.memory.answers.share(network, &content).await.map_err(ApiError::from)?;
    let write = |place: &str| serde_json::to_vec(&Detail { item: detail.item.with(place), ..detail });
    let text = escaped::around(&content, write).ok().flatten().ok_or_else(ApiError::internal)?;
    let mut head = HttpResponse::Ok();
    head.insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON)));
    Ok(long::answer(&mut head, text, counted).await)
}

/// A blank value is like anything.
fn pattern(parameters: &Parameters<'_>, name: &str, mode: Mode) -> Pattern {
    let Some(text) = parameters.filled(name) else { return Pattern::Any };
    let has_star = mode == Mode::Blur && text.contains('*');
    if has_star { Pattern::Wildcard(text.to_owned()) } else { Pattern::Exactly(text.to_owned()) }
}

/// A whole number from one up to [`MOST`].
fn count(parameters: &Parameters<'_>, name: &str, default: u64) -> Result<u64, Fault> {
    let Some(text) = parameters.filled(name) else { return Ok(default) };
    match text.trim().parse() {
        Ok(count) if (1..=MOST).contains(&count) => Ok(count),
        _ => Err(Fault::invalid(format!("invalid {name}, it must be a whole number from 1 to {MOST}"))),
    }
}
