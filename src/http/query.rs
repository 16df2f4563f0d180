//! The query of a request, read strictly: every key known and given once, every value UTF-8 without NUL. Owns the
//! percent-decoding; what a value means is for the route to say.

use std::borrow::Cow;

use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::hex;

use crate::api::error::ApiError;

/// Longest piece of a client's text that a message repeats, in characters.
const SHOWN: usize = 64;

/// Why a query was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A key that the route does not know.
    #[error("unknown parameter {0:?}")]
    Unknown(String),
    /// A key given twice.
    #[error("parameter {0} is given more than once")]
    Repeated(&'static str),
    /// A value with a NUL.
    #[error("parameter {0} holds a NUL character")]
    Nul(&'static str),
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Encoding => Self::new(ErrorCode::InvalidParameter, message),
            QueryError::Unknown(key) => Self::parameter(&key, message),
            QueryError::Repeated(key) | QueryError::Nul(key) => Self::parameter(key, message),
        }
    }
}

/// The parameters that were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query<'a> {
    given: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads `raw`, the part of the target after the question mark, which may hold the keys of `known`.
    ///
    /// # Errors
    /// [`QueryError`] names the rule and, where there is one, the key.
    pub(crate) fn parse(raw: &'a str, known: &[&'static str]) -> Result<Self, QueryError> {
        let mut given: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key)?, decode(value)?);
            let Some(name) = known.iter().copied().find(|name| *name == key) else {
                return Err(QueryError::Unknown(key.chars().take(SHOWN).collect()));
            };
            if given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(QueryError::Repeated(name));
            }
            if value.contains('\0') {
                return Err(QueryError::Nul(name));
            }
            given.push((name, value));
        }
        Ok(Self { given })
    }

    /// The value of a parameter, when it was given.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }

    /// The value of a parameter as a text of its own.
    #[must_use]
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// A whole number from one up to `most`; `default` when it was not given.
    ///
    /// # Errors
    /// A problem that names the parameter and the range.
    pub(crate) fn count(&self, name: &str, default: u32, most: u32) -> Result<u32, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(count) if digits && (1..=most).contains(&count) => Ok(count),
            _ => Err(ApiError::parameter(name, format!("{name} must be a whole number from 1 to {most}"))),
        }
    }
}

/// Undoes percent-encoding; a plus stands for a space.
///
/// # Errors
/// [`QueryError::Encoding`].
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, QueryError> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(hex::value), bytes.next().and_then(hex::value)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(QueryError::Encoding),
            },
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_not_utf8| QueryError::Encoding)
}

#[cfg(test)]
mod tests;
