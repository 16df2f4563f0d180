//! The native interface over HTTP: `/api/v1`, and health, metrics and description at the root.
//!
//! Reading order: the table below (every route, one row each) · `configs`, `publishing` (one configuration) ·
//! `listing`, `history`, `namespaces`, `watch` · `actors`, `clients`, `cluster`, `health`, `metrics`, `openapi` (the
//! node and its clients).
//!
//! It turns requests into messages and answers into bytes. It decides nothing about configurations.

mod actors;
mod clients;
mod cluster;
mod configs;
mod health;
mod history;
mod listing;
mod metrics;
mod namespaces;
mod openapi;
mod publishing;
mod watch;

use crate::http::route::{Route, native};

const CONFIG: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}";
const HISTORY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history";
const HISTORY_ENTRY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history/{version}";
const PUSHES: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/pushes";
const LISTING: &str = "/api/v1/namespaces/{namespace}/configs";
const NAMESPACES: &str = "/api/v1/namespaces";
const NAMESPACE: &str = "/api/v1/namespaces/{namespace}";

/// Every route of the native interface, but the one that opens a session.
pub(crate) static ROUTES: [Route; 22] = [
    native!(GET CONFIG, Read, configs::read, configs::describe),
    native!(PUT CONFIG, Write, publishing::put, publishing::describe_put),
    native!(DELETE CONFIG, Write, publishing::remove, publishing::describe_remove),
    native!(GET HISTORY, Read, history::list, history::describe_list),
    native!(GET HISTORY_ENTRY, Read, history::entry, history::describe_entry),
    native!(GET LISTING, Read, listing::list, listing::describe),
    native!(GET NAMESPACES, Read, namespaces::list, namespaces::describe_list),
    native!(POST NAMESPACES, Admin, namespaces::create, namespaces::describe_create),
    native!(PUT NAMESPACE, Admin, namespaces::edit, namespaces::describe_edit),
    native!(DELETE NAMESPACE, Admin, namespaces::remove, namespaces::describe_remove),
    native!(GET "/api/v1/watch", Read, watch::watch, watch::describe),
    native!(GET "/api/v1/clients", Admin, clients::list, clients::describe_list),
    native!(GET "/api/v1/clients/{client}", Admin, clients::one, clients::describe_one),
    native!(GET PUSHES, Admin, clients::pushes, clients::describe_pushes),
    native!(GET "/api/v1/actors", Admin, actors::list, actors::describe_list),
    native!(GET "/api/v1/actors/{name}", Admin, actors::one, actors::describe_one),
    native!(GET "/api/v1/cluster", Admin, cluster::get, cluster::describe_get),
    native!(POST "/api/v1/cluster/drain", Admin, cluster::drain, cluster::describe_drain),
    native!(GET "/healthz", Public, health::up, health::describe_up),
    native!(GET "/readyz", Public, health::ready, health::describe_ready),
    native!(GET "/metrics", Public, metrics::scrape, metrics::describe),
    native!(GET "/openapi.json", Public, openapi::document, openapi::describe),
];
