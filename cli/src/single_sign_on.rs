//! `callboard login --sso`: somebody logs in at the cluster's provider with a browser, here or elsewhere, while this waits
//! (RFC 8628). The node speaks with the provider; no secret of it comes here.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Setting;
use super::failure::Failure;
use super::login;
use super::output::{cell, remark};
use super::rest::Rest;

/// How much longer it waits each time it is told to; the standard has it so.
const SLOWER: Duration = Duration::from_secs(5);
/// Shortest time between two questions.
const SHORTEST: Duration = Duration::from_millis(100);

/// Logs in, and keeps what that gives.
///
/// # Errors
/// [`Failure::Denied`]: nobody answers in time, or the answer is no; those of [`Rest::find`].
pub(super) async fn log_in(setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let begun = rest.change(Method::POST, &["auth", "oidc", "device"], &Value::Null).await?;
    match cell(&begun, "/verificationUriComplete").as_str() {
        "" => remark(&format!("open {} and enter {}", cell(&begun, "/verificationUri"), cell(&begun, "/userCode"))),
        complete => remark(&format!("open {complete} and check that it shows {}", cell(&begun, "/userCode"))),
    }
    let seconds = |name: &str| Duration::from_secs(begun.get(name).and_then(Value::as_u64).unwrap_or_default());
    let shown = json!({ "deviceCode": begun.get("deviceCode") });
    let late = || Failure::Denied("nobody has logged in at the provider in time".to_owned());
    let given = timeout(seconds("expiresIn"), until_answered(&rest, &shown, seconds("interval")));
    let given = given.await.map_err(|_elapsed| late())??.ok_or_else(late)?;
    login::keep(setting, &rest, &given)
}

/// What the log-in gives once somebody has answered; `None` when nobody does.
async fn until_answered(rest: &Rest, shown: &Value, mut interval: Duration) -> Result<Option<Value>, Failure> {
    loop {
        sleep(interval.max(SHORTEST)).await;
        let codes = &["authorization_pending", "slow_down", "expired_token"];
        match rest.try_change(&["auth", "oidc", "device", "token"], shown, codes).await? {
            Ok(given) => return Ok(Some(given)),
            Err("authorization_pending") => {}
            Err("slow_down") => interval += SLOWER,
            Err(_) => return Ok(None),
        }
    }
}
