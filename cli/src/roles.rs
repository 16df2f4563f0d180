//! `callboard role`, `grant` and `revoke`.

use reqwest::Method;
use serde_json::{Value, json};

use super::Setting;
use super::arguments::{Area, Format, GrantOptions, Membership, NewRole, RevokeOptions, RoleCommand};
use super::failure::Failure;
use super::output::{cell, items, print, print_json, tell};
use super::rest::Rest;
use super::table::Table;

/// Looks after roles.
pub(super) async fn run(command: &RoleCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        RoleCommand::Add(options) => add(options, setting).await,
        RoleCommand::Ls(_) => {
            let found = Rest::find(setting).await?.get(&["roles"], &[]).await?;
            match setting.preferences.output {
                Format::Json => print_json(&found),
                Format::Table => print(&table(&found).to_text()),
            }
        }
        RoleCommand::Rm(options) => {
            let name = &options.name;
            Rest::find(setting).await?.remove(&["roles", name], &[]).await?;
            tell(setting, &format!("removed role {name}"), &json!({ "name": name, "effect": "removed" }))
        }
        RoleCommand::Give(Membership { member, role, .. }) => {
            let rest = Rest::find(setting).await?;
            rest.change(Method::PUT, &["users", member, "roles", role], &Value::Null).await?;
            let said = json!({ "user": member, "role": role, "effect": "given" });
            tell(setting, &format!("gave user {member} role {role}"), &said)
        }
        RoleCommand::Take(Membership { member, role, .. }) => {
            Rest::find(setting).await?.remove(&["users", member, "roles", role], &[]).await?;
            let said = json!({ "user": member, "role": role, "effect": "taken" });
            tell(setting, &format!("took role {role} from user {member}"), &said)
        }
    }
}

/// Makes a role; what one that is there allows stays as it is.
async fn add(options: &NewRole, setting: &Setting) -> Result<(), Failure> {
    let NewRole { name, description, .. } = options;
    let rest = Rest::find(setting).await?;
    let roles = rest.get(&["roles"], &[]).await?;
    if items(&roles, "items").iter().any(|role| role.get("name").and_then(Value::as_str) == Some(name)) {
        let message = format!("there is a role {name} already; `callboard grant` adds to what it allows");
        return Err(Failure::Conflict(message));
    }
    let made = rest.change(Method::PUT, &["roles", name], &json!({ "description": description })).await?;
    tell(setting, &format!("made role {name}; `callboard grant` says what it allows"), &made)
}

/// One row for each grant.
fn table(found: &Value) -> Table {
    let mut table = Table::new(&["ROLE", "NAMESPACE", "GROUP", "DATA ID", "ACTIONS", "DESCRIPTION"]);
    for role in items(found, "items") {
        let none = [Value::Null];
        let grants = Some(items(role, "grants")).filter(|grants| !grants.is_empty()).unwrap_or(&none);
        for grant in grants {
            let of_grant = ["/namespace", "/group", "/dataId", "/actions"].map(|pointer| cell(grant, pointer));
            let (name, description) = (cell(role, "/name"), cell(role, "/description"));
            table.row([name].into_iter().chain(of_grant).chain([description]));
        }
    }
    table
}

/// Adds to what a role allows.
pub(super) async fn grant(options: &GrantOptions, setting: &Setting) -> Result<(), Failure> {
    let GrantOptions { role, actions, area, .. } = options;
    let grant = area.granting(actions);
    Rest::find(setting).await?.change(Method::POST, &["roles", role, "grants"], &grant).await?;
    let line = format!("role {role} allows {} of {area}", actions.join(", "));
    tell(setting, &line, &json!({ "role": role, "granted": grant }))
}

/// Takes from what a role allows.
pub(super) async fn revoke(options: &RevokeOptions, setting: &Setting) -> Result<(), Failure> {
    let RevokeOptions { role, actions, area, .. } = options;
    let Area { namespace, group, data_id } = area;
    let mut query = vec![("namespace", namespace.clone()), ("group", group.clone()), ("dataId", data_id.clone())];
    let what = if actions.is_empty() { "anything".to_owned() } else { actions.join(", ") };
    if !actions.is_empty() {
        query.push(("actions", actions.join(",")));
    }
    Rest::find(setting).await?.remove(&["roles", role, "grants"], &query).await?;
    let said = json!({ "role": role, "revoked": area.granting(actions) });
    tell(setting, &format!("the grant of role {role} for {area} allows no longer {what}"), &said)
}

impl Area {
    /// As a grant of these actions.
    pub(super) fn granting(&self, actions: &[String]) -> Value {
        let Self { namespace, group, data_id } = self;
        json!({ "namespace": namespace, "group": group, "dataId": data_id, "actions": actions })
    }
}

impl std::fmt::Display for Area {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}/{}", self.namespace, self.group, self.data_id)
    }
}
