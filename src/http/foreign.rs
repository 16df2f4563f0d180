//! Keeps the pages of other hosts out: what a browser says of a request is read here, for every route. What is foreign
//! is `callboard_protocol::wire::hosts`; nobody who is no browser is concerned, unless he names a host that is not
//! ours.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::wire::hosts::{OwnHosts, Page};

use crate::api::error::ApiError;
use crate::http::headers;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that a page of another host makes a browser send: under a name that is not this node's, and, where
/// something `changes`, from a page of another host.
///
/// # Errors
/// It is foreign; or one of the headers that say so is given twice.
pub(crate) fn refuse(request: &HttpRequest, own: &OwnHosts, changes: bool) -> Result<(), ApiError> {
    let host = text(request, &HOST)?.unwrap_or_default();
    let target = request.uri().authority().map_or("", |authority| authority.as_str());
    if !own.serves(host) || !own.serves(target) {
        let detail = "this node is not known under that host name; name it in http.allowed_hosts if it should be";
        return Err(ApiError::new(ErrorCode::ForeignHost, detail));
    }
    if changes && !own.admits(page(request)?, host) {
        return Err(ApiError::new(ErrorCode::ForeignOrigin, "a page of another host may not do this"));
    }
    Ok(())
}

/// Refuses a request of which no browser says that it is from a page of this very host: one that shows who asks by a
/// cookie, which browsers send along by themselves.
///
/// # Errors
/// As [`refuse`].
pub(crate) fn refuse_unless_own(request: &HttpRequest, own: &OwnHosts) -> Result<(), ApiError> {
    if own.vouches(page(request)?, text(request, &HOST)?.unwrap_or_default()) {
        return Ok(());
    }
    let detail = "what a log-in in a browser gave counts for this only where the browser says that a page of this host \
                  asks; show it in Authorization instead";
    Err(ApiError::new(ErrorCode::ForeignOrigin, detail))
}

fn page(request: &HttpRequest) -> Result<Page<'_>, ApiError> {
    Ok(Page { origin: text(request, &ORIGIN)?, site: text(request, &FETCH_SITE)? })
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let value = headers::single(request.headers(), name)?;
    // What is no text is nobody's name.
    Ok(value.map(|value| std::str::from_utf8(value).unwrap_or("?")))
}
