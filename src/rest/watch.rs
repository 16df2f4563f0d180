//! The stream of changes as server-sent events. Owns the form of an event; which states are sent, and in which order,
//! is the session's.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::Bytes;
use callboard_actors::runtime::start;
use callboard_actors::session::stream::{Deps, Frame, Outlet, StreamRequest, StreamSession};
use callboard_protocol::config::{ConfigState, Version};
use callboard_protocol::content::Content;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::{self, ClientIdentity};
use callboard_protocol::key::PUBLIC_NAMESPACE;
use callboard_protocol::session::client::{Client, ClientId, ClientKind};
use callboard_protocol::watch::{Selector, SelectorError};
use callboard_protocol::wire::event_id;
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::api::error::ApiError;
use crate::api::escaped::{self, Escaped, LONG};
use crate::api::state::State;
use crate::http::openapi::{Described, schema};
use crate::http::query::Query;
use crate::http::route::{Answer, Call};
use crate::http::{client, connection, headers};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const MEDIA_TYPE: &str = "text/event-stream";
/// Events that may wait for the connection; beyond, the session keeps only the newest of each key.
const BUFFER: usize = 4;
/// How long the registration of the watch may take.
const OPENING: Duration = Duration::from_secs(5);

/// `GET /watch`.
pub(super) async fn watch(call: Call) -> Answer {
    let selector = selector(&call.query(&["namespace", "group", "dataId", "prefix"])?)?;
    call.caller.require_selected(&selector)?;
    let resume = headers::single(call.request.headers(), &LAST_EVENT_ID)?
        .map(event_id::parse)
        .transpose()
        .map_err(|error| ApiError::new(ErrorCode::InvalidCursor, error.to_string()))?;
    call.state.shared.draining.refuse_new()?;
    let client = client::identity(&call.request, call.caller.principal()).into_owned();
    let mut coming = open(&call.state, selector, resume, client.clone());
    let first = match tokio::time::timeout(OPENING, coming.recv()).await {
        Ok(Some(Frame::Refused(refused))) => return Err(refused.into()),
        Ok(Some(frame)) => frame,
        Ok(None) | Err(_) => return Err(ApiError::new(ErrorCode::Unavailable, "the stream could not begin")),
    };
    let changed = call.caller.changed(&call.state);
    let _held = connection::hold(&call.request);
    let events = Events { first: Some(first), coming, long: None, client, changed, _held };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        // Proxies must not collect events.
        .insert_header((ACCEL_BUFFERING, HeaderValue::from_static("no")))
        .streaming(events))
}

/// Starts the session that fills the channel.
fn open(state: &State, selector: Selector, resume: Option<Version>, identity: ClientIdentity) -> mpsc::Receiver<Frame> {
    let worker = &state.worker;
    let deps = Deps {
        coordinator: worker.coordinator.clone(),
        keys: worker.store.clone().recipient(),
        changed: worker.store.clone().recipient(),
        get_many: worker.reader.clone().recipient(),
        metrics: worker.node.metrics.push.clone(),
    };
    let (frames, coming) = mpsc::channel(BUFFER);
    let options = &state.shared.options;
    let outlet = Rc::new(Outlet::new(frames, resume));
    let number = state.shared.admission.number();
    // A stream has no other name.
    let id = ClientId(format!("stream-{}-{}", identity.address, number.0).into());
    let client = Arc::new(Client { id, kind: ClientKind::Stream, identity, software: String::new() });
    let (heartbeat, max_keys, since) = (options.heartbeat, options.max_keys, worker.node.clock.wall());
    let request = StreamRequest { selector, heartbeat, max_keys, outlet, number, client, since };
    start(&state.spec_of_many("stream_session"), move |_| StreamSession::new(request.clone(), deps.clone()));
    coming
}

fn selector(query: &Query<'_>) -> Result<Selector, ApiError> {
    let namespace = query.get("namespace").unwrap_or(PUBLIC_NAMESPACE);
    let selected = match (query.get("group"), query.get("dataId"), query.get("prefix")) {
        (Some(group), Some(data_id), None) => Selector::exact(namespace, group, [data_id.to_owned()]),
        (group, None, Some(prefix)) => Selector::prefix(namespace, group, prefix),
        (None, Some(_), None) => return Err(ApiError::parameter("group", "dataId needs the group it is in")),
        (_, Some(_), Some(_)) => return Err(ApiError::parameter("prefix", "give dataId or prefix, not both")),
        (_, None, None) => return Err(ApiError::parameter("prefix", "give dataId or prefix; an empty prefix is all")),
    };
    selected.map_err(|error| match error {
        SelectorError::Name(error) => error.into(),
        SelectorError::NoDataId => ApiError::parameter("dataId", "name a dataId"),
    })
}

/// The body of the answer.
struct Events {
    first: Option<Frame>,
    coming: mpsc::Receiver<Frame>,
    /// An event with a long content that is being written.
    long: Option<Escaped>,
    client: ClientIdentity,
    /// Ends when what the client may do has changed.
    changed: Pin<Box<dyn Future<Output = ()>>>,
    _held: connection::Held,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.changed.as_mut().poll(task).is_ready() {
            return Poll::Ready(None);
        }
        if let Some(piece) = self.long.as_mut().and_then(Escaped::next_piece) {
            return Poll::Ready(Some(Ok(piece)));
        }
        let frame = match self.first.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.coming.poll_recv(task),
        };
        frame.map(|frame| {
            let frame = frame?;
            self.long = long_event(&frame, &self.client);
            let first = self.long.as_mut().and_then(Escaped::next_piece);
            Some(Ok(first.unwrap_or_else(|| event(&frame, &self.client))))
        })
    }
}

/// The data of an event; what is absent is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    namespace: &'a str,
    group: &'a str,
    data_id: &'a str,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

fn event(frame: &Frame, client: &ClientIdentity) -> Bytes {
    match frame {
        Frame::State { state, resume_after } => state_event(state, *resume_after, client),
        // Browsers drop an event without data.
        Frame::Reset => Bytes::from_static(b"event: reset\ndata: {}\n\n"),
        Frame::Opened => Bytes::from_static(b": watching\n\n"),
        Frame::Heartbeat => Bytes::from_static(b": ping\n\n"),
        Frame::Refused(_) => Bytes::from_static(b": the stream can't go on; come again\n\n"),
    }
}

fn state_event(state: &ConfigState, resume_after: Version, client: &ClientIdentity) -> Bytes {
    let content = gray::select(state, client).map(|(_, content)| content);
    // Content is UTF-8; it was checked when it was published.
    let text = content.map(|content| std::str::from_utf8(content.bytes()).unwrap_or_default());
    write_event(state, resume_after, (content, text)).map(Bytes::from).unwrap_or_else(|error| {
        tracing::error!(%error, "an event can't be written as JSON");
        Bytes::from_static(b": an event could not be written\n\n")
    })
}

/// An event with a long content, which is written as it goes out; `None` when it is to be written as a whole.
fn long_event(frame: &Frame, client: &ClientIdentity) -> Option<Escaped> {
    let Frame::State { state, resume_after } = frame else { return None };
    let (_, content) = gray::select(state, client).filter(|(_, content)| content.bytes().len() >= LONG)?;
    escaped::around(content.bytes(), |place| write_event(state, *resume_after, (Some(content), Some(place)))).ok()?
}

fn write_event(
    state: &ConfigState,
    resume_after: Version,
    (content, text): (Option<&Content>, Option<&str>),
) -> serde_json::Result<Vec<u8>> {
    let data = EventData {
        namespace: state.key.namespace(),
        group: state.key.group(),
        data_id: state.key.data_id(),
        version: state.version.0,
        md5: content.map(|content| content.md5().hex()),
        r#type: content.map(|_| state.metadata.kind.as_str()),
        content: text,
    };
    let name = if content.is_some() { "config" } else { "removed" };
    let mut event = format!("id: {resume_after}\nevent: {name}\ndata: ").into_bytes();
    event.reserve(256 + text.map_or(0, str::len));
    // JSON escapes line breaks, so the data is one line.
    serde_json::to_writer(&mut event, &data)?;
    event.extend_from_slice(b"\n\n");
    Ok(event)
}

/// The description of the route.
pub(super) fn describe() -> Described {
    Described::new("configs", "watch", "Hear of changes: the present states first, then each change")
        .query("namespace", schema::namespace(), "The namespace; public when nothing is said")
        .query("group", schema::group(), "The group; needed with dataId")
        .query("dataId", schema::data_id(), "One configuration; this or prefix")
        .query("prefix", schema::prefix(), "All data ids that begin so; empty for all")
        .header("Last-Event-ID", schema::version(), "Resume after this event")
        .with_content(200, "Events named config, removed and reset, and comments as heartbeats", &[MEDIA_TYPE])
        .refuses(&[
            ErrorCode::InvalidName,
            ErrorCode::InvalidParameter,
            ErrorCode::InvalidCursor,
            ErrorCode::Overloaded,
            ErrorCode::ShuttingDown,
        ])
}

#[cfg(test)]
mod tests;
