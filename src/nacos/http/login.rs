//! The login that SDKs do when they were given a user name. There is no authentication yet: everybody is let in, under
//! the name that Nacos gives out when its own is switched off.

use actix_web::HttpResponse;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::http::route::Call;
use crate::nacos::http::parameters::Parameters;
use crate::nacos::http::{Answer, answer};

/// What stands where a token would.
const NO_TOKEN: &str = "AUTH_DISABLED";
/// After how many seconds clients come again.
const LIFETIME: u64 = 18_000;

/// `POST` of a name and a password.
pub(super) async fn login(mut call: Call) -> Answer {
    let parameters = Parameters::of_form(&call.request, &mut call.payload, &call.state).await?;
    let username = parameters.get("username").unwrap_or_default();
    let body = json!({ "accessToken": NO_TOKEN, "tokenTtl": LIFETIME, "globalAdmin": true, "username": username });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(answer::JSON)))
        .insert_header((AUTHORIZATION, format!("Bearer {NO_TOKEN}")))
        .body(body.to_string()))
}
