//! `callboard ls`.

use std::pin::pin;

use callboard_client::{List, Summary};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::arguments::{Format, ListOptions};
use super::failure::Failure;
use super::output::{document, print, print_json};
use super::table::Table;
use super::{Setting, session};

/// Items of a page, the most that a node gives.
const PAGE: u32 = 500;

/// Lists configurations, page after page.
pub(super) async fn run(options: ListOptions, setting: &Setting) -> Result<(), Failure> {
    let ListOptions { prefix, group, bound, .. } = options;
    let limit = bound.to_count();
    let page = PAGE.min(u32::try_from(limit).unwrap_or(u32::MAX));
    let list = List { group: group.unwrap_or_default(), prefix, limit: page, ..List::default() };
    let (client, _) = session::connect(setting).await?;
    let found: Result<Vec<Summary>, _> = {
        let all = pin!(client.list_all(list).take(limit));
        all.try_collect().await
    };
    session::close(client).await;
    let found = found.map_err(|error| Failure::of_read(error, &setting.preferences.nodes))?;
    match setting.preferences.output {
        Format::Table => print(&table(&found).to_text()),
        Format::Json => {
            let items: Vec<Value> = found.iter().map(item).collect();
            print_json(&json!({ "items": items }))
        }
    }
}

fn table(found: &[Summary]) -> Table {
    let mut table = Table::new(&["GROUP", "DATA ID", "VERSION", "TYPE", "SIZE"]);
    for Summary { key, version, kind, size, .. } in found {
        table.row([
            key.group().to_owned(),
            key.data_id().to_owned(),
            version.to_string(),
            kind.clone(),
            size.to_string(),
        ]);
    }
    table
}

fn item(found: &Summary) -> Value {
    let Summary { key, version, md5, kind, size } = found;
    document(key, json!({ "version": version, "md5": md5, "type": kind, "size": size }))
}
