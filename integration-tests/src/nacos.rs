//! Requests as Nacos SDKs write them. Owns the encoding of forms and of polls; shows every answer as it came.

use std::fmt::Write as _;

use reqwest::Method;

use crate::client::{Answer, Client, Request};

/// Where configurations are read, published and removed.
pub const CONFIGS: &str = "/nacos/v1/cs/configs";
/// Where changes are waited for.
pub const LISTENER: &str = "/nacos/v1/cs/configs/listener";
/// Where namespaces are kept.
pub const NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// `pairs` as a form or a query: everything but letters and digits percent-encoded.
#[must_use]
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() {
                text.push(char::from(byte));
            } else {
                // Writing to a text can't fail.
                write!(text, "%{byte:02X}").unwrap_or_default();
            }
        }
    }
    text
}

/// A request whose parameters are in the query.
pub fn asked(client: &Client, method: Method, path: &str, pairs: &[(&str, &str)]) -> Request {
    client.request(method, &format!("{path}?{}", form(pairs)))
}

/// A request whose parameters are in a form.
pub fn posted(client: &Client, method: Method, path: &str, pairs: &[(&str, &str)]) -> Request {
    let form_type = "application/x-www-form-urlencoded";
    client.request(method, path).header("Content-Type", form_type).body(form(pairs))
}

/// Publishes `content` in the default namespace.
///
/// # Errors
/// The node did not answer `true`.
pub async fn publish(client: &Client, data_id: &str, content: &str) -> anyhow::Result<()> {
    let pairs = [("dataId", data_id), ("group", "G"), ("content", content)];
    let answer = posted(client, Method::POST, CONFIGS, &pairs).send().await?.expect(200)?;
    anyhow::ensure!(answer.body == "true", "publishing was answered {:?}", answer.text());
    Ok(())
}

/// Reads a configuration of the default namespace.
///
/// # Errors
/// The connection failed.
pub async fn get(client: &Client, data_id: &str) -> anyhow::Result<Answer> {
    asked(client, Method::GET, CONFIGS, &[("dataId", data_id), ("group", "G")]).send().await
}

/// One record of a poll, with or without tenant.
#[must_use]
pub fn record(data_id: &str, group: &str, md5: &str, tenant: Option<&str>) -> String {
    match tenant {
        None => format!("{data_id}\u{2}{group}\u{2}{md5}\u{1}"),
        Some(tenant) => format!("{data_id}\u{2}{group}\u{2}{md5}\u{2}{tenant}\u{1}"),
    }
}

/// A poll of `records` that waits up to `timeout_ms`.
pub fn poll(client: &Client, records: &str, timeout_ms: &str) -> Request {
    posted(client, Method::POST, LISTENER, &[("Listening-Configs", records)]).header("Long-Pulling-Timeout", timeout_ms)
}
