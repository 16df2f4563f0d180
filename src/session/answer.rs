//! What the session actor says, as it is sent. Owns the form; what went wrong is told by the code and the words of
//! `api::error`.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use callboard_actors::session::native::message::{Answer, Fault, Listing, OutboundMessage};
use callboard_actors::store::Summary;
use callboard_proto::frame::FrameError;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use callboard_proto::{MAX_PUSHED, frame, json, long, session as proto};
use callboard_protocol::config::{ConfigState, SharedState};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::write_request::Refusal;

use crate::api::access::is_secret;
use crate::api::cluster::elsewhere;
use crate::api::error::ApiError;
use crate::api::escaped::{self, Escaped, LONG};
use crate::api::off_worker;
use crate::api::paging;
use crate::session::Welcome;

/// Longest frame of a push that is kept for the next session, in bytes: all but what an odd name makes longer.
const MAX_KEPT: usize = MAX_PUSHED + 4 * 1024;

/// The message that says this.
pub(super) async fn envelope(said: OutboundMessage, welcome: &Welcome) -> Envelope {
    let OutboundMessage { id, answer } = said;
    let kind = match answer {
        Answer::Welcome(version) => Kind::Welcome(welcome_message(version, welcome).await),
        Answer::Config(state, None) if state.formal.is_some() => Kind::Error(refused(&is_secret(&state.key))),
        Answer::Config(state, content) => {
            let length = content.as_ref().map_or(0, |content| content.bytes().len());
            Kind::Config(off_worker::run(length, move || config(&state, content.as_ref())).await)
        }
        Answer::Page(found, listing) => Kind::Page(page(found, &listing)),
        Answer::Published { key, outcome, replayed } => Kind::Published(proto::Published {
            key: Some(named(&key)),
            version: outcome.version.0,
            md5: outcome.md5.map(|md5| md5.hex()).unwrap_or_default(),
            effect: outcome.effect.as_str().to_owned(),
            replayed,
        }),
        Answer::Watching => Kind::Watching(proto::Watching {}),
        Answer::Unwatched => Kind::Unwatched(proto::Unwatched {}),
        Answer::Push { state, content, reset } => Kind::Push(push(&state, content.as_ref(), reset)),
        Answer::Ping(number) => Kind::Ping(proto::Ping { number }),
        Answer::Pong(number) => Kind::Pong(proto::Pong { number }),
        Answer::GoAway(nodes) => {
            Kind::GoAway(proto::GoAway { nodes: nodes.to_vec(), reason: "this node stops".to_owned() })
        }
        Answer::Failed(fault) => Kind::Error(error(fault)),
    };
    Envelope { id, kind: Some(kind) }
}

async fn welcome_message(version: u16, welcome: &Welcome) -> proto::Welcome {
    let mut nodes = vec![welcome.tcp.to_string()];
    nodes.extend(elsewhere(&welcome.node).await);
    proto::Welcome {
        version: u32::from(version),
        node: welcome.node.id.to_string(),
        idle_timeout_ms: u64::try_from(welcome.idle.as_millis()).unwrap_or(u64::MAX),
        max_watches: u32::try_from(welcome.max_watches).unwrap_or(u32::MAX),
        http: welcome.http.to_string(),
        nodes,
    }
}

fn named(key: &ConfigKey) -> proto::Key {
    proto::Key {
        namespace: key.namespace().to_owned(),
        group: key.group().to_owned(),
        data_id: key.data_id().to_owned(),
    }
}

/// Content is UTF-8; it was checked when it was published.
fn text(content: &Content) -> String {
    String::from_utf8_lossy(content.bytes()).into_owned()
}

fn config(state: &ConfigState, content: Option<&Content>) -> proto::Config {
    proto::Config { content: content.map(text).unwrap_or_default(), ..config_head(state, content) }
}

/// All of it but its content.
fn config_head(state: &ConfigState, content: Option<&Content>) -> proto::Config {
    proto::Config {
        key: Some(named(&state.key)),
        version: state.version.0,
        exists: content.is_some(),
        md5: content.map(|content| content.md5().hex()).unwrap_or_default(),
        r#type: content.map(|_| state.metadata.kind.as_str().to_owned()).unwrap_or_default(),
        content: String::new(),
    }
}

/// The content of an answer, where it is so long that it is sent from where it is.
pub(super) fn long_content(said: &OutboundMessage) -> Option<&Content> {
    match &said.answer {
        Answer::Config(_, Some(content)) if content.bytes().len() >= LONG => Some(content),
        _ => None,
    }
}

/// The frame of such an answer, up to its content.
pub(super) fn long_frame(said: &OutboundMessage) -> Option<Result<(Bytes, Bytes), FrameError>> {
    let Answer::Config(state, Some(content)) = &said.answer else { return None };
    let head = long::config(said.id, &config_head(state, Some(content)), content.bytes().len());
    Some(head.map(|head| (head, content.bytes().clone())))
}

/// The text of such an answer, whose content is written as it goes out. `None` when it has to be written as a whole.
pub(super) fn long_text(said: &OutboundMessage) -> Option<Escaped> {
    let Answer::Config(state, Some(content)) = &said.answer else { return None };
    let write = |place: &str| {
        let config = proto::Config { content: place.to_owned(), ..config_head(state, Some(content)) };
        json::encode(&Envelope { id: said.id, kind: Some(Kind::Config(config)) }).map(String::into_bytes)
    };
    escaped::around(content.bytes(), write).ok()?
}

fn push(state: &ConfigState, content: Option<&Content>, reset: bool) -> proto::Push {
    proto::Push {
        key: Some(named(&state.key)),
        version: state.version.0,
        removed: content.is_none(),
        md5: content.map(|content| content.md5().hex()).unwrap_or_default(),
        r#type: content.map(|_| state.metadata.kind.as_str().to_owned()).unwrap_or_default(),
        content: content.filter(|content| content.bytes().len() <= MAX_PUSHED).map(text),
        reset,
    }
}

fn page(found: Vec<Summary>, listing: &Listing) -> proto::Page {
    let (found, next) = paging::cut(found, listing.limit, &listing.digest);
    let items = found.into_iter().map(|found| proto::Summary {
        key: Some(named(&found.key)),
        version: found.version.0,
        md5: found.md5.map(|md5| md5.hex()).unwrap_or_default(),
        r#type: found.kind.as_str().to_owned(),
        size: found.size,
    });
    proto::Page { items: items.collect(), next: next.unwrap_or_default() }
}

/// A push, and its frame.
struct Written {
    state: SharedState,
    md5: Option<Md5>,
    reset: bool,
    frame: Bytes,
}

thread_local! {
    /// The push that was written last on this thread: the same goes to every session that watches the key.
    static LAST_PUSH: RefCell<Option<Written>> = const { RefCell::new(None) };
}

/// The frame of a push. `None` when it can't be written, which a push always can.
pub(super) fn push_frame(state: &SharedState, content: Option<&Content>, reset: bool) -> Option<Bytes> {
    let md5 = content.map(Content::md5);
    LAST_PUSH.with_borrow_mut(|last| {
        if let Some(written) = last
            && Arc::ptr_eq(&written.state, state)
            && (written.md5, written.reset) == (md5, reset)
        {
            return Some(written.frame.clone());
        }
        let frame = frame::encode(&Envelope { id: 0, kind: Some(Kind::Push(push(state, content, reset))) }).ok()?;
        if frame.len() <= MAX_KEPT {
            *last = Some(Written { state: Arc::clone(state), md5, reset, frame: frame.clone() });
        }
        Some(frame)
    })
}

/// What went wrong, in the words of the protocol.
pub(super) fn error(fault: Fault) -> proto::Error {
    let (version, md5) = match &fault {
        Fault::Refused(Refusal::Conflict { version, md5, .. }) => (version.0, md5.map(|md5| md5.hex())),
        _ => (0, None),
    };
    let request_id = match &fault {
        Fault::Unknown(id) => id.to_string(),
        _ => String::new(),
    };
    proto::Error { version, md5: md5.unwrap_or_default(), request_id, ..refused(&ApiError::from(fault)) }
}

fn refused(error: &ApiError) -> proto::Error {
    proto::Error {
        code: error.code().as_str().to_owned(),
        message: error.detail().to_owned(),
        retry_after_ms: error.entry().retry_after.unwrap_or_default() * 1_000,
        ..proto::Error::default()
    }
}
