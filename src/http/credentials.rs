//! What a request over HTTP shows of who asks: in its headers, and in its query where the family of its route says so.
//! Owns the order in which they count; checks nothing.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderName};

use crate::api::auth::Shown;
use crate::api::error::ApiError;
use crate::http::{headers, query};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("accesstoken");
const USERNAME: HeaderName = HeaderName::from_static("username");
const PASSWORD: HeaderName = HeaderName::from_static("password");

/// What the head of a request shows; with `parameters`, also in the ways of Nacos.
///
/// # Errors
/// `Authorization` is given twice, or can't be read.
pub(crate) fn shown(request: &HttpRequest, parameters: bool) -> Result<Shown<'_>, ApiError> {
    if let Some(value) = headers::single(request.headers(), &AUTHORIZATION)? {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match Shown::read(text) {
            Some(shown) => return Ok(shown),
            // Nacos overlooks what it does not know.
            None if parameters => {}
            None => return Err(ApiError::unauthenticated("Authorization takes Bearer and Basic")),
        }
    }
    if !parameters {
        return Ok(Shown::Nothing);
    }
    let text = request.query_string();
    if let Some(token) = parameter(text, "accessToken") {
        return Ok(Shown::Token(token));
    }
    let header = |name: &HeaderName| {
        let value = request.headers().get(name)?.to_str().ok()?.trim();
        Some(Cow::Borrowed(value)).filter(|value| !value.is_empty())
    };
    if let Some(token) = header(&ACCESS_TOKEN) {
        return Ok(Shown::Token(token));
    }
    if let (Some(user), Some(password)) = (parameter(text, "username"), parameter(text, "password")) {
        return Ok(Shown::Password(user, password));
    }
    match (header(&USERNAME), header(&PASSWORD)) {
        (Some(user), Some(password)) => Ok(Shown::Password(user, password)),
        _ => Ok(Shown::Nothing),
    }
}

/// The first parameter of this name that is not empty.
fn parameter<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let values = text.split('&').filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    values.filter_map(|value| query::decode(value).ok()).find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    //! What counts before what.

    use actix_web::test::TestRequest;

    use super::shown;
    use crate::api::auth::Shown;

    fn token(text: &str) -> Shown<'_> {
        Shown::Token(text.into())
    }

    #[test]
    fn a_bearer_counts_before_a_parameter_and_that_before_a_header() {
        let request = TestRequest::with_uri("/?accessToken=p").insert_header(("Authorization", "Bearer b"));
        assert_eq!(shown(&request.to_http_request(), true), Ok(token("b")));
        let request = TestRequest::with_uri("/?accessToken=p").insert_header(("accessToken", "h"));
        assert_eq!(shown(&request.to_http_request(), true), Ok(token("p")));
        let request = TestRequest::with_uri("/?username=u&password=a%26b").insert_header(("accessToken", "h"));
        assert_eq!(shown(&request.to_http_request(), true), Ok(token("h")));
        let request = TestRequest::with_uri("/?username=u&password=a%26b").to_http_request();
        assert_eq!(shown(&request, true), Ok(Shown::Password("u".into(), "a&b".into())));
    }

    #[test]
    fn parameters_count_only_where_they_may() {
        let request =
            TestRequest::with_uri("/?accessToken=p&username=u&password=p").insert_header(("accessToken", "h"));
        assert_eq!(shown(&request.to_http_request(), false), Ok(Shown::Nothing));
    }

    #[test]
    fn a_name_and_a_password_can_come_together() {
        let request = TestRequest::default().insert_header(("Authorization", "Basic dTpwOnE=")).to_http_request();
        assert_eq!(shown(&request, false), Ok(Shown::Password("u".into(), "p:q".into())));
        for wrong in ["Basic ?", "Digest x"] {
            let request = TestRequest::default().insert_header(("Authorization", wrong)).to_http_request();
            assert!(shown(&request, false).is_err(), "{wrong}");
        }
    }
}
