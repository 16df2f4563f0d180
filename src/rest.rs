//! The native interface over HTTP: `/api/v1`, and health, metrics and description at the root.
//!
//! Reading order: the table below (every route, one row each) · `configs`, `publishing` (one configuration) ·
//! `listing`, `history`, `namespaces`, `watch` · `auth`, `oidc`, `users` (who may) · `audit` (who did what) ·
//! `actors`, `clients`, `cluster`, `health`, `metrics`, `openapi` (the node and its clients).
//!
//! It turns requests into messages and answers into bytes. It decides nothing about configurations.

mod actors;
mod audit;
mod auth;
mod body;
mod clients;
mod cluster;
mod configs;
mod health;
mod history;
mod listing;
mod metrics;
mod namespaces;
mod oidc;
mod openapi;
mod publishing;
mod users;
mod watch;

use callboard_protocol::access::grant::Action::{Admin, Manage, Read, Write};

use crate::api::access::Access::{Cluster, Known, Named, Public};
use crate::http::route::{Route, native};

const CONFIG: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}";
const HISTORY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history";
const HISTORY_ENTRY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history/{version}";
const PUSHES: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/pushes";
const LISTING: &str = "/api/v1/namespaces/{namespace}/configs";
const USER: &str = "/api/v1/users/{user}";
const USER_ROLE: &str = "/api/v1/users/{user}/roles/{role}";
const ROLE: &str = "/api/v1/roles/{role}";
const ROLE_GRANTS: &str = "/api/v1/roles/{role}/grants";
const NAMESPACES: &str = "/api/v1/namespaces";
const NAMESPACE: &str = "/api/v1/namespaces/{namespace}";

/// Every route of the native interface, but the one that opens a session.
pub(crate) static ROUTES: [Route; 55] = [
    native!(GET CONFIG, Named(Read), configs::read, configs::describe),
    native!(PUT CONFIG, Named(Write), publishing::put, publishing::describe_put),
    native!(DELETE CONFIG, Named(Write), publishing::remove, publishing::describe_remove),
    native!(GET HISTORY, Named(Read), history::list, history::describe_list),
    native!(GET HISTORY_ENTRY, Named(Read), history::entry, history::describe_entry),
    native!(GET LISTING, Named(Read), listing::list, listing::describe),
    native!(GET NAMESPACES, Known, namespaces::list, namespaces::describe_list),
    native!(POST NAMESPACES, Named(Manage), namespaces::create, namespaces::describe_create),
    native!(PUT NAMESPACE, Named(Manage), namespaces::edit, namespaces::describe_edit),
    native!(DELETE NAMESPACE, Named(Manage), namespaces::remove, namespaces::describe_remove),
    native!(GET "/api/v1/watch", Named(Read), watch::watch, watch::describe),
    native!(GET "/api/v1/clients", Cluster(Manage), clients::list, clients::describe_list),
    native!(GET "/api/v1/clients/{client}", Cluster(Manage), clients::one, clients::describe_one),
    native!(GET PUSHES, Named(Manage), clients::pushes, clients::describe_pushes),
    native!(GET "/api/v1/actors", Cluster(Manage), actors::list, actors::describe_list),
    native!(GET "/api/v1/actors/{name}", Cluster(Manage), actors::one, actors::describe_one),
    native!(GET "/api/v1/cluster", Cluster(Manage), cluster::get, cluster::describe_get),
    native!(POST "/api/v1/cluster/drain", Cluster(Admin), cluster::drain, cluster::describe_drain),
    native!(POST "/api/v1/auth/login", Public, auth::log_in, auth::describe_log_in),
    native!(POST "/api/v1/auth/logout", Known, auth::log_out, auth::describe_log_out),
    native!(GET "/api/v1/auth/me", Known, auth::oneself, auth::describe_oneself),
    native!(PUT "/api/v1/auth/password", Known, auth::set_own_password, auth::describe_set_own_password),
    native!(GET "/api/v1/auth/keys", Cluster(Admin), auth::keys, auth::describe_keys),
    native!(POST "/api/v1/auth/keys", Cluster(Admin), auth::rotate, auth::describe_rotate),
    native!(GET "/api/v1/secrets/keys", Cluster(Admin), auth::data_keys, auth::describe_data_keys),
    native!(POST "/api/v1/secrets/keys", Cluster(Admin), auth::add_data_key, auth::describe_add_data_key),
    native!(GET "/api/v1/auth/oidc", Public, oidc::offered, oidc::describe_offered),
    native!(GET "/api/v1/auth/oidc/login", Public, oidc::begin, oidc::describe_begin),
    native!(GET oidc::CALLBACK, Public, oidc::end, oidc::describe_end),
    native!(POST "/api/v1/auth/oidc/device", Public, oidc::begin_device, oidc::describe_begin_device),
    native!(POST "/api/v1/auth/oidc/device/token", Public, oidc::end_device, oidc::describe_end_device),
    native!(GET "/api/v1/tokens", Known, auth::tokens, auth::describe_tokens),
    native!(POST "/api/v1/tokens", Known, auth::make_token, auth::describe_make_token),
    native!(DELETE "/api/v1/tokens/{token}", Known, auth::remove_token, auth::describe_remove_token),
    native!(GET "/api/v1/users", Cluster(Admin), users::list, users::describe_list),
    native!(POST "/api/v1/users", Cluster(Admin), users::create, users::describe_create),
    native!(GET USER, Cluster(Admin), users::one, users::describe_one),
    native!(DELETE USER, Cluster(Admin), users::remove, users::describe_remove),
    native!(PUT "/api/v1/users/{user}/password", Cluster(Admin), users::set_password, users::describe_set_password),
    native!(PUT "/api/v1/users/{user}/enabled", Cluster(Admin), users::enable, users::describe_enable),
    native!(POST "/api/v1/users/{user}/logout", Cluster(Admin), users::log_out, users::describe_log_out),
    native!(PUT USER_ROLE, Cluster(Admin), users::assign, users::describe_assign),
    native!(DELETE USER_ROLE, Cluster(Admin), users::withdraw, users::describe_withdraw),
    native!(GET "/api/v1/roles", Cluster(Admin), users::roles, users::describe_roles),
    native!(PUT ROLE, Cluster(Admin), users::set_role, users::describe_set_role),
    native!(DELETE ROLE, Cluster(Admin), users::remove_role, users::describe_remove_role),
    native!(POST ROLE_GRANTS, Cluster(Admin), users::grant, users::describe_grant),
    native!(DELETE ROLE_GRANTS, Cluster(Admin), users::revoke, users::describe_revoke),
    native!(GET "/api/v1/audit", Cluster(Admin), audit::list, audit::describe_list),
    native!(GET "/api/v1/audit/export", Cluster(Admin), audit::export::export, audit::export::describe),
    native!(GET "/api/v1/audit/chains", Cluster(Admin), audit::chains, audit::describe_chains),
    native!(GET "/healthz", Public, health::up, health::describe_up),
    native!(GET "/readyz", Public, health::ready, health::describe_ready),
    native!(GET "/metrics", Cluster(Read), metrics::scrape, metrics::describe),
    native!(GET "/openapi.json", Public, openapi::document, openapi::describe),
];
