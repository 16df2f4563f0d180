//! A route: the access it needs, who handles it and how it is described; and the way of every request: who asks, may
//! they, handle, count. Routes are served from the tables of the doors only; whatever is in none is refused. Never
//! looks into a request.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::ALLOW;
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, web};
use callboard_protocol::access::audit::{Target, Who};
use callboard_protocol::access::grant::Demand;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::watch::Selector;
use callboard_protocol::write_request::Source;
use futures_util::FutureExt as _;

use super::openapi::Described;
use super::query::Query;
use super::{answer, client, connection, cookies, credentials, foreign, in_flight, problem};
use crate::api::access::{self, Access, Principal};
use crate::api::auth::{Credentials, Shown, Whence};
use crate::api::error::ApiError;
use crate::api::state::{Shared, State};
use crate::tls::ClientCertificate;

/// A request on its way to its handler.
pub(crate) struct Call {
    /// Its head.
    pub(crate) request: HttpRequest,
    /// Its body, unread.
    pub(crate) payload: Payload,
    /// What the worker has.
    pub(crate) state: web::Data<State>,
    /// Who asks, and what it takes.
    pub(crate) caller: Caller,
}

impl Call {
    /// A part of the path, percent-decoded. What the router leaves encoded, no name may hold.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The configuration that the path names.
    pub(crate) fn key(&self) -> Result<ConfigKey, ApiError> {
        Ok(ConfigKey::new(self.part("namespace"), self.part("group"), self.part("dataId"))?)
    }

    /// The query, which may hold the keys of `known`.
    pub(crate) fn query(&self, known: &[&'static str]) -> Result<Query<'_>, ApiError> {
        Ok(Query::parse(self.request.query_string(), known)?)
    }

    /// Who asks, and from where, as it is written down.
    pub(crate) fn who(&self) -> Who {
        Who { user: self.caller.principal.operator(), address: client::address(&self.request), door: self.caller.door }
    }

    /// Every route that is served beside this one.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &'static Route> {
        self.request.app_data::<Tables>().into_iter().flat_map(|tables| tables.routes())
    }
}

/// Who asks, and what the route takes. A handler that reads what a request names asks here whether it may.
#[derive(Debug)]
pub(crate) struct Caller {
    principal: Principal,
    access: Access,
    door: Source,
    asked: Rc<Asked>,
}

/// What was asked about a caller.
#[derive(Debug, Default)]
struct Asked {
    was_asked: Cell<bool>,
    /// Who was refused what, at last.
    refused: RefCell<Option<(Option<String>, ErrorCode, Target)>>,
}

impl Caller {
    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Takes what the body of a request shows for what its head did not.
    ///
    /// # Errors
    /// It is not right; or it takes more.
    pub(crate) async fn show(
        &mut self,
        shown: Credentials<'_>,
        request: &HttpRequest,
        state: &State,
    ) -> Result<(), ApiError> {
        if self.access == Access::Public {
            return Ok(());
        }
        if self.principal == Principal::Anonymous && shown != Credentials::None {
            let address = client::address_or_none(request);
            self.principal = state.shared.auth.authenticate(shown, self.whence(&address)).await?;
        }
        self.noting(self.principal.admit(self.access))
    }

    /// From where he comes who has this address.
    pub(crate) fn whence<'a>(&self, address: &'a str) -> Whence<'a> {
        Whence { address, door: self.door }
    }

    /// Remembers a refusal, to be written down.
    fn noting<T>(&self, asked: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(error) = &asked
            && let Some(target) = error.refused()
        {
            self.asked.refused.replace(Some((self.principal.operator(), error.code(), target.clone())));
        }
        asked
    }

    /// Asks whether the caller may do this.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn require(&self, demand: &Demand<'_>) -> Result<(), ApiError> {
        self.asked.was_asked.set(true);
        self.noting(self.principal.require(demand))
    }

    /// Asks whether the caller may read what a watch is for.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn require_selected(&self, selector: &Selector) -> Result<(), ApiError> {
        self.asked.was_asked.set(true);
        self.noting(access::require_selected(&self.principal, selector))
    }

    /// The request names nothing that anybody could be refused.
    pub(crate) fn require_nothing(&self) {
        self.asked.was_asked.set(true);
    }

    /// Comes to an end when what the caller may do has changed.
    pub(crate) fn changed(&self, state: &State) -> Pin<Box<dyn Future<Output = ()>>> {
        let (auth, principal) = (Arc::clone(&state.shared.auth), self.principal.clone());
        Box::pin(async move { auth.until_changed(&principal).await })
    }

    /// Whether the caller may do this; for lists that leave out what he may not see.
    pub(crate) fn may(&self, demand: &Demand<'_>) -> bool {
        self.asked.was_asked.set(true);
        self.principal.may(demand)
    }
}

/// What a handler gives.
pub(crate) type Answer = Result<HttpResponse, ApiError>;
/// A handler at work.
pub(crate) type Handling = Pin<Box<dyn Future<Output = HttpResponse>>>;

/// In whose form a refusal is told that no handler made.
#[derive(Debug)]
pub(crate) struct Family {
    /// How the paths of the family begin; empty for those of no other one.
    pub(crate) prefix: &'static str,
    /// Whether credentials may stand in the query and in a form, too: whoever reads a form looks there.
    pub(crate) takes_parameters: bool,
    /// As which door it is written down.
    pub(crate) door: Source,
    /// The answer to a request that no handler saw: what was wrong, and its path.
    pub(crate) turned_away: fn(ApiError, &str) -> HttpResponse,
    /// The answer of a handler that panicked.
    pub(crate) broken: fn() -> HttpResponse,
}

/// Our own: problem documents.
pub(crate) static NATIVE: Family = Family {
    prefix: "",
    takes_parameters: false,
    door: Source::Rest,
    turned_away: |error, _| problem::response(error),
    broken: || problem::response(ApiError::internal()),
};

impl Family {
    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) family: &'static Family,
    pub(crate) handler: fn(Call) -> Handling,
    /// How it describes itself; `None` for a route that somebody else specifies.
    pub(crate) describe: Option<fn() -> Described>,
    /// Whether a conversation opens here in which anything may be asked.
    pub(crate) opens: bool,
}

impl Route {
    /// The methods that lead here: what can be got can be asked for its headers alone.
    pub(crate) fn methods(&self) -> Vec<Method> {
        if self.method == Method::GET { vec![Method::GET, Method::HEAD] } else { vec![self.method.clone()] }
    }

    /// Whether more is done than to answer: something changes, or a conversation opens in which anything may.
    pub(crate) fn changes(&self) -> bool {
        self.method != Method::GET || self.opens
    }
}

/// A route of the native interface: method, path, access, handler, description.
macro_rules! native {
    ($method:ident $path:expr, $access:expr, $handler:path, $describe:path) => {
        $crate::http::route::Route {
            method: actix_web::http::Method::$method,
            path: $path,
            access: $access,
            family: &$crate::http::route::NATIVE,
            handler: |call| Box::pin(async { $handler(call).await.unwrap_or_else($crate::http::problem::response) }),
            describe: Some($describe),
            opens: false,
        }
    };
}
pub(crate) use native;

/// The routes of all doors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables(pub(crate) &'static [&'static [Route]]);

impl Tables {
    /// Every route there is.
    pub(crate) fn routes(self) -> impl Iterator<Item = &'static Route> {
        self.0.iter().copied().flatten()
    }

    /// Every path, once; those without parts first, which are compared at no cost.
    fn paths(self) -> Vec<&'static str> {
        let mut paths: Vec<&'static str> = self.routes().map(|row| row.path).collect();
        paths.sort_unstable_by_key(|path| (path.contains('{'), *path));
        paths.dedup();
        paths
    }

    /// The form for what no table holds.
    fn family_of(self, path: &str) -> &'static Family {
        let holding = self.routes().map(|row| row.family).filter(|family| family.holds(path));
        holding.max_by_key(|family| family.prefix.len()).unwrap_or(&NATIVE)
    }
}

/// Serves every route of the tables, and refuses everything else.
pub(crate) fn register(tables: Tables, services: &mut web::ServiceConfig) {
    services.app_data(tables);
    for path in tables.paths() {
        let rows: Vec<&'static Route> = tables.routes().filter(|row| row.path == path).collect();
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
                refuse(tables, &request, path, ApiError::method_not_allowed(allow.clone()))
            };
            async move { answer }
        })));
    }
    services.default_service(web::to(move |request: HttpRequest| async move {
        refuse(tables, &request, "none", ApiError::new(ErrorCode::NoSuchRoute, "there is nothing at this path"))
    }));
}

/// What is answered on the connections that are kept for those who ask how the node is.
const VITAL: [&str; 6] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/nacos/v1/console/health/liveness",
    "/nacos/v1/console/health/readiness",
    "/nacos/actuator/health",
];
/// What others are told there.
const FULL: &str =
    "as many connections are open as may be; this one is answered GET /healthz, /readyz and /metrics alone";

async fn handle(row: &'static Route, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let begun = Instant::now();
    connection::settle(&request);
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return (row.family.broken)();
    };
    let (is_head, version) = (request.method() == Method::HEAD, request.version());
    let (shared, counted) = (Arc::clone(&state.shared), state.open.begin());
    let (asked, peer) = (Rc::<Asked>::default(), request.peer_addr());
    let mut is_unrestricted = false;
    let network = client::network(&request);
    let admitted = if connection::is_kept(&request) && !VITAL.contains(&row.path) {
        Err(ApiError::new(ErrorCode::Overloaded, FULL).closing())
    } else {
        admit(row, &request, &state).await
    };
    let response = match admitted {
        Ok(principal) => {
            is_unrestricted = principal == Principal::Unrestricted;
            let caller = Caller { principal, access: row.access, door: row.family.door, asked: Rc::clone(&asked) };
            let call = Call { request, payload: payload.into_inner(), state, caller };
            // A panic must not take the thread and all its connections along.
            AssertUnwindSafe((row.handler)(call)).catch_unwind().await.unwrap_or_else(|_panic| {
                tracing::error!(http.route = row.path, http.method = %row.method, "a handler panicked");
                (row.family.broken)()
            })
        }
        Err(refused) => (row.family.turned_away)(refused, request.path()),
    };
    let response = if is_unrestricted { response } else { unless_forgotten(row, &asked.was_asked, response) };
    if let Some(refused) = asked.refused.take() {
        tell_refused(&shared, refused, (peer, row.family.door));
    }
    let response = if is_head { answer::without_body(response) } else { response };
    let response = match in_flight::follow(counted, response, (&shared.memory.answers, network)).await {
        Ok(response) => response,
        Err(none) => (row.family.turned_away)(none.into(), row.path),
    };
    let (elapsed, status) = (begun.elapsed(), response.status().as_u16());
    let method = if is_head { "HEAD" } else { row.method.as_str() };
    shared.figures.count(row.path, method, status, elapsed);
    tracing::debug!(http.route = row.path, http.method = method, http.status = status, ?elapsed, "answered");
    if version < Version::HTTP_11 { answer::in_one_piece(response) } else { response }
}

/// Writes down who was refused what.
fn tell_refused(
    shared: &Shared,
    (user, code, target): (Option<String>, ErrorCode, Target),
    (peer, door): (Option<SocketAddr>, Source),
) {
    let address = peer.map(|peer| peer.ip().to_string());
    shared.auth.tell_refusal((code, target), Who { user, address, door });
}

/// Who asks, and whether he may, as far as the head of a request tells.
async fn admit(row: &Route, request: &HttpRequest, state: &State) -> Result<Principal, ApiError> {
    foreign::refuse(request, &state.shared.hosts, row.changes())?;
    if row.access == Access::Public {
        return Ok(Principal::Anonymous);
    }
    let mut shown = credentials::shown(request, row.family.takes_parameters)?;
    if shown == Shown::Nothing
        && !row.family.takes_parameters
        && let Some(token) = cookies::single(request, cookies::LOGIN)
    {
        if row.changes() {
            foreign::refuse_unless_own(request, &state.shared.hosts)?;
        }
        shown = Shown::Token(token.into());
    }
    if shown == Shown::Nothing
        && let Some(certificate) = request.conn_data::<ClientCertificate>()
        && let Some(principal) = state.shared.auth.certified(certificate.common_name.as_deref().unwrap_or_default())
    {
        return told(row, request, state, principal.admit(row.access), principal);
    }
    let principal = match state.shared.auth.recall(shown.credentials()) {
        Some(principal) => principal,
        None => {
            let address = client::address_or_none(request);
            let whence = Whence { address: &address, door: row.family.door };
            state.shared.auth.authenticate(shown.credentials(), whence).await?
        }
    };
    // The form may show who asks.
    let comes_later = row.family.takes_parameters && row.method != Method::GET && principal == Principal::Anonymous;
    let admitted = if comes_later { Ok(()) } else { principal.admit(row.access) };
    told(row, request, state, admitted, principal)
}

/// Who was admitted; a refusal is written down.
fn told(
    row: &Route,
    request: &HttpRequest,
    state: &State,
    admitted: Result<(), ApiError>,
    principal: Principal,
) -> Result<Principal, ApiError> {
    if let Err(error) = &admitted {
        let address = client::address_or_none(request);
        let whence = Whence { address: &address, door: row.family.door };
        state.shared.auth.tell_refused(error, principal.operator(), whence);
    }
    admitted.map(|()| principal)
}

/// A handler that never asked whether it may must not answer: it was forgotten.
fn unless_forgotten(row: &Route, was_asked: &Cell<bool>, response: HttpResponse) -> HttpResponse {
    let is_forgotten = matches!(row.access, Access::Named(_)) && !was_asked.get() && response.status().is_success();
    if !is_forgotten {
        return response;
    }
    tracing::error!(http.route = row.path, http.method = %row.method, "a handler did not ask whether its caller may");
    (row.family.broken)()
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
fn refuse(tables: Tables, request: &HttpRequest, route: &'static str, error: ApiError) -> HttpResponse {
    connection::settle(request);
    if let Some(state) = request.app_data::<web::Data<State>>() {
        let status = error.entry().http;
        state.shared.figures.refused(route, status);
        tracing::debug!(http.route = route, http.status = status, "refused");
    }
    (tables.family_of(request.path()).turned_away)(error, request.path())
}
