//! Reading the headers of a request: those that may stand once, and lists that may be spread over several lines.
//! Decides nothing about what they say.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::api::error::ApiError;

/// The value of a header that may be given once.
///
/// # Errors
/// A problem that names the header when it is given twice.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ApiError> {
    let mut values = headers.get_all(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::parameter(name.as_str(), format!("header {name} is given more than once")));
    }
    Ok(first.map(|value| value.as_bytes()))
}

/// The value of a header that holds a list: several lines are one list (RFC 9110, 5.3).
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name);
    let first = values.next()?.as_bytes();
    let mut joined = Cow::Borrowed(first);
    for value in values {
        let joined = joined.to_mut();
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value.as_bytes());
    }
    Some(joined)
}
