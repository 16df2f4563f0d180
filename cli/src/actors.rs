//! `callboard actors`.

use std::time::Duration;

use serde_json::Value;

use super::Setting;
use super::arguments::{ActorsOptions, Format};
use super::failure::Failure;
use super::output::{cell, items, print, print_json};
use super::rest::Rest;
use super::table::{Table, printable};

/// Lists the actors of a node, or looks at one.
pub(super) async fn run(options: &ActorsOptions, setting: &Setting) -> Result<(), Failure> {
    let rest = Rest::find(setting).await?;
    let found = match &options.name {
        Some(name) => rest.get(&["actors", name], &[]).await?,
        None => rest.get(&["actors"], &[]).await?,
    };
    match (setting.preferences.output, &options.name) {
        (Format::Json, _) => print_json(&found),
        (Format::Table, Some(_)) => print(&of_one(&found)),
        (Format::Table, None) => print(&table(items(&found, "actors")).to_text()),
    }
}

fn table<'a>(actors: impl IntoIterator<Item = &'a Value>) -> Table {
    let mut table =
        Table::new(&["ACTOR", "KIND", "ARBITER", "LIVE", "UPTIME", "MAILBOX", "HANDLED", "RESTARTS", "CANCELLED"]);
    for actor in actors {
        let shown = |pointer| cell(actor, pointer);
        let counts = items(actor, "messages").iter().filter_map(|message| message.get("count")?.as_u64());
        table.row([
            shown("/name"),
            shown("/kind"),
            shown("/arbiter"),
            shown("/live"),
            uptime(actor),
            shown("/mailbox_depth"),
            counts.sum::<u64>().to_string(),
            shown("/restarts"),
            shown("/cancelled"),
        ]);
    }
    table
}

fn uptime(actor: &Value) -> String {
    let seconds = actor.get("uptime_ms").and_then(Value::as_u64).unwrap_or_default() / 1_000;
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// One actor: its figures, its messages with their times in microseconds, and what it says of itself.
fn of_one(actor: &Value) -> String {
    let mut messages =
        Table::new(&["MESSAGE", "COUNT", "QUEUE P50 US", "QUEUE P99 US", "HANDLE P50 US", "HANDLE P99 US"]);
    for message in items(actor, "messages") {
        let members = ["/message", "/count", "/queue/p50_us", "/queue/p99_us", "/handle/p50_us", "/handle/p99_us"];
        messages.row(members.map(|pointer| cell(message, pointer)));
    }
    let said = match actor.get("snapshot") {
        Some(Value::Null) | None => format!("no snapshot: {}", printable(&cell(actor, "/snapshot_missing"))),
        Some(snapshot) => format!("{snapshot:#}"),
    };
    format!("{}\n{}\n{said}\n", table([actor]).to_text(), messages.to_text())
}
