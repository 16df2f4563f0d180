//! Who a client of Nacos says it is, for the choice among gray contents and for display. Nothing here makes a caller
//! somebody: every word of it is the client's own.

use std::borrow::Cow;

use actix_web::http::header::HeaderName;
use callboard_protocol::gray::ClientIdentity;

use crate::http::client;
use crate::http::route::Call;
use crate::nacos::http::parameters::filled_header;

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const APPLICATION: HeaderName = HeaderName::from_static("client-appname");
/// The tag that a client asks for without insisting on it.
pub(super) const TAG: HeaderName = HeaderName::from_static("vipserver-tag");

/// Who asks, with `tag` in place of the header's.
pub(super) fn identity<'a>(call: &'a Call, tag: Option<&str>) -> Cow<'a, ClientIdentity> {
    let request = &call.request;
    let identity = client::identity(request, call.caller.principal());
    let forwarded = filled_header(request, &FORWARDED).and_then(|list| list.split(',').next());
    let address = forwarded.map(str::trim).filter(|first| !first.is_empty()).or(filled_header(request, &REAL_IP));
    let application = filled_header(request, &APPLICATION);
    let tag = tag.or(filled_header(request, &TAG));
    if address.is_none() && application.is_none() && tag.is_none() {
        return identity;
    }
    let mut identity = identity.into_owned();
    if let Some(address) = address {
        identity.address = address.to_owned();
    }
    identity.application = application.map(str::to_owned);
    identity.tag = tag.map(str::to_owned);
    Cow::Owned(identity)
}
