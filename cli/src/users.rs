//! `callboard user`.

use reqwest::Method;
use serde_json::{Value, json};

use super::Setting;
use super::arguments::{Format, NewUser, PasswordOptions, UserCommand};
use super::credentials::{Chosen, Shown, ask};
use super::failure::Failure;
use super::login::grants;
use super::output::{cell, items, print, print_json, remark, tell};
use super::rest::Rest;
use super::table::Table;

/// Looks after users.
pub(super) async fn run(command: &UserCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        UserCommand::Add(options) => add(options, setting).await,
        UserCommand::Ls(_) => list(setting).await,
        UserCommand::Show(options) => show(&options.name, setting).await,
        UserCommand::Rm(options) => {
            Rest::find(setting).await?.remove(&["users", &options.name], &[]).await?;
            done("removed", &options.name, setting)
        }
        UserCommand::Enable(options) => enable(&options.name, true, setting).await,
        UserCommand::Disable(options) => enable(&options.name, false, setting).await,
        UserCommand::Password(options) => set_password(options, setting).await,
        UserCommand::Logout(options) => {
            let rest = Rest::find(setting).await?;
            rest.change(Method::POST, &["users", &options.name, "logout"], &Value::Null).await?;
            done("logged out", &options.name, setting)
        }
    }
}

fn done(what: &str, name: &str, setting: &Setting) -> Result<(), Failure> {
    tell(setting, &format!("{what} user {name}"), &json!({ "name": name, "effect": what }))
}

async fn add(options: &NewUser, setting: &Setting) -> Result<(), Failure> {
    let NewUser { name, roles, no_password, .. } = options;
    let chosen = if *no_password { None } else { Some(options.password.choose(name)?) };
    let password = chosen.as_ref().map(|chosen| chosen.password.reveal());
    let body = json!({ "name": name, "password": password, "roles": roles });
    let mut made = Rest::find(setting).await?.change(Method::POST, &["users"], &body).await?;
    let mut line = format!("made user {name}");
    if let Some(chosen) = chosen.filter(|chosen| chosen.is_made_up) {
        print_once(&chosen, &mut line, &mut made);
    }
    tell(setting, &line, &made)
}

/// A password that nobody knows yet is a part of the answer.
fn print_once(chosen: &Chosen, line: &mut String, document: &mut Value) {
    line.push_str(&format!("\npassword {} (shown this once)", chosen.password.reveal()));
    if let Some(members) = document.as_object_mut() {
        members.insert("password".to_owned(), json!(chosen.password.reveal()));
    }
}

async fn list(setting: &Setting) -> Result<(), Failure> {
    let found = Rest::find(setting).await?.get(&["users"], &[]).await?;
    match setting.preferences.output {
        Format::Json => print_json(&found),
        Format::Table => print(&table(items(&found, "items")).to_text()),
    }
}

async fn show(name: &str, setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let user = rest.get(&["users", name], &[]).await?;
    if setting.preferences.output == Format::Json {
        return print_json(&user);
    }
    let roles = rest.get(&["roles"], &[]).await?;
    let is_his = |role: &&Value| {
        let name = role.get("name").unwrap_or(&Value::Null);
        items(&user, "roles").contains(name) || items(&user, "providerRoles").contains(name)
    };
    let his = items(&roles, "items").iter().filter(is_his);
    let grants = grants(his.flat_map(|role| items(role, "grants")));
    print(&format!("{}\n{}", table([&user]).to_text(), grants.to_text()))
}

fn table<'a>(users: impl IntoIterator<Item = &'a Value>) -> Table {
    let mut table = Table::new(&["USER", "ENABLED", "PASSWORD", "CREATED", "ROLES", "PROVIDER", "ITS ROLES"]);
    for user in users {
        let cells = ["/name", "/enabled", "/hasPassword", "/created", "/roles", "/provider", "/providerRoles"];
        table.row(cells.map(|pointer| cell(user, pointer)));
    }
    table
}

async fn enable(name: &str, enabled: bool, setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    rest.change(Method::PUT, &["users", name, "enabled"], &json!({ "enabled": enabled })).await?;
    done(if enabled { "enabled" } else { "disabled" }, name, setting)
}

/// Of a user who is named, as an administrator may; else of oneself, who has to know the present one.
async fn set_password(options: &PasswordOptions, setting: &Setting) -> Result<(), Failure> {
    let (who, path, current) = match (&options.name, &setting.shown) {
        (Some(name), _) => (name.as_str(), vec!["users", name, "password"], None),
        (None, Shown::Password { user, password }) => (user.as_str(), vec!["auth", "password"], Some(password.clone())),
        (None, Shown::Token(_) | Shown::Nothing) => {
            let present = ask("Present password: ", "give --user, and the present password by --password-file")?;
            ("you", vec!["auth", "password"], Some(present))
        }
    };
    let chosen = options.password.choose(who)?;
    let body = match &current {
        None => json!({ "password": chosen.password.reveal() }),
        Some(current) => json!({ "current": current.reveal(), "new": chosen.password.reveal() }),
    };
    Rest::find(setting).await?.change(Method::PUT, &path, &body).await?;
    let (mut line, mut said) = ("changed the password".to_owned(), json!({ "name": options.name }));
    if chosen.is_made_up {
        print_once(&chosen, &mut line, &mut said);
    }
    remark("whoever was logged in with the old one has to log in again");
    tell(setting, &line, &said)
}
