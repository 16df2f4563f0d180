//! The way to the REST interface of the node that a session was had with. Owns paging, and what its refusals are as
//! failures of a command.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::arguments::Bound;
use super::failure::Failure;
use super::table::printable;
use super::{Setting, session};

/// Items of a page, the most that a node gives.
const PAGE: usize = 500;

/// How long an answer may take that is read as it comes.
const WHOLE: Duration = Duration::from_secs(24 * 3_600);

/// An answer that is read as it comes.
#[derive(Debug)]
pub(super) struct Stream {
    answer: reqwest::Response,
    node: String,
}

impl Stream {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]: it breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let piece = self.answer.chunk().await.map_err(|error| {
            let reason = format!("the answer breaks off: {}", printable(&reason(&error)));
            Failure::Unreachable { nodes: self.node.clone(), reason }
        })?;
        Ok(piece.map(Vec::from))
    }
}

/// The REST interface of a node.
#[derive(Debug)]
pub(super) struct Rest {
    http: reqwest::Client,
    base: Url,
    /// Under which id the session was known that found the node.
    own_id: String,
    /// Where native sessions of the nodes of its cluster are reached.
    nodes: Vec<String>,
}

impl Rest {
    /// Finds a node by a short session.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]; [`Failure::Denied`]; [`Failure::Server`] when the node does not say where it serves
    /// HTTP.
    pub(super) async fn find(setting: &Setting) -> Result<Self, Failure> {
        let (client, node) = session::connect(setting).await?;
        let own_id = client.id().to_owned();
        session::close(client).await;
        let trust = &setting.preferences.trust;
        let base = match (trust, node.http.rsplit_once(':')) {
            // At the host by which the session was had, for that is in the node's certificate.
            (Some(_), Some((_, port))) => format!("https://{}/", authority(&format!("0.0.0.0:{port}"), &node.address)),
            _ => format!("http://{}/", authority(&node.http, &node.address)),
        };
        let base = Url::parse(&base);
        let base = base.map_err(|error| {
            let said = printable(&node.http);
            Failure::Server(format!("{} does not say where it serves HTTP ({said:?}): {error}", node.address))
        })?;
        Ok(Self { http: http(setting)?, base, own_id, nodes: node.nodes })
    }

    /// The REST interface at `base`, for who is not known yet: no session is had by him.
    ///
    /// # Errors
    /// [`Failure::Usage`]: it is no address; a file can't be read.
    pub(super) fn at(setting: &Setting, base: &str) -> Result<Self, Failure> {
        let fit = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = fit.ok_or_else(|| Failure::Usage(format!("{base} is no URL; expected https://HOST[:PORT]")))?;
        Ok(Self { http: http(setting)?, base, own_id: String::new(), nodes: Vec::new() })
    }

    /// Where native sessions of the nodes of the cluster are reached, as the node that was found names them.
    pub(super) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The id of the session that found the node; it has ended, but the cluster may not have noticed yet.
    pub(super) fn own_id(&self) -> &str {
        &self.own_id
    }

    /// Reads one document below `/api/v1`.
    ///
    /// # Errors
    /// What the node refuses as the failure that it means; [`Failure::Unreachable`].
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        self.ask(self.http.get(self.url(path, query)?), false).await
    }

    /// Makes a change below `/api/v1`, with a body unless it is null. What has no answer answers null.
    ///
    /// # Errors
    /// Those of [`Rest::get`]; [`Failure::ChangeUnknown`].
    pub(super) async fn change(&self, method: Method, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.http.request(method, self.url(path, &[])?);
        self.ask(if body.is_null() { request } else { request.json(body) }, true).await
    }

    /// Posts a body below `/api/v1`, where refusals by one of `codes` are a part of the conversation: gives the code
    /// then.
    ///
    /// # Errors
    /// Those of [`Rest::change`].
    pub(super) async fn try_change(
        &self,
        path: &[&str],
        body: &Value,
        codes: &[&'static str],
    ) -> Result<Result<Value, &'static str>, Failure> {
        match self.send(self.http.post(self.url(path, &[])?).json(body), true).await? {
            Ok(answer) => Ok(Ok(answer)),
            Err((problem, status)) => {
                let code = problem.get("code").and_then(Value::as_str).unwrap_or_default();
                let expected = codes.iter().copied().find(|expected| *expected == code);
                expected.map(Err).ok_or_else(|| refused(&problem, status))
            }
        }
    }

    /// Removes what path and query name.
    ///
    /// # Errors
    /// Those of [`Rest::change`].
    pub(super) async fn remove(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        self.ask(self.http.delete(self.url(path, query)?), true).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder, is_change: bool) -> Result<Value, Failure> {
        self.send(request, is_change).await?.map_err(|(problem, status)| refused(&problem, status))
    }

    /// The answer, or the problem that the node tells and its status.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        is_change: bool,
    ) -> Result<Result<Value, (Value, u16)>, Failure> {
        let unanswered = |error: reqwest::Error| match printable(&reason(&error)) {
            reason if is_change && !error.is_connect() => Failure::ChangeUnknown(reason),
            reason => Failure::Unreachable { nodes: self.base.authority().to_owned(), reason },
        };
        let answer = request.send().await.map_err(unanswered)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unanswered)?;
        let document: Option<Value> = serde_json::from_slice(&body).ok();
        match document {
            Some(document) if status.is_success() => Ok(Ok(document)),
            None if status.is_success() && body.is_empty() => Ok(Ok(Value::Null)),
            Some(problem) => Ok(Err((problem, status.as_u16()))),
            None => Err(Failure::Server(format!("{} answered {status} without JSON", self.base.authority()))),
        }
    }

    /// Reads a list, page after page up to the bound: the first page, with the items of all in it and without `next`.
    /// `cursor` is the parameter that takes `next`.
    ///
    /// # Errors
    /// Those of [`Rest::get`].
    pub(super) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        cursor: &'static str,
        bound: &Bound,
    ) -> Result<Value, Failure> {
        let limit = bound.to_count();
        let mut query = query.to_vec();
        query.push(("limit", PAGE.min(limit).to_string()));
        let mut document = self.get(path, &query).await?;
        let (mut items, mut next) = take_page(&mut document);
        while let Some(place) = next.filter(|_| items.len() < limit) {
            let mut query = query.clone();
            query.push((cursor, place.clone()));
            let (more, after) = take_page(&mut self.get(path, &query).await?);
            items.extend(more);
            // A node that names the same page again would be followed for ever.
            next = after.filter(|after| *after != place);
        }
        items.truncate(limit);
        if let Some(members) = document.as_object_mut() {
            members.insert("items".to_owned(), Value::Array(items));
        }
        Ok(document)
    }

    /// Begins to read what may be long and is no document of JSON.
    ///
    /// # Errors
    /// Those of [`Rest::get`].
    pub(super) async fn stream(&self, path: &[&str], query: &[(&str, String)]) -> Result<Stream, Failure> {
        let request = self.http.get(self.url(path, query)?).timeout(WHOLE);
        let node = self.base.authority().to_owned();
        let unreachable =
            |error: reqwest::Error| Failure::Unreachable { nodes: node.clone(), reason: printable(&reason(&error)) };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Stream { answer, node });
        }
        match answer.json().await {
            Ok(problem) => Err(refused(&problem, status.as_u16())),
            Err(_no_json) => Err(Failure::Server(format!("{node} answered {status} without JSON"))),
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url, Failure> {
        // In a path these two mean another one, even escaped.
        if let Some(name) = path.iter().find(|part| part.is_empty() || matches!(**part, "." | "..")) {
            return Err(Failure::Usage(format!("{name:?} can't be asked for by name")));
        }
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

impl Bound {
    /// How many items are wanted.
    pub(super) fn to_count(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// Speaks HTTP with nodes, directly, whatever proxy the environment names.
fn http(setting: &Setting) -> Result<reqwest::Client, Failure> {
    let mut http = reqwest::Client::builder().no_proxy().timeout(setting.timeout);
    http = http.default_headers(authorization(setting)?);
    if let Some(trust) = &setting.preferences.trust {
        http = http.use_preconfigured_tls((*trust.tls()?.config()).clone());
    }
    http.build().map_err(|error| Failure::Server(format!("cannot speak HTTP: {error}")))
}

/// What tells a node who asks.
fn authorization(setting: &Setting) -> Result<HeaderMap, Failure> {
    let text = setting.shown.text();
    let mut headers = HeaderMap::new();
    if !text.is_empty() {
        // What the error would say holds the secret.
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_secret| Failure::Usage("the token holds letters that no token has".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Where HTTP is reached: as the node says, unless that is every address of its machine; then it is where its sessions
/// are.
fn authority(http: &str, session: &str) -> String {
    match http.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let host = session.rsplit_once(':').map_or(session, |(host, _)| host);
            let is_bare = host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
            let host = if is_bare { format!("[{host}]") } else { host.to_owned() };
            format!("{host}:{}", address.port())
        }
        Ok(_) | Err(_) => http.to_owned(),
    }
}

/// The items of a page, and where the next one begins: a text in most lists, a version in a history.
fn take_page(page: &mut Value) -> (Vec<Value>, Option<String>) {
    let Some(members) = page.as_object_mut() else { return (Vec::new(), None) };
    let items = match members.remove("items") {
        Some(Value::Array(items)) => items,
        Some(_) | None => Vec::new(),
    };
    let next = match members.remove("next") {
        Some(Value::String(next)) => Some(next),
        Some(Value::Number(next)) => Some(next.to_string()),
        Some(_) | None => None,
    };
    (items, next)
}

/// What a problem document means.
fn refused(problem: &Value, status: u16) -> Failure {
    let text = |member: &str| printable(problem.get(member).and_then(Value::as_str).unwrap_or_default());
    let (code, detail) = (text("code"), text("detail"));
    match code.as_str() {
        "not_found" => Failure::NotFound(detail),
        "unauthenticated" | "forbidden" => Failure::denied(&code, &detail),
        "outcome_unknown" => Failure::ChangeUnknown(detail),
        // What the node does not know, it is too old for.
        "no_such_route" => Failure::Server(format!("the node can't be asked for that: {detail}")),
        _ if status == 400 => Failure::Usage(detail),
        _ if status == 409 => Failure::Conflict(detail),
        _ => Failure::Server(format!("the node refused ({code}, {status}): {detail}")),
    }
}

/// What an error of HTTP says at its root, where the cause is.
fn reason(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { reason.to_string() }
}

#[cfg(test)]
mod tests;
