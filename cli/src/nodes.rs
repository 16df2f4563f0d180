//! `callboard nodes`.

use serde_json::Value;

use super::Setting;
use super::arguments::Format;
use super::failure::Failure;
use super::output::{cell, items, print, print_json};
use super::rest::Rest;
use super::table::Table;

/// Lists the nodes of the cluster.
pub(super) async fn run(setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let found = rest.get(&["cluster"], &[]).await?;
    match setting.preferences.output {
        Format::Table => print(&table(&found).to_text()),
        Format::Json => print_json(&found),
    }
}

fn table(found: &Value) -> Table {
    let mut table =
        Table::new(&["NODE", "STATE", "LEASE", "REVISION", "VERSION", "HTTP", "SESSIONS", "PEERS", "SUSPECTED BY"]);
    for node in items(found, "nodes") {
        let members = [
            "/id",
            "/state",
            "/lease",
            "/revision",
            "/version",
            "/addresses/http",
            "/addresses/session",
            "/addresses/peer",
            "/suspected_by",
        ];
        table.row(members.map(|pointer| cell(node, pointer)));
    }
    table
}
