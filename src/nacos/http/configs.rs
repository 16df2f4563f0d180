//! Reading one configuration: the content, as it is kept, with its type and digest in headers. Other things that can
//! be asked at the same path are told apart here.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, HttpDate, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::config::ConfigState;
use callboard_protocol::content::Content;
use callboard_protocol::gray::{self, ClientIdentity};
use callboard_protocol::wire::listening::url_encoded;

use crate::http::route::Call;
use crate::http::stale;
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::{Parameters, filled_header};
use crate::nacos::http::{Answer, answer, client, search};

const CONFIG_TYPE: HeaderName = HeaderName::from_static("config-type");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const ENCRYPTED_DATA_KEY: HeaderName = HeaderName::from_static("encrypted-data-key");

/// `GET` of a configuration, or of what its parameters name instead.
pub(super) async fn get(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    if parameters.get("show") == Some("all") {
        return search::detail(&call, &parameters).await;
    }
    match parameters.get("search") {
        Some("accurate") => return search::list(&call, &parameters, search::Mode::Accurate).await,
        Some("blur") => return search::list(&call, &parameters, search::Mode::Blur).await,
        _ => {}
    }
    if parameters.is_on("beta") {
        return Err(Fault::unsupported("beta"));
    }
    if parameters.is_on("export") || parameters.is_on("exportV2") {
        return Err(Fault::unsupported("export"));
    }
    let key = parameters.key(true)?;
    call.caller.require(&Demand::Key(Action::Read, &key))?;
    let tag = parameters.filled("tag");
    let client = client::identity(&call, tag);
    let reading = stale::read(&call.state, key).await?;
    // A tag in the parameters is insisted on, and no configuration has tagged contents yet.
    if tag.is_some() {
        return Err(Fault::no_config());
    }
    if reading.state.metadata.is_secret {
        call.caller.require(&Demand::Key(Action::Secret, &reading.state.key))?;
    }
    let missing_tag = filled_header(&call.request, &client::TAG);
    Ok(stale::mark(&reading, content(&reading.state, &client, missing_tag)?))
}

fn content(state: &ConfigState, client: &ClientIdentity, missing_tag: Option<&str>) -> Answer {
    let Some((gray::Variant::Formal, content)) = gray::select(state, client) else {
        return Err(Fault::no_config());
    };
    let mut response = HttpResponse::Ok();
    describe(answer::uncached(&mut response), state, content);
    if let Some(tag) = missing_tag.and_then(|tag| HeaderValue::from_str(&url_encoded(tag)).ok()) {
        response.insert_header((client::TAG, tag));
    }
    Ok(response.body(content.bytes().clone()))
}

fn describe(response: &mut actix_web::HttpResponseBuilder, state: &ConfigState, content: &Content) {
    let kind = state.metadata.kind;
    let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(state.modified_at.0).unwrap_or_default());
    response
        // Whatever it is: `Config-Type` says that. Libraries would hand out an object in place of a text, and browsers
        // a page.
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(answer::TEXT)))
        .insert_header((CONFIG_TYPE, HeaderValue::from_static(kind.as_str())))
        .insert_header((CONTENT_MD5, content.md5().hex()))
        .insert_header((LAST_MODIFIED, HttpDate::from(modified)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    // A key that no header can carry is refused when it is published.
    let data_key = state.metadata.encrypted_data_key.as_deref().unwrap_or_default();
    if let Ok(data_key) = HeaderValue::from_str(data_key) {
        response.insert_header((ENCRYPTED_DATA_KEY, data_key));
    }
}
