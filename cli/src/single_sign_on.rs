//! `callboard login --sso`: somebody logs in at the cluster's provider with a browser, here or elsewhere, while this
//! waits (RFC 8628). The node speaks with the provider; no secret of it comes here.

use std::time::Duration;

use callboard_client::with_port;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Setting;
use super::credentials::Shown;
use super::failure::Failure;
use super::login;
use super::output::{cell, remark};
use super::preferences::Preferences;
use super::rest::Rest;

/// The port of HTTP when nobody has changed that.
const HTTP_PORT: u16 = 8848;
/// How much longer it waits each time it is told to; the standard has it so.
const SLOWER: Duration = Duration::from_secs(5);
/// Shortest time between two questions.
const SHORTEST: Duration = Duration::from_millis(100);

/// Logs in where a node serves HTTP, at the first of the nodes when `address` is empty, and keeps what that gives.
///
/// # Errors
/// [`Failure::Denied`]: nobody answers in time, or the answer is no; [`Failure::Usage`]: it is no address; those of
/// [`Rest::find`].
pub(super) async fn log_in(address: &str, setting: &Setting) -> Result<(), Failure> {
    let base = if address.is_empty() { usual(setting) } else { address.to_owned() };
    let rest = Rest::at(setting, &base)?;
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
    let token = given.get("token").and_then(Value::as_str).unwrap_or_default();
    // The nodes that the commands will ask have to take it.
    let Setting { preferences, timeout, .. } = setting;
    let known = Setting { preferences: preferences.clone(), shown: Shown::Token(token.into()), timeout: *timeout };
    login::keep(setting, &Rest::find(&known).await?, &given)
}

/// Where the first of the nodes serves HTTP when nobody has changed that.
fn usual(setting: &Setting) -> String {
    let Preferences { nodes, trust, .. } = &setting.preferences;
    let node = nodes.first().map(|node| with_port(node)).unwrap_or_default();
    let host = node.rsplit_once(':').map_or(node.as_str(), |(host, _)| host);
    let scheme = if trust.is_some() { "https" } else { "http" };
    format!("{scheme}://{host}:{HTTP_PORT}")
}

/// What the log-in gives once somebody has answered; `None` when nobody does.
async fn until_answered(rest: &Rest, shown: &Value, mut interval: Duration) -> Result<Option<Value>, Failure> {
    loop {
        sleep(interval.max(SHORTEST)).await;
        let codes = &["authorization_pending", "slow_down", "expired_device_code"];
        match rest.try_change(&["auth", "oidc", "device", "token"], shown, codes).await? {
            Ok(given) => return Ok(Some(given)),
            Err("authorization_pending") => {}
            Err("slow_down") => interval += SLOWER,
            Err(_) => return Ok(None),
        }
    }
}
