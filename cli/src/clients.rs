//! `callboard clients`.

use serde_json::Value;

use super::Setting;
use super::arguments::{Bound, ClientFilter, ClientsOptions, DEFAULT_GROUP, Format};
use super::failure::Failure;
use super::output::{cell, items, print, print_json, remark};
use super::rest::Rest;
use super::table::Table;

/// Lists who is connected, or looks at one client.
pub(super) async fn run(options: &ClientsOptions, setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let format = setting.preferences.output;
    if let Some(id) = &options.id {
        let found = rest.get(&["clients", id], &[]).await?;
        warn(&found);
        return match format {
            Format::Table => print(&of_one(&found)),
            Format::Json => print_json(&found),
        };
    }
    let query = query(&options.filter, &setting.preferences.namespace);
    // One more, in the place of this command's own session: it has ended, but the node may not have noticed.
    let bound = Bound { limit: options.bound.limit.map(|limit| limit.saturating_add(1)) };
    let mut found = rest.list(&["clients"], &query, "cursor", &bound).await?;
    if let Some(Value::Array(clients)) = found.get_mut("items") {
        clients.retain(|client| client.get("client").and_then(Value::as_str) != Some(rest.own_id()));
        clients.truncate(options.bound.to_count());
    }
    warn(&found);
    match format {
        Format::Table => print(&table(&found).to_text()),
        Format::Json => print_json(&found),
    }
}

/// The filter as parameters of the route.
fn query(filter: &ClientFilter, namespace: &str) -> Vec<(&'static str, String)> {
    let ClientFilter { client, application, address, label, kind, data_id, group } = filter;
    let given = [
        ("client", client),
        ("application", application),
        ("address", address),
        ("label", label),
        ("kind", kind),
        ("dataId", data_id),
    ];
    let mut query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    if data_id.is_some() {
        query.push(("namespace", namespace.to_owned()));
        query.push(("group", group.as_deref().unwrap_or(DEFAULT_GROUP).to_owned()));
    }
    query
}

fn table(found: &Value) -> Table {
    let mut table =
        Table::new(&["CLIENT", "NODE", "KIND", "APPLICATION", "ADDRESS", "SINCE", "IDLE", "WATCHED", "LABELS"]);
    for client in items(found, "items") {
        let shown = |pointer| cell(client, pointer);
        table.row([
            shown("/client"),
            shown("/node"),
            shown("/kind"),
            shown("/application"),
            shown("/address"),
            shown("/since"),
            shown("/idle"),
            shown("/watched"),
            labels(client),
        ]);
    }
    table
}

fn labels(client: &Value) -> String {
    let labels = client.get("labels").and_then(Value::as_object).into_iter().flatten();
    labels.map(|(name, value)| format!("{name}={}", cell(value, ""))).collect::<Vec<_>>().join(",")
}

/// The connections of a client, and what it watches on each.
fn of_one(found: &Value) -> String {
    let mut connections =
        Table::new(&["NODE", "SESSION", "KIND", "APPLICATION", "ADDRESS", "SINCE", "SOFTWARE", "LABELS"]);
    let mut watched = Table::new(&["NODE", "SESSION", "NAMESPACE", "GROUP", "DATA ID", "VERSION", "STATE"]);
    for connection in items(found, "connections") {
        let shown = |pointer| cell(connection, pointer);
        connections.row([
            shown("/node"),
            shown("/session"),
            shown("/kind"),
            shown("/application"),
            shown("/address"),
            shown("/since"),
            shown("/software"),
            labels(connection),
        ]);
        for key in items(connection, "keys") {
            let of_key = ["/namespace", "/group", "/dataId", "/version", "/state"].map(|pointer| cell(key, pointer));
            watched.row([shown("/node"), shown("/session")].into_iter().chain(of_key));
        }
        for prefix in items(connection, "prefixes") {
            let all = format!("{}*", cell(prefix, "/prefix"));
            let group =
                Some(cell(prefix, "/group")).filter(|group| !group.is_empty()).unwrap_or_else(|| "*".to_owned());
            let unknown = [String::new(), String::new()];
            let of_prefix = [cell(prefix, "/namespace"), group, all].into_iter().chain(unknown);
            watched.row([shown("/node"), shown("/session")].into_iter().chain(of_prefix));
        }
    }
    format!("{}\n{}", connections.to_text(), watched.to_text())
}

fn warn(found: &Value) {
    for node in items(found, "unreachable") {
        remark(&format!("{} did not answer: who is connected to it is not shown", cell(node, "")));
    }
}
