//! The login that SDKs do when they were given a user name. Where nobody has to be known and there are no users,
//! everybody is let in, under the name that Nacos gives out when its own authentication is switched off.

use actix_web::HttpResponse;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use callboard_protocol::error_code::ErrorCode;
use serde_json::json;

use crate::api::error::ApiError;
use crate::http::client;
use crate::http::route::Call;
use crate::nacos::http::answer::is_v3;
use crate::nacos::http::fault::{Fault, UNKNOWN_V3};
use crate::nacos::http::parameters::Parameters;
use crate::nacos::http::{Answer, answer};
use crate::nacos::refusal::UNKNOWN;

/// What stands where a token would.
const NO_TOKEN: &str = "AUTH_DISABLED";
/// After how many seconds clients come again where there is no token.
const LIFETIME: u64 = 18_000;

/// `POST` of a name and a password.
pub(super) async fn login(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, (&call.state, &mut call.caller)).await?;
    let (user, password) = (parameters.get("username"), parameters.get("password"));
    let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
    let auth = &call.state.shared.auth;
    if !auth.is_on() && !auth.has_users() {
        return Ok(admitted(NO_TOKEN, LIFETIME, true, user));
    }
    let address = client::address_or_none(&call.request);
    match auth.log_in(user, password, call.caller.whence(&address)).await {
        Ok(login) if auth.is_on() => Ok(admitted(&login.token, login.lifetime.as_secs(), login.is_administrator, user)),
        Ok(_) => Ok(admitted(NO_TOKEN, LIFETIME, false, user)),
        Err(denied) => Err(refused(denied, call.request.path())),
    }
}

/// A wrong name or password is told as a line of text, and not as other refusals of access are.
fn refused(error: ApiError, path: &str) -> Fault {
    match error.code() {
        ErrorCode::Unauthenticated => Fault::new(ErrorCode::Forbidden, if is_v3(path) { UNKNOWN_V3 } else { UNKNOWN }),
        _ => error.into(),
    }
}

fn admitted(token: &str, lifetime: u64, is_administrator: bool, user: &str) -> HttpResponse {
    let body = json!({
        "accessToken": token, "tokenTtl": lifetime, "globalAdmin": is_administrator, "username": user,
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(answer::JSON)))
        .insert_header((AUTHORIZATION, format!("Bearer {token}")))
        .body(body.to_string())
}
