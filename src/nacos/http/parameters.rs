//! The parameters of a request, from the query and from a form body alike, encoded or in parts, and the checker that
//! stands in front of every route. Owns the rule that a parameter given in both places counts as in the query; gives
//! none a meaning.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::ready;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use bytes::Bytes;
use callboard_protocol::key::{
    ConfigKey, KeyError, MAX_DATA_ID, MAX_GROUP, MAX_NAMESPACE, Part, namespace, namespace_of,
};
use futures_util::FutureExt as _;
use futures_util::stream::once;
use multer::Multipart;

use crate::api::auth::Credentials;
use crate::api::off_worker;
use crate::api::state::State;
use crate::http::connection::take_moved_query;
use crate::http::route::Caller;
use crate::http::{body, query};
use crate::nacos::http::fault::Fault;

/// Longest body, in bytes: ten mebibytes of content whose every byte is written as three, and the rest of the form.
const MAX_BODY: usize = 31 * 1024 * 1024;
/// Most parameters of one request.
const MAX_PARAMETERS: usize = 10_000;

/// The parameters that were given; the first of a name counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parameters<'a> {
    given: Vec<Pair<'a>>,
}

impl<'a> Parameters<'a> {
    /// The parameters of a request whose body is none: `GET`.
    ///
    /// # Errors
    /// They are not encoded as UTF-8, or a name breaks its rule.
    pub(super) fn of_query(request: &'a HttpRequest) -> Result<Self, Fault> {
        let mut parameters = Self::default();
        parameters.add(request.query_string())?;
        parameters.check_names()?;
        Ok(parameters)
    }

    /// The parameters of a request that may carry a form.
    ///
    /// # Errors
    /// As [`of_query`](Self::of_query); or the body can't be read.
    pub(super) async fn of_form(
        request: &'a HttpRequest,
        payload: &mut Payload,
        (state, caller): (&State, &mut Caller),
    ) -> Result<Self, Fault> {
        let mut parameters = Self::default();
        match take_moved_query(request) {
            Some(query) => parameters.add_owned(query.into()).await?,
            None => parameters.add(request.query_string())?,
        }
        let form = Form::declared(request.headers())?;
        if form != Form::None {
            let options = body::Options { max: MAX_BODY, patience: state.shared.options.body_timeout };
            parameters.add_form(form, body::read(request, payload, options).await?).await?;
        }
        caller.show(parameters.shown(), request, state).await?;
        parameters.check_names()?;
        Ok(parameters)
    }

    /// What they show of who asks.
    pub(super) fn shown(&self) -> Credentials<'_> {
        let filled = |name| self.get(name).filter(|value| !value.is_empty());
        match (filled("accessToken"), filled("username"), filled("password")) {
            (Some(token), _, _) => Credentials::Token(token),
            (None, Some(user), Some(password)) => Credentials::Password(user, password),
            _ => Credentials::None,
        }
    }

    pub(super) async fn add_form(&mut self, form: Form, body: Bytes) -> Result<(), Fault> {
        match form {
            Form::None => Ok(()),
            Form::Encoded => self.add_owned(body).await,
            Form::Parts(boundary) => self.add_parts(boundary, body).await,
        }
    }

    /// Adds the fields of a form in parts, as they are. Those with a file name are no parameters, and count all the
    /// same.
    async fn add_parts(&mut self, boundary: String, body: Bytes) -> Result<(), Fault> {
        let (before, length) = (self.given.len(), body.len());
        // It is there as a whole: nothing is waited for.
        let read =
            move || parts(boundary, body, before).now_or_never().unwrap_or_else(|| Err("it breaks off".to_owned()));
        self.given.extend(off_worker::run(length, read).await.map_err(Fault::invalid)?);
        Ok(())
    }

    /// As [`add`](Self::add), and holds on to nothing of `text`.
    async fn add_owned(&mut self, text: Bytes) -> Result<(), Fault> {
        let (before, length) = (self.given.len(), text.len());
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let read = move || {
            let text = std::str::from_utf8(&text).map_err(|_not_utf8| NOT_ENCODED.to_owned())?;
            pairs(text, before).map(|pair| pair.map(|(name, value)| (owned(name), owned(value)))).collect()
        };
        let added: Result<Vec<_>, String> = off_worker::run(length, read).await;
        self.given.extend(added.map_err(Fault::invalid)?);
        Ok(())
    }

    /// Adds what `text` says, `name=value` pairs parted by `&`.
    pub(super) fn add(&mut self, text: &'a str) -> Result<(), Fault> {
        for pair in pairs(text, self.given.len()) {
            self.given.push(pair.map_err(Fault::invalid)?);
        }
        Ok(())
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_ref())
    }

    /// The value of a parameter unless it is blank: SDKs send blank ones for what nobody set.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// The value of a parameter as a text of its own.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Takes the value of a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let (_, value) = self.given.iter_mut().find(|(given, _)| given == name)?;
        Some(std::mem::take(value).into_owned())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The namespace that is meant.
    pub(super) fn namespace(&self) -> &str {
        namespace_of(self.get("namespaceId").or_else(|| self.get("tenant")))
    }

    /// The key that is meant. With `lenient`, a blank group is the default one.
    ///
    /// # Errors
    /// A part is missing or blank.
    pub(super) fn key(&self, lenient: bool) -> Result<ConfigKey, Fault> {
        let data_id = self.get("dataId").ok_or_else(|| Fault::missing("dataId"))?;
        let mut group = self.get("group").ok_or_else(|| Fault::missing("group"))?;
        if lenient && group.trim().is_empty() {
            group = DEFAULT_GROUP;
        }
        ConfigKey::new(self.namespace(), group, data_id).map_err(refused_key)
    }

    /// Whether a configuration can be named as the parameters of a search say: a search for what no name can be like
    /// finds nothing.
    pub(super) fn may_name_something(&self) -> bool {
        let is_like_a_name = |name: &str, legal: fn(u8) -> bool| {
            self.filled(name).is_none_or(|value| value.bytes().all(|byte| legal(byte) || byte == b'*'))
        };
        namespace(self.namespace()).is_ok() && is_like_a_name("dataId", in_name) && is_like_a_name("group", in_name)
    }

    /// Nacos's parameter checker. Blank values pass here, and so do the names of a search that need not be whole ones.
    pub(super) fn check_names(&self) -> Result<(), Fault> {
        let is_blur = self.get("search") == Some("blur");
        for (name, value) in &self.given {
            match name.as_ref() {
                "tenant" | "namespaceId" | "dataId" | "group" if is_blur => {}
                "tenant" | "namespaceId" => check(NAMESPACE, value, MAX_NAMESPACE, in_namespace)?,
                // What a search may hold more than a name.
                "dataId" => check("dataId", value, MAX_DATA_ID, |byte| in_name(byte) || byte == b'*')?,
                "group" => check("group", value, MAX_GROUP, |byte| in_name(byte) || byte == b'*')?,
                // The one text that may hold anything.
                "content" => {}
                name if value.contains('\0') => return Err(Fault::invalid(format!("{name} holds a NUL character"))),
                _ => {}
            }
        }
        Ok(())
    }
}

const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
const NAMESPACE: &str = "namespaceId/tenant";
const ILLEGAL: &str = "illegal characters should not appear in the param";

fn in_namespace(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn in_name(byte: u8) -> bool {
    in_namespace(byte) || byte == b'.' || byte == b':'
}

fn check(name: &str, value: &str, max: usize, legal: fn(u8) -> bool) -> Result<(), Fault> {
    if value.trim().is_empty() {
        return Ok(());
    }
    if value.chars().count() > max {
        return Err(Fault::checked(name, format!("the param length should not exceed {max}")));
    }
    if value.bytes().all(legal) { Ok(()) } else { Err(Fault::checked(name, ILLEGAL)) }
}

/// How Nacos refuses a key: the controllers when a part is blank, the parameter checker otherwise.
pub(super) fn refused_key(error: KeyError) -> Fault {
    let name = match error.part() {
        Part::Namespace => NAMESPACE,
        Part::Group => "group",
        Part::DataId => "dataId",
    };
    match error {
        KeyError::Blank(_) => Fault::invalid(format!("invalid {name} : ")),
        KeyError::TooLong { max, .. } => Fault::checked(name, format!("the param length should not exceed {max}")),
        KeyError::Illegal { .. } | KeyError::Dots(_) => Fault::checked(name, ILLEGAL),
    }
}

const NOT_ENCODED: &str = "the parameters are not percent-encoded UTF-8";

/// A parameter and its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Whether there is room for one more parameter, after so many.
fn leave_room(given: usize) -> Result<(), String> {
    if given >= MAX_PARAMETERS { Err(format!("more than {MAX_PARAMETERS} parameters")) } else { Ok(()) }
}

/// The parameters of `text`, with `before` of them before, as far as there may be so many; or what is wrong.
fn pairs(text: &str, before: usize) -> impl Iterator<Item = Result<Pair<'_>, String>> {
    text.split('&').filter(|pair| !pair.is_empty()).zip(before..).map(|(pair, given)| {
        leave_room(given)?;
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text| query::decode(text).map_err(|_not_utf8| NOT_ENCODED.to_owned());
        Ok((decode(name)?, decode(value)?))
    })
}

/// The same of the fields of a form in parts.
async fn parts(boundary: String, body: Bytes, before: usize) -> Result<Vec<Pair<'static>>, String> {
    let unreadable = |error: multer::Error| format!("the form can't be read: {error}");
    let mut parts = Multipart::new(once(ready(Ok::<_, Infallible>(body))), boundary);
    let (mut given, mut seen) = (Vec::new(), before);
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        leave_room(seen)?;
        seen += 1;
        if part.file_name().is_some() {
            continue;
        }
        let name = part.name().unwrap_or_default().to_owned();
        let value = part.bytes().await.map_err(unreadable)?;
        let value = std::str::from_utf8(&value).map_err(|_not_utf8| format!("the field {name:?} is not UTF-8"))?;
        given.push((Cow::Owned(name), Cow::Owned(value.to_owned())));
    }
    Ok(given)
}

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// No form: it is not read.
    None,
    /// Pairs, percent-encoded: it says so, in whatever charset, or says nothing.
    Encoded,
    /// Parts with this text between them.
    Parts(String),
}

impl Form {
    fn declared(headers: &HeaderMap) -> Result<Self, Fault> {
        let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(Self::Encoded) };
        let essence = declared.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if essence.is_empty() || essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Ok(Self::Encoded);
        }
        if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(Self::None);
        }
        let boundary = declared.to_str().ok().and_then(|declared| multer::parse_boundary(declared).ok());
        boundary.map(Self::Parts).ok_or_else(|| Fault::invalid("multipart/form-data without a boundary"))
    }
}

/// A header that decides what is done, unless it is blank.
///
/// # Errors
/// It holds more than ASCII. It must not pass as absent then.
pub(super) fn deciding_header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_not_ascii| Fault::invalid(format!("invalid header {name}")))?.trim();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A header that only labels the client, unless it is blank or no text.
pub(super) fn filled_header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    let value = std::str::from_utf8(request.headers().get(name)?.as_bytes()).ok()?.trim();
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
