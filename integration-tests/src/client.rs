//! A thin client of the native API. Owns nothing but a connection pool; shows every answer as it came, good or bad.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use callboard_protocol::content::Md5;
use callboard_protocol::key::ConfigKey;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::sse::{Frame, Parser};

/// Longest time for one answer, unless the request says otherwise. Longer than any `wait`.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

/// A request that can still be added to.
#[derive(Debug)]
#[must_use = "a request is sent by send()"]
pub struct Request(RequestBuilder);

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The path of `key` under the root, such as `/api/v1/namespaces/public/groups/g/configs/d`.
#[must_use]
pub fn path(key: &ConfigKey) -> String {
    format!("/api/v1/namespaces/{}/groups/{}/configs/{}", key.namespace(), key.group(), key.data_id())
}

impl Client {
    /// A client of the node at `base`, such as `http://127.0.0.1:8848`.
    #[must_use]
    pub fn new(base: String) -> Self {
        Self::by(base, reqwest::Client::new())
    }

    /// A client of the node at `base` that speaks HTTP so.
    #[must_use]
    pub fn by(base: String, http: reqwest::Client) -> Self {
        Self { base, http }
    }

    /// A request to any path (with its query) under the root. The path is sent as it stands.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request(self.http.request(method, format!("{}{path}", self.base)).timeout(ANSWER_LIMIT))
    }

    /// A GET of any path under the root.
    pub fn get_path(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Publishes `content`.
    pub fn put(&self, key: &ConfigKey, content: impl Into<Bytes>) -> Request {
        self.request(Method::PUT, &path(key)).body(content)
    }

    /// Reads the configuration.
    pub fn get(&self, key: &ConfigKey) -> Request {
        self.get_path(&path(key))
    }

    /// Reads the configuration as soon as it is no longer at `version`, at the latest after `seconds`.
    pub fn wait(&self, key: &ConfigKey, version: u64, seconds: u32) -> Request {
        self.get(key).query("wait", &format!("{seconds}s")).header("If-None-Match", &format!("\"v{version}\""))
    }

    /// Removes the configuration.
    pub fn delete(&self, key: &ConfigKey) -> Request {
        self.request(Method::DELETE, &path(key))
    }

    /// Lists the configurations of a namespace.
    pub fn list(&self, namespace: &str) -> Request {
        self.get_path(&format!("/api/v1/namespaces/{namespace}/configs"))
    }

    /// The newest rows of the history of a configuration.
    pub fn history(&self, key: &ConfigKey) -> Request {
        self.get_path(&format!("{}/history", path(key)))
    }

    /// All rows of the history, newest first, page by page. None when the node does not know the key.
    ///
    /// # Errors
    /// The node answers anything but 200 with a history or 404.
    pub async fn whole_history(&self, key: &ConfigKey) -> anyhow::Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut before = None;
        loop {
            let mut request = self.history(key).query("limit", "500");
            if let Some(version) = before {
                request = request.query("before", &format!("{version}"));
            }
            let answer = request.send().await?;
            if answer.status == 404 {
                return Ok(rows);
            }
            let page = answer.expect(200)?.json()?;
            rows.extend(page["items"].as_array().context("a history has items")?.iter().cloned());
            before = page["next"].as_u64();
            if before.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Opens an event stream. `query` is what stands behind the question mark.
    ///
    /// # Errors
    /// The node answers anything but 200 with an event stream.
    pub async fn watch(&self, query: &str, last_event_id: Option<u64>) -> anyhow::Result<Watch> {
        let mut request = self.http.get(format!("{}/api/v1/watch?{query}", self.base));
        if let Some(version) = last_event_id {
            request = request.header("Last-Event-ID", version.to_string());
        }
        let response = request.send().await?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if response.status() != 200 || !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            bail!("watch was answered {}: {}", response.status(), response.text().await?);
        }
        Ok(Watch { stream: Box::pin(response.bytes_stream()), parser: Parser::default() })
    }
}

impl Request {
    /// Adds a query parameter.
    pub fn query(self, name: &str, value: &str) -> Self {
        Self(self.0.query(&[(name, value)]))
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Waits no longer than this for the whole answer.
    pub fn limit(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// Sets a JSON body with its content type.
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// The connection failed; whether the node has acted on the request is unknown.
    pub async fn send(self) -> anyhow::Result<Answer> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }
}

impl Answer {
    /// The answer itself when it has this status.
    ///
    /// # Errors
    /// It has another; the body is in the message.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        if self.status != status {
            bail!("expected {status}, got {}: {}", self.status, self.text());
        }
        Ok(self)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What `X-Callboard-Version` says.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.header("X-Callboard-Version").parse().ok()
    }

    /// The digest in the `ETag`.
    #[must_use]
    pub fn md5(&self) -> Option<Md5> {
        Md5::parse(self.header("ETag").trim_matches('"'))
    }

    /// The code of a problem; empty when the body is none.
    #[must_use]
    pub fn code(&self) -> String {
        let problem = self.json().unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// An open event stream.
pub struct Watch {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    parser: Parser,
}

/// What one event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A configuration has this content now.
    Config {
        /// Which one.
        key: ConfigKey,
        /// Its version.
        version: u64,
        /// The digest that the event names.
        md5: String,
        /// Its type.
        kind: String,
        /// Its content.
        content: String,
    },
    /// A configuration is gone.
    Removed {
        /// Which one.
        key: ConfigKey,
        /// The version of the removal.
        version: u64,
    },
    /// The place asked for is no longer in the feed; present states follow.
    Reset,
}

impl Event {
    /// Key and version, unless it is a reset.
    #[must_use]
    pub fn subject(&self) -> Option<(&ConfigKey, u64)> {
        match self {
            Self::Config { key, version, .. } | Self::Removed { key, version } => Some((key, *version)),
            Self::Reset => None,
        }
    }
}

impl Watch {
    /// The next event, or `None` when none came within `limit`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The stream ended, or an event is not as documented.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<Option<Event>> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(frame) = self.parser.next_frame() {
                return event(&frame).with_context(|| format!("{frame:?}")).map(Some);
            }
            match tokio::time::timeout_at(deadline, self.stream.next()).await {
                Err(_elapsed) => return Ok(None),
                Ok(None) => bail!("the event stream ended"),
                Ok(Some(piece)) => self.parser.push(&piece?),
            }
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// As [`Watch::next`]; also when none came soon.
    pub async fn expect(&mut self) -> anyhow::Result<Event> {
        self.next(crate::poll::SOON).await?.context("no event came")
    }

    /// Heartbeats seen so far.
    #[must_use]
    pub fn heartbeats(&self) -> usize {
        self.parser.comments()
    }
}

fn event(frame: &Frame) -> anyhow::Result<Event> {
    if frame.event == "reset" {
        return Ok(Event::Reset);
    }
    let data: Value = serde_json::from_str(&frame.data)?;
    let text = |name: &str| data[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    let key = ConfigKey::new(&text("namespace")?, &text("group")?, &text("dataId")?)?;
    let version = data["version"].as_u64().context("no version")?;
    if frame.id.as_deref() != Some(version.to_string().as_str()) {
        bail!("the id is not the version");
    }
    match frame.event.as_str() {
        "config" => {
            Ok(Event::Config { key, version, md5: text("md5")?, kind: text("type")?, content: text("content")? })
        }
        "removed" => Ok(Event::Removed { key, version }),
        other => bail!("unknown event {other:?}"),
    }
}
