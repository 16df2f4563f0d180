//! The access table: every route, the access it needs, who handles it and how it is described. Routes are served from
//! this table only; whatever is not in it is refused. Owns the way of every request: who asks, may they, handle,
//! count. Never looks into a request.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::ALLOW;
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, web};
use callboard_protocol::key::ConfigKey;
use futures_util::FutureExt as _;

use super::openapi::Described;
use super::problem::{ErrorCode, Problem};
use super::query::Query;
use super::{
    State, actors, answer, clients, cluster, configs, connection, foreign, health, history, listing, metrics, nacos,
    namespaces, openapi, publishing, watch,
};
use crate::session::websocket;

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: anybody may ask.
    Public,
    /// Read configurations.
    Read,
    /// Change configurations.
    Write,
    /// Look at and change the node and its namespaces.
    Admin,
}

/// Who asks. No header makes a caller somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody in particular.
    Anonymous,
}

impl Principal {
    fn of(_request: &HttpRequest) -> Self {
        Self::Anonymous
    }

    /// Whoever reaches the address may do everything: addresses that others reach have to be asked for at the start.
    pub(crate) fn require(&self, access: Access) -> Result<(), Problem> {
        match (self, access) {
            (Self::Anonymous, Access::Public | Access::Read | Access::Write | Access::Admin) => Ok(()),
        }
    }

    /// The name under which changes are recorded.
    pub(crate) fn operator(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
        }
    }
}

/// A request on its way to its handler.
pub(crate) struct Call {
    /// Its head.
    pub(crate) request: HttpRequest,
    /// Its body, unread.
    pub(crate) payload: Payload,
    /// What the worker has.
    pub(crate) state: web::Data<State>,
    /// Who asks.
    pub(super) principal: Principal,
}

impl Call {
    /// A part of the path, percent-decoded. What the router leaves encoded, no name may hold.
    pub(super) fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The configuration that the path names.
    pub(super) fn key(&self) -> Result<ConfigKey, Problem> {
        Ok(ConfigKey::new(self.part("namespace"), self.part("group"), self.part("dataId"))?)
    }

    /// The query, which may hold the keys of `known`.
    pub(crate) fn query(&self, known: &[&'static str]) -> Result<Query<'_>, Problem> {
        Ok(Query::parse(self.request.query_string(), known)?)
    }
}

/// What a handler gives.
pub(crate) type Answer = Result<HttpResponse, Problem>;
type Handling = Pin<Box<dyn Future<Output = HttpResponse>>>;

/// In whose words a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Our own: a problem document.
    Native,
    /// Nacos's: plain text from a route, the error document of its framework where no route was reached.
    Nacos,
}

impl Family {
    /// The words for what the table does not hold.
    fn of_path(path: &str) -> Self {
        let is_nacos = path.strip_prefix("/nacos").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_nacos { Self::Nacos } else { Self::Native }
    }

    /// The answer to a request that no handler saw.
    fn turned_away(self, problem: Problem, path: &str) -> HttpResponse {
        match self {
            Self::Native => problem.into_response(),
            Self::Nacos => nacos::fault::turned_away(&problem, path),
        }
    }

    /// The answer of a handler that panicked.
    fn broken(self) -> HttpResponse {
        match self {
            Self::Native => Problem::internal().into_response(),
            Self::Nacos => nacos::fault::Fault::from(Problem::internal()).into_response(),
        }
    }
}

/// A route.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    family: Family,
    handler: fn(Call) -> Handling,
    /// How it describes itself; `None` for a route that somebody else specifies.
    pub(super) describe: Option<fn() -> Described>,
}

impl Row {
    /// The methods that lead here: what can be got can be asked for its headers alone.
    fn methods(&self) -> Vec<Method> {
        if self.method == Method::GET { vec![Method::GET, Method::HEAD] } else { vec![self.method.clone()] }
    }

    /// Whether more is done than to answer: something changes, or a session opens in which anything may.
    pub(super) fn changes(&self) -> bool {
        self.method != Method::GET || self.path == SESSION
    }
}

macro_rules! row {
    ($method:ident $path:expr, $access:ident, $handler:path, $describe:path) => {
        Row {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            family: Family::Native,
            handler: |call| Box::pin(async { $handler(call).await.unwrap_or_else(Problem::into_response) }),
            describe: Some($describe),
        }
    };
}

macro_rules! nacos {
    ($method:ident $path:expr, $access:ident, $handler:path) => {
        Row {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            family: Family::Nacos,
            handler: |call| Box::pin(async { $handler(call).await.unwrap_or_else(nacos::fault::Fault::into_response) }),
            describe: None,
        }
    };
}

const CONFIG: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}";
const HISTORY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history";
const HISTORY_ENTRY: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/history/{version}";
const PUSHES: &str = "/api/v1/namespaces/{namespace}/groups/{group}/configs/{dataId}/pushes";
const LISTING: &str = "/api/v1/namespaces/{namespace}/configs";
const NAMESPACES: &str = "/api/v1/namespaces";
const SESSION: &str = "/api/v1/session";
const NAMESPACE: &str = "/api/v1/namespaces/{namespace}";

const NACOS_CONFIGS: &str = "/nacos/v1/cs/configs";
const NACOS_NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// Every route there is.
pub(super) static TABLE: [Row; 47] = [
    row!(GET CONFIG, Read, configs::read, configs::describe),
    row!(PUT CONFIG, Write, publishing::put, publishing::describe_put),
    row!(DELETE CONFIG, Write, publishing::remove, publishing::describe_remove),
    row!(GET HISTORY, Read, history::list, history::describe_list),
    row!(GET HISTORY_ENTRY, Read, history::entry, history::describe_entry),
    row!(GET LISTING, Read, listing::list, listing::describe),
    row!(GET NAMESPACES, Read, namespaces::list, namespaces::describe_list),
    row!(POST NAMESPACES, Admin, namespaces::create, namespaces::describe_create),
    row!(PUT NAMESPACE, Admin, namespaces::edit, namespaces::describe_edit),
    row!(DELETE NAMESPACE, Admin, namespaces::remove, namespaces::describe_remove),
    row!(GET "/api/v1/watch", Read, watch::watch, watch::describe),
    row!(GET SESSION, Read, websocket::open, websocket::describe),
    row!(GET "/api/v1/clients", Admin, clients::list, clients::describe_list),
    row!(GET "/api/v1/clients/{client}", Admin, clients::one, clients::describe_one),
    row!(GET PUSHES, Admin, clients::pushes, clients::describe_pushes),
    row!(GET "/api/v1/actors", Admin, actors::list, actors::describe_list),
    row!(GET "/api/v1/actors/{name}", Admin, actors::one, actors::describe_one),
    row!(GET "/api/v1/cluster", Admin, cluster::get, cluster::describe_get),
    row!(POST "/api/v1/cluster/drain", Admin, cluster::drain, cluster::describe_drain),
    row!(GET "/healthz", Public, health::up, health::describe_up),
    row!(GET "/readyz", Public, health::ready, health::describe_ready),
    row!(GET "/metrics", Public, metrics::scrape, metrics::describe),
    row!(GET "/openapi.json", Public, openapi::document, openapi::describe),
    nacos!(GET NACOS_CONFIGS, Read, nacos::configs::get),
    nacos!(POST NACOS_CONFIGS, Write, nacos::publishing::publish),
    nacos!(DELETE NACOS_CONFIGS, Write, nacos::publishing::remove),
    nacos!(POST "/nacos/v1/cs/configs/listener", Read, nacos::listener::listen),
    nacos!(GET "/nacos/v1/cs/health", Public, nacos::node::up),
    nacos!(GET "/nacos/v1/console/health/liveness", Public, nacos::node::live),
    nacos!(GET "/nacos/v1/console/health/readiness", Public, nacos::node::ready),
    nacos!(GET "/nacos/v1/console/server/state", Public, nacos::node::state),
    nacos!(GET NACOS_NAMESPACES, Public, nacos::namespaces::get),
    nacos!(POST NACOS_NAMESPACES, Admin, nacos::namespaces::create),
    nacos!(PUT NACOS_NAMESPACES, Admin, nacos::namespaces::edit),
    nacos!(DELETE NACOS_NAMESPACES, Admin, nacos::namespaces::remove),
    nacos!(GET "/nacos/v1/ns/operator/metrics", Public, nacos::node::metrics),
    nacos!(GET "/nacos/v1/ns/service/list", Public, nacos::front::services),
    nacos!(GET "/nacos", Public, nacos::front::root),
    nacos!(GET "/nacos/", Public, nacos::front::page),
    nacos!(GET "/nacos/index.html", Public, nacos::front::page),
    nacos!(GET "/nacos/actuator/health", Public, nacos::front::health),
    nacos!(GET "/nacos/v1/core/cluster/nodes", Admin, nacos::node::members),
    nacos!(GET "/nacos/v1/core/cluster/self", Admin, nacos::node::this_member),
    nacos!(GET "/nacos/v1/core/cluster/simple/nodes", Admin, nacos::node::addresses),
    nacos!(GET "/nacos/v1/core/cluster/health", Admin, nacos::node::member_health),
    nacos!(POST "/nacos/v1/auth/login", Public, nacos::login::login),
    nacos!(POST "/nacos/v1/auth/users/login", Public, nacos::login::login),
];

/// Every path of the table, once; those without parts first, which are compared at no cost.
pub(super) fn paths() -> Vec<&'static str> {
    let mut paths: Vec<&'static str> = TABLE.iter().map(|row| row.path).collect();
    paths.sort_unstable_by_key(|path| (path.contains('{'), *path));
    paths.dedup();
    paths
}

/// Serves every row of the table, and refuses everything else.
pub(super) fn register(services: &mut web::ServiceConfig) {
    for path in paths() {
        let rows: Vec<&'static Row> = TABLE.iter().filter(|row| row.path == path).collect();
        let methods = || rows.iter().flat_map(|row| row.methods().into_iter().map(move |method| (*row, method)));
        let allow: String = methods().map(|(_, method)| format!("{method}, ")).chain(["OPTIONS".to_owned()]).collect();
        let mut resource = web::resource(path);
        for (row, method) in methods() {
            let handler = move |request, payload| handle(row, request, payload);
            resource = resource.route(web::method(method).to(handler));
        }
        services.service(resource.default_service(web::to(move |request: HttpRequest| {
            let answer = if request.method() == Method::OPTIONS {
                options(&request, path, &allow)
            } else {
                refuse(&request, path, Problem::method_not_allowed(allow.clone()))
            };
            async move { answer }
        })));
    }
    services.default_service(web::to(|request: HttpRequest| async move {
        refuse(&request, "none", Problem::new(ErrorCode::NoSuchRoute, "there is nothing at this path"))
    }));
}

async fn handle(row: &'static Row, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let begun = Instant::now();
    connection::settle(&request);
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return row.family.broken();
    };
    let principal = Principal::of(&request);
    let (is_head, version) = (request.method() == Method::HEAD, request.version());
    let (shared, counted) = (Arc::clone(&state.shared), state.open.begin());
    let may = foreign::refuse(&request, &state.shared.hosts, row.changes());
    let response = match may.and_then(|()| principal.require(row.access)) {
        Ok(()) => {
            let call = Call { request, payload: payload.into_inner(), state, principal };
            // A panic must not take the thread and all its connections along.
            AssertUnwindSafe((row.handler)(call)).catch_unwind().await.unwrap_or_else(|_panic| {
                tracing::error!(http.route = row.path, http.method = %row.method, "a handler panicked");
                row.family.broken()
            })
        }
        Err(refused) => row.family.turned_away(refused, request.path()),
    };
    let (elapsed, status) = (begun.elapsed(), response.status().as_u16());
    let method = if is_head { "HEAD" } else { row.method.as_str() };
    shared.figures.count(row.path, method, status, elapsed);
    tracing::debug!(http.route = row.path, http.method = method, http.status = status, ?elapsed, "answered");
    let response = if is_head { answer::without_body(response) } else { response };
    let response = if version < Version::HTTP_11 { answer::in_one_piece(response) } else { response };
    counted.follow(response)
}

/// Says which methods a path takes.
fn options(request: &HttpRequest, route: &'static str, allow: &str) -> HttpResponse {
    connection::settle(request);
    if let Some(state) = request.app_data::<web::Data<State>>() {
        state.shared.figures.refused(route, StatusCode::NO_CONTENT.as_u16());
    }
    HttpResponse::NoContent().insert_header((ALLOW, allow)).finish()
}

/// Answers what the table does not hold.
fn refuse(request: &HttpRequest, route: &'static str, problem: Problem) -> HttpResponse {
    connection::settle(request);
    if let Some(state) = request.app_data::<web::Data<State>>() {
        let status = problem.code().status().as_u16();
        state.shared.figures.refused(route, status);
        tracing::debug!(http.route = route, http.status = status, "refused");
    }
    Family::of_path(request.path()).turned_away(problem, request.path())
}

#[cfg(test)]
mod tests;
