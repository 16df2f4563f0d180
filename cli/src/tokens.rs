//! `callboard token` and `callboard key`.

use reqwest::Method;
use serde_json::{Value, json};

use super::Setting;
use super::arguments::{Format, KeyCommand, Keys, NewToken, TokenCommand};
use super::failure::Failure;
use super::output::{cell, items, print, print_json, tell};
use super::rest::Rest;
use super::table::Table;

/// Looks after tokens.
pub(super) async fn run(command: &TokenCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        TokenCommand::Add(options) => add(options, setting).await,
        TokenCommand::Ls(_) => list(&["tokens"], setting, table).await,
        TokenCommand::Rm(options) => {
            let id = &options.id;
            Rest::find(setting).await?.remove(&["tokens", id], &[]).await?;
            tell(setting, &format!("removed token {id}"), &json!({ "id": id, "effect": "removed" }))
        }
    }
}

/// Makes a token. Standard output has the token and nothing else, so that a script can take it.
async fn add(options: &NewToken, setting: &Setting) -> Result<(), Failure> {
    let NewToken { actions, area, holder, days, description, .. } = options;
    let grants = if actions.is_empty() { Value::Null } else { json!([area.granting(actions)]) };
    let body = json!({ "user": holder, "grants": grants, "days": days, "description": description });
    let made = Rest::find(setting).await?.change(Method::POST, &["tokens"], &body).await?;
    super::output::remark(&format!("made token {}; it is shown this once", cell(&made, "/id")));
    tell(setting, &cell(&made, "/token"), &made)
}

async fn list(path: &[&str], setting: &Setting, table: impl Fn(&Value) -> Table) -> Result<(), Failure> {
    let found = Rest::find(setting).await?.get(path, &[]).await?;
    match setting.preferences.output {
        Format::Json => print_json(&found),
        Format::Table => print(&table(&found).to_text()),
    }
}

fn table(found: &Value) -> Table {
    let mut table = Table::new(&["TOKEN", "USER", "CREATED", "EXPIRES", "LIMITED TO", "DESCRIPTION"]);
    for token in items(found, "items") {
        let shown = |pointer| cell(token, pointer);
        let limits: Vec<String> = items(token, "grants").iter().map(limit).collect();
        let columns = [shown("/id"), shown("/user"), shown("/created"), shown("/expires"), limits.join("; ")];
        table.row(columns.into_iter().chain([shown("/description")]));
    }
    table
}

fn limit(grant: &Value) -> String {
    let [namespace, group, data_id, actions] =
        ["/namespace", "/group", "/dataId", "/actions"].map(|pointer| cell(grant, pointer));
    format!("{actions} of {namespace}/{group}/{data_id}")
}

/// Looks after the keys that sign log-ins, and those that seal secrets.
pub(super) async fn keys(command: &KeyCommand, setting: &Setting) -> Result<(), Failure> {
    let path = |keys: &Keys| if keys.secrets { ["secrets", "keys"] } else { ["auth", "keys"] };
    match command {
        KeyCommand::Ls(keys) => {
            list(&path(keys), setting, |found| {
                let mut table = Table::new(&["KEY", "CREATED", "RETIRES"]);
                for key in items(found, "items") {
                    table.row(["/id", "/created", "/retires"].map(|pointer| cell(key, pointer)));
                }
                table
            })
            .await
        }
        KeyCommand::Rotate(keys) => {
            let made = Rest::find(setting).await?.change(Method::POST, &path(keys), &Value::Null).await?;
            let does = if keys.secrets { "seals secrets" } else { "signs log-ins" };
            tell(setting, &format!("key {} {does} in a few seconds", cell(&made, "/id")), &made)
        }
    }
}
