//! Nodes where callers have to be known, and the users that tests make there. Owns the password of the administrator;
//! judges nothing.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::node::NodeOptions;

/// The password of the first administrator.
pub const PASSWORD: &str = "the first password";
/// What shows it.
pub const SHOWN: &str = "Basic YWRtaW46dGhlIGZpcnN0IHBhc3N3b3Jk";

/// Writes a file that its owner alone reads.
///
/// # Errors
/// It can't be written.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok((&file).write_all(text.as_bytes())?)
}

/// Nodes whose administrator is known, with his password in a file of `directory`.
///
/// # Errors
/// The file can't be written.
pub fn guarded(directory: &Path) -> anyhow::Result<NodeOptions> {
    let path = directory.join("password");
    write_private(&path, PASSWORD)?;
    let options = NodeOptions::new().flag("auth-mode", "on").asked_with(SHOWN);
    Ok(options.flag("auth-admin-password-file", &path.display().to_string()))
}

/// Sends JSON, which has to be answered with this status.
///
/// # Errors
/// It is not.
pub async fn send(client: &Client, method: Method, path: &str, body: Value, status: u16) -> anyhow::Result<()> {
    client.request(method, path).json(&body).send().await?.expect(status).map(drop)
}

/// Makes a user who may do this in the public namespace, by a role of his own, and logs him in.
///
/// # Errors
/// The administrator may not, or there is such a user.
pub async fn user(administrator: &Client, name: &str, actions: &[&str]) -> anyhow::Result<String> {
    let role = json!({ "grants": [{ "namespace": "public", "actions": actions }] });
    send(administrator, Method::PUT, &format!("/api/v1/roles/{name}"), role, 200).await?;
    let password = password_of(name);
    let user = json!({ "name": name, "password": password, "roles": [name] });
    send(administrator, Method::POST, "/api/v1/users", user, 201).await?;
    log_in(administrator, name, &password).await
}

/// The password of a user that [`user`] made.
#[must_use]
pub fn password_of(name: &str) -> String {
    format!("{name} has a password")
}

/// Logs somebody in, and gives what he shows from then on.
///
/// # Errors
/// He is not let in.
pub async fn log_in(client: &Client, name: &str, password: &str) -> anyhow::Result<String> {
    let shown = json!({ "user": name, "password": password });
    let answer = client.request(Method::POST, "/api/v1/auth/login").json(&shown).send().await?.expect(200)?;
    Ok(answer.json()?["token"].as_str().context("a token")?.to_owned())
}
