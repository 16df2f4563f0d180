//! `callboard pushes`.

use serde_json::Value;

use super::Setting;
use super::arguments::{Format, PushesOptions};
use super::failure::Failure;
use super::output::{cell, items, print, print_json, remark};
use super::rest::Rest;
use super::table::Table;

/// Lists what became of a version at each client.
pub(super) async fn run(options: &PushesOptions, setting: &Setting) -> Result<(), Failure> {
    let key = setting.key(&options.named);
    let rest = Rest::find(setting).await?;
    let path = ["namespaces", key.namespace(), "groups", key.group(), "configs", key.data_id(), "pushes"];
    let version = options.version.map(|version| ("version", version.to_string()));
    let state = options.state.clone().map(|state| ("state", state));
    let query: Vec<_> = version.into_iter().chain(state).collect();
    let found = rest.list(&path, &query, "cursor", &options.bound).await?;
    if found.get("version").and_then(Value::as_u64) == Some(0) {
        return Err(Failure::NotFound(format!("{key} does not exist, and never did")));
    }
    warn(&found);
    match setting.preferences.output {
        Format::Table => print(&format!(
            "{key} version {}: {}\n{}",
            cell(&found, "/version"),
            counts(&found),
            table(&found).to_text()
        )),
        Format::Json => print_json(&found),
    }
}

/// How many clients stand in each state, without those in which nobody is.
fn counts(found: &Value) -> String {
    let counts = found.get("counts").and_then(Value::as_object).into_iter().flatten();
    let some = counts.filter(|(_, count)| count.as_u64() != Some(0));
    let texts: Vec<String> = some.map(|(state, count)| format!("{count} {state}")).collect();
    if texts.is_empty() { "no clients".to_owned() } else { texts.join(", ") }
}

fn table(found: &Value) -> Table {
    let mut table =
        Table::new(&["CLIENT", "NODE", "KIND", "APPLICATION", "ADDRESS", "STATE", "AT", "CONNECTED", "REASON"]);
    for push in items(found, "items") {
        let members =
            ["/client", "/node", "/kind", "/application", "/address", "/state", "/at", "/connected", "/reason"];
        table.row(members.map(|pointer| cell(push, pointer)));
    }
    table
}

fn warn(found: &Value) {
    for node in items(found, "nodes") {
        let name = cell(node, "/node");
        match cell(node, "/knows").as_str() {
            "unreachable" => remark(&format!("{name} did not answer: what it pushed is not shown")),
            "part" => remark(&format!("{name} was restarted: what it pushed before that is not known")),
            _ => {}
        }
    }
}
