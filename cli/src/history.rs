//! `callboard history`.

use serde_json::Value;

use super::Setting;
use super::arguments::{Format, HistoryOptions};
use super::failure::Failure;
use super::output::{cell, items, print, print_json};
use super::rest::Rest;
use super::table::Table;

/// Lists the versions of a configuration, or prints one.
pub(super) async fn run(options: &HistoryOptions, setting: &Setting) -> Result<(), Failure> {
    let key = setting.key(&options.named);
    let rest = Rest::find(setting).await?;
    let path = ["namespaces", key.namespace(), "groups", key.group(), "configs", key.data_id(), "history"];
    let format = setting.preferences.output;
    if let Some(version) = options.version {
        let version = version.to_string();
        let path: Vec<&str> = path.into_iter().chain([version.as_str()]).collect();
        return show(&rest.get(&path, &[]).await?, format);
    }
    let found = rest.list(&path, &[], "before", &options.bound).await?;
    if items(&found, "items").is_empty() {
        return Err(Failure::NotFound(format!("{key} has no history")));
    }
    match format {
        Format::Table => print(&table(&found).to_text()),
        Format::Json => print_json(&found),
    }
}

fn show(entry: &Value, format: Format) -> Result<(), Failure> {
    match (format, entry.get("content").and_then(Value::as_str)) {
        (Format::Json, _) => print_json(entry),
        (Format::Table, Some(content)) => print(content),
        (Format::Table, None) => {
            let version = cell(entry, "/version");
            Err(Failure::NotFound(format!("version {version} has no content: it removed the configuration")))
        }
    }
}

fn table(found: &Value) -> Table {
    let mut table = Table::new(&["VERSION", "AT", "OPERATION", "TYPE", "SIZE", "BY", "CHANNEL", "NOTE"]);
    for change in items(found, "items") {
        let shown = |pointer| cell(change, pointer);
        let names = ["/operator", "/clientId", "/sourceAddress"].map(shown);
        let by = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        table.row([
            shown("/version"),
            shown("/at"),
            shown("/operation"),
            shown("/type"),
            shown("/size"),
            by,
            shown("/channel"),
            shown("/note"),
        ]);
    }
    table
}
