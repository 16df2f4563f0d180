//! Logging in by a provider of single sign-on: in a browser, which ends with a cookie, and on another device, for the
//! command line. Owns the cookies of both; who somebody is says `api::auth`, and whether he becomes a user
//! `callboard_protocol::access::change`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HOST, LOCATION, SET_COOKIE};
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_protocol::access::change::{Change, decide};
use callboard_protocol::access::sign_on::return_path;
use callboard_protocol::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::auth::LoggedIn;
use super::body::json_body;
use super::users::{self, change, directory};
use crate::api::auth::{Device, LogIn, Oidc, Person, Returned};
use crate::api::error::ApiError;
use crate::api::state::State;
use crate::http::cookies::{self, LOGIN, SameSite};
use crate::http::headers;
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};
use crate::http::{answer, client};

/// Where the provider sends browsers back to.
pub(super) const CALLBACK: &str = "/api/v1/auth/oidc/callback";
/// What a browser keeps while it is at the provider.
const BEGUN: &str = "callboard_oidc";
/// For how long, in seconds.
const BEGUN_FOR: u64 = 600;

/// Whether there is a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Offered {
    enabled: bool,
    /// Null for none.
    issuer: Option<String>,
}

/// A log-in that has begun on another device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BegunDevice {
    /// To be shown to end it.
    device_code: String,
    /// What somebody types at the provider.
    user_code: String,
    /// Where he types it.
    verification_uri: String,
    /// The same, with the code in it; null for none.
    verification_uri_complete: Option<String>,
    /// In seconds: not to be asked about more often.
    interval: u64,
    /// In seconds.
    expires_in: u64,
}

/// What ends a log-in on another device.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeviceCode {
    device_code: String,
}

/// What an end of a log-in leaves to be done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedOut {
    /// Where the user logs out at the provider, too.
    end_session_url: String,
}

fn oidc(state: &State) -> Result<&Oidc, ApiError> {
    let none = || ApiError::new(ErrorCode::NotFound, "this cluster has no provider of single sign-on");
    state.shared.auth.oidc().ok_or_else(none)
}

/// `GET` of whether there is a provider.
pub(super) async fn offered(call: Call) -> Answer {
    call.query(&[])?;
    let issuer = call.state.shared.auth.oidc().map(|oidc| oidc.issuer().to_owned());
    answer::json(StatusCode::OK, &Offered { enabled: issuer.is_some(), issuer })
}

/// `GET`: sends a browser to the provider.
pub(super) async fn begin(call: Call) -> Answer {
    let query = call.query(&["return"])?;
    let back = query.get("return").unwrap_or("/");
    let elsewhere = || ApiError::parameter("return", "a path on this host is taken, of 512 letters at the most");
    let back = return_path(back).ok_or_else(elsewhere)?;
    let oidc = oidc(&call.state)?;
    let redirect = redirect_url(&call, oidc)?;
    let begun = oidc.begin(redirect.to_string(), back).await?;
    let how = (SameSite::Lax, is_secure(&call, &redirect));
    let kept = cookies::set((BEGUN, &begun.kept), redirect.path(), BEGUN_FOR, how);
    Ok(sent_to(&begun.location, &[kept]))
}

/// `GET`, from the provider: lets the browser in.
pub(super) async fn end(call: Call) -> Answer {
    // Providers add what they like.
    let query = Url::parse(&format!("http://x/?{}", call.request.query_string()));
    let pairs: Vec<_> = query.iter().flat_map(Url::query_pairs).collect();
    let get = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let oidc = oidc(&call.state)?;
    let redirect = redirect_url(&call, oidc)?;
    let kept = cookies::single(&call.request, BEGUN).unwrap_or_default();
    let returned = Returned {
        state: get("state").unwrap_or_default(),
        code: get("code"),
        error: get("error"),
        issuer: get("iss"),
    };
    let ended = async {
        let (person, back) = oidc.end(kept, returned).await?;
        Ok((let_in(&call, person).await?.1, back))
    };
    let (login, back) = counted(&call, ended.await)?;
    let secure = is_secure(&call, &redirect);
    let shown = cookies::set((LOGIN, &login.token), "/", login.lifetime.as_secs(), (SameSite::Strict, secure));
    let done = cookies::set((BEGUN, ""), redirect.path(), 0, (SameSite::Lax, secure));
    Ok(sent_to(&back, &[shown, done]))
}

/// `POST`: begins a log-in on another device.
pub(super) async fn begin_device(call: Call) -> Answer {
    call.query(&[])?;
    let begun = oidc(&call.state)?.begin_device().await?;
    let Device { kept, user_code, verification_uri, verification_uri_complete, interval, expires_in } = begun;
    let shown =
        BegunDevice { device_code: kept, user_code, verification_uri, verification_uri_complete, interval, expires_in };
    answer::json(StatusCode::OK, &shown)
}

/// `POST`: ends a log-in on another device, once somebody has answered there.
pub(super) async fn end_device(mut call: Call) -> Answer {
    call.query(&[])?;
    let DeviceCode { device_code } = json_body(&mut call).await?;
    let oidc = oidc(&call.state)?;
    let ended = async { let_in(&call, oidc.end_device(&device_code).await?).await };
    let (user, login) = match ended.await {
        Err(error) if matches!(error.code(), ErrorCode::AuthorizationPending | ErrorCode::SlowDown) => {
            return Err(error);
        }
        ended => counted(&call, ended)?,
    };
    answer::json(StatusCode::OK, &LoggedIn::of(user, login))
}

/// What a log-out of `user` leaves to be done in a browser that has a cookie.
pub(super) fn log_out(call: &Call, user: &str) -> Answer {
    let directory = directory(&call.state)?;
    let is_external = directory.users.get(user).is_some_and(|user| user.external.is_some());
    let address = call.state.shared.auth.oidc().filter(|_| is_external).and_then(Oidc::end_session);
    let mut answer = match address {
        Some(end_session_url) => answer::json(StatusCode::OK, &LoggedOut { end_session_url })?,
        None => users::nothing()?,
    };
    if cookies::single(&call.request, LOGIN).is_some() {
        let gone = cookies::set((LOGIN, ""), "/", 0, (SameSite::Strict, cookies::is_encrypted(&call.request)));
        let gone = gone.parse().map_err(|_letters| ApiError::internal())?;
        answer.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(answer)
}

/// Makes somebody a user, or gives him the roles that he has at the provider now, and lets him in. Writes nothing where
/// nothing has changed.
async fn let_in(call: &Call, Person { name, external }: Person) -> Result<(String, LogIn), ApiError> {
    let sign_on = Change::SignOn { name, external: external.clone() };
    let as_known = decide(&*directory(&call.state)?, sign_on.clone(), SystemClock.wall());
    if !as_known.is_ok_and(|rows| rows.is_empty()) {
        change(call, sign_on).await.inspect_err(|error| {
            tracing::info!(error = %error, "somebody whom the provider knows was not let in");
        })?;
    }
    let address = client::address_or_none(&call.request);
    call.state.shared.auth.log_in_external(&external, call.caller.whence(&address))
}

/// Counts what became of a log-in, and writes down that it was refused.
fn counted<T>(call: &Call, ended: Result<T, ApiError>) -> Result<T, ApiError> {
    let address = client::address_or_none(&call.request);
    let refused = ended.as_ref().err().map(ApiError::code);
    call.state.shared.auth.count_sign_on(refused, call.caller.whence(&address));
    ended
}

/// The URL of [`CALLBACK`] as the browser knows it.
fn redirect_url(call: &Call, oidc: &Oidc) -> Result<Url, ApiError> {
    if let Some(url) = oidc.redirect_url() {
        return Url::parse(url).map_err(|_checked| ApiError::internal());
    }
    let host = headers::single(call.request.headers(), &HOST)?.unwrap_or_default();
    let scheme = if cookies::is_encrypted(&call.request) { "https" } else { "http" };
    let told = Url::parse(&format!("{scheme}://{}{CALLBACK}", String::from_utf8_lossy(host)));
    let is_host = |url: &Url| url.has_host() && url.username().is_empty() && url.path() == CALLBACK;
    let refused = || ApiError::parameter("host", "the host of this request makes no URL");
    told.ok().filter(is_host).ok_or_else(refused)
}

fn is_secure(call: &Call, redirect: &Url) -> bool {
    cookies::is_encrypted(&call.request) || redirect.scheme() == "https"
}

fn sent_to(location: &str, cookies: &[String]) -> HttpResponse {
    let mut answer = HttpResponse::Found();
    answer.insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "no-store"));
    // What is in the address of the callback is nobody else's.
    answer.insert_header(("referrer-policy", "no-referrer"));
    for cookie in cookies {
        answer.append_header((SET_COOKIE, cookie.as_str()));
    }
    answer.finish()
}

/// What a log-in by the provider may be refused with.
const REFUSALS: [ErrorCode; 8] = [
    ErrorCode::InvalidParameter,
    ErrorCode::NotFound,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::AccessExists,
    ErrorCode::AccessProtected,
    ErrorCode::Overloaded,
    ErrorCode::OutcomeUnknown,
];

/// The description of whether there is a provider.
pub(super) fn describe_offered() -> Described {
    Described::new("access", "getSingleSignOn", "See whether there is single sign-on")
        .json::<Offered>(200, "Whether")
        .refuses(&[ErrorCode::InvalidParameter])
}

/// The description of the beginning in a browser.
pub(super) fn describe_begin() -> Described {
    Described::new("access", "beginSingleSignOn", "Log in by the provider, in a browser")
        .query("return", schema::text(), "The path on this host to which the browser goes at the end")
        .answers(302, "To the provider")
        .refuses(&REFUSALS)
}

/// The description of the end in a browser.
pub(super) fn describe_end() -> Described {
    Described::new("access", "endSingleSignOn", "Come back from the provider; sets the cookie callboard_login")
        .query("state", schema::text(), "What the log-in began with")
        .query("code", schema::text(), "What the provider gave")
        .query("error", schema::text(), "What it gave instead")
        .query("iss", schema::text(), "Who the provider is")
        .answers(302, "Logged in")
        .refuses(&REFUSALS)
}

/// The description of the beginning on another device.
pub(super) fn describe_begin_device() -> Described {
    Described::new("access", "beginDeviceSignOn", "Log in by the provider, on another device")
        .json::<BegunDevice>(200, "Begun")
        .refuses(&REFUSALS)
}

/// The description of the end on another device.
pub(super) fn describe_end_device() -> Described {
    Described::new("access", "endDeviceSignOn", "Ask whether somebody has logged in on the other device")
        .json_body::<DeviceCode>("Which log-in")
        .json::<LoggedIn>(200, "Logged in")
        .refuses(&users::BODY_REFUSALS)
        .refuses(&REFUSALS)
        .refuses(&[ErrorCode::AuthorizationPending, ErrorCode::SlowDown, ErrorCode::ExpiredDeviceCode])
}
