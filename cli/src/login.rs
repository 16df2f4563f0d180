//! `callboard login`, `logout` and `whoami`.

use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use reqwest::Method;
use serde_json::{Value, json};

use super::Setting;
use super::arguments::{Common, Credentials, Format, LogoutOptions};
use super::credentials::Shown;
use super::failure::Failure;
use super::logins::{self, Login, Logins};
use super::output::{cell, items, print, print_json, tell};
use super::rest::Rest;
use super::table::{Table, printable};

/// Who wants to log in: by a password, whatever else is kept or set.
///
/// # Errors
/// [`Failure::Usage`]: a token is given, or there is nobody to ask.
pub(super) fn who(common: &Common, environment: impl Fn(&str) -> Option<OsString>) -> Result<Shown, Failure> {
    let Credentials { token, token_file, user, password_file } = &common.credentials;
    if token.is_some() || token_file.is_some() {
        let message = "who has a token need not log in; one logs in as --user, with a password";
        return Err(Failure::Usage(message.to_owned()));
    }
    let user = match user {
        Some(user) => user.clone(),
        None => ask_for_user()?,
    };
    Shown::of_user(&user, password_file.as_deref(), environment)
}

fn ask_for_user() -> Result<String, Failure> {
    let nobody = |reason: &str| Failure::Usage(format!("{reason}; name the user by --user"));
    if !std::io::stdin().is_terminal() {
        return Err(nobody("standard input is no terminal to ask for a user at"));
    }
    let mut name = String::new();
    let asked = std::io::stderr().write_all(b"User: ").and_then(|()| std::io::stdin().lock().read_line(&mut name));
    asked.map_err(|error| nobody(&format!("cannot ask for a user: {error}")))?;
    match name.trim() {
        "" => Err(nobody("nobody was named")),
        name => Ok(name.to_owned()),
    }
}

/// Logs in, and keeps what that gives.
pub(super) async fn log_in(setting: &Setting) -> Result<(), Failure> {
    let Shown::Password { user, password } = &setting.shown else {
        return Err(Failure::Usage("name the user by --user".to_owned()));
    };
    let rest = Rest::find(setting).await?;
    let body = json!({ "user": user, "password": password.reveal() });
    let given = rest.change(Method::POST, &["auth", "login"], &body).await?;
    keep(setting, &rest, &given)
}

/// Keeps what a log-in gave, and says so.
///
/// # Errors
/// [`Failure::Server`]: it gave nothing; the file can't be written.
pub(super) fn keep(setting: &Setting, rest: &Rest, given: &Value) -> Result<(), Failure> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    let (user, token) = (text("user"), text("token"));
    let lifetime = given.get("expiresIn").and_then(Value::as_u64).unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::Server("the node let you in and gave nothing to show".to_owned()));
    }
    let nodes = setting.preferences.nodes.iter().chain(rest.nodes()).cloned().collect();
    let expires = logins::now().saturating_add(lifetime);
    let secure = setting.preferences.trust.is_some();
    let login = Login { nodes, secure, user: user.to_owned(), token: token.into(), expires };
    let mut logins = Logins::load(logins::path(|name| std::env::var_os(name)))?;
    let path = logins.keep(login)?.display();
    let left = humantime::format_duration(std::time::Duration::from_secs(lifetime));
    let administrator = given.get("administrator").cloned().unwrap_or_default();
    let said = json!({ "user": user, "expiresIn": lifetime, "administrator": administrator, "file": path.to_string() });
    tell(setting, &format!("logged in as {} for {left}; kept in {path}", printable(user)), &said)
}

/// Forgets a log-in; with `everywhere`, the cluster forgets those of all machines.
pub(super) async fn log_out(options: &LogoutOptions, setting: &Setting) -> Result<(), Failure> {
    if options.everywhere {
        let rest = Rest::find(setting).await?;
        rest.change(Method::POST, &["auth", "logout"], &Value::Null).await?;
    }
    let nodes = &setting.preferences.nodes;
    let mut logins = Logins::load(logins::path(|name| std::env::var_os(name)))?;
    let user = logins.forget(nodes)?;
    let line = match (&user, options.everywhere) {
        (_, true) => "every log-in has ended".to_owned(),
        (Some(user), false) => format!("logged out {user}"),
        (None, false) => format!("nobody was logged in at {}", nodes.join(", ")),
    };
    tell(setting, &line, &json!({ "user": user, "everywhere": options.everywhere }))
}

/// Says who asks, and what he may do.
pub(super) async fn who_am_i(setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let found = rest.get(&["auth", "me"], &[]).await?;
    match setting.preferences.output {
        Format::Json => print_json(&found),
        Format::Table => print(&oneself(&found)),
    }
}

fn oneself(found: &Value) -> String {
    let user = printable(&cell(found, "/user"));
    let who = match (user.as_str(), cell(found, "/administrator").as_str()) {
        ("", _) => "nobody in particular: everybody may do everything here".to_owned(),
        (user, "true") => format!("{user}, an administrator"),
        (user, _) => user.to_owned(),
    };
    let grants = grants(items(found, "grants")).to_text();
    match found.get("limit").filter(|limit| !limit.is_null()) {
        None => format!("{who}\n\n{grants}"),
        Some(_) => {
            let limit = self::grants(items(found, "limit")).to_text();
            format!("{who}\n\n{grants}\nThe token is limited to\n{limit}")
        }
    }
}

/// What is allowed where.
pub(super) fn grants<'a>(grants: impl IntoIterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&["NAMESPACE", "GROUP", "DATA ID", "ACTIONS"]);
    for grant in grants {
        table.row(["/namespace", "/group", "/dataId", "/actions"].map(|pointer| cell(grant, pointer)));
    }
    table
}
