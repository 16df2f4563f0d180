//! The time before the database can be used, as in the middle of a fail-over: how long a start waits for it, and what
//! clients and probes are told meanwhile. Owns no part of the node; there is none yet.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_http::HttpService;
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpResponse, web};
use anyhow::Context as _;
use callboard_actors::store::OpenError;
use callboard_migration::MigrationError;
use callboard_protocol::error_code::ErrorCode;

use prometheus_client::registry::Registry;

use super::way::{Way, rooms};
use super::{accept, limits};
use crate::api::error::ApiError;
use crate::api::memory::Memory;
use crate::api::places::Places;
use crate::http::problem;
use crate::settings::{Settings, TlsDoor};
use crate::tls::Tls;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Does `open` until it succeeds, at most for `database.start_timeout` as long as the database can't be reached or
/// takes no writes. On `listener`, by `tls`, the process says meanwhile that it lives and is not ready.
///
/// # Errors
/// What `open` said last.
pub(crate) async fn until_open<T>(
    (listener, tls, settings): (&TcpListener, &Tls, &Settings),
    open: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (begun, limit) = (Instant::now(), settings.database.start_timeout);
    let mut stand_in: Option<StandIn> = None;
    loop {
        let error = match open().await {
            Ok(opened) => {
                if let Some(stand_in) = stand_in {
                    stand_in.stop().await;
                    let seconds = format!("{:.1}", begun.elapsed().as_secs_f64());
                    tracing::info!(outage.seconds = seconds, "the database can be used; the start goes on");
                }
                return Ok(opened);
            }
            Err(error) => error,
        };
        if !may_pass(&error) || begun.elapsed() >= limit {
            if let Some(stand_in) = stand_in {
                stand_in.stop().await;
            }
            return Err(error);
        }
        if stand_in.is_none() {
            let limit = humantime::format_duration(limit);
            tracing::warn!(
                reason = format!("{error:#}"),
                "the database can't be used; the start waits for it up to {limit}"
            );
            stand_in = Some(StandIn::start(listener, tls, settings)?);
        }
        actix_rt::time::sleep(PAUSE).await;
    }
}

/// Whether the database may be there in a moment; wrong credentials and missing rights stay what they are.
fn may_pass(error: &anyhow::Error) -> bool {
    let by_migration = error.downcast_ref::<MigrationError>().is_some_and(|error| {
        matches!(
            error,
            MigrationError::Unreachable { .. } | MigrationError::ReadOnly { .. } | MigrationError::Busy { .. }
        )
    });
    let by_store = error
        .downcast_ref::<OpenError>()
        .is_some_and(|error| matches!(error, OpenError::Unreachable { .. } | OpenError::ReadOnly { .. }));
    by_migration || by_store
}

/// Answers in place of the node.
struct StandIn {
    handle: ServerHandle,
    running: actix_rt::task::JoinHandle<std::io::Result<()>>,
}

impl StandIn {
    fn start(listener: &TcpListener, tls: &Tls, settings: &Settings) -> anyhow::Result<Self> {
        let listener = listener.try_clone().context("cannot share the HTTP listener")?;
        let places = Places::of_doors(rooms(settings), &mut Registry::default());
        let way = Way::new(TlsDoor::Http, &places, tls, settings);
        let accept = accept(way, limits(settings, &Memory::new(&settings.memory)));
        let serve = move || {
            let app = App::new().route("/healthz", web::get().to(lives)).default_service(web::to(waits));
            let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
            let http = HttpService::build().finish(map_config(app, |()| AppConfig::default()));
            fn_service(accept.clone()).and_then(http)
        };
        let server = Server::build().workers(1).disable_signals().listen("http", listener, serve)?.run();
        Ok(Self { handle: server.handle(), running: actix_rt::spawn(server) })
    }

    async fn stop(self) {
        self.handle.stop(false).await;
        // It ends by the word before; how does not matter any more.
        drop(self.running.await);
    }
}

async fn lives() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "up" }))
}

async fn waits() -> HttpResponse {
    problem::response(ApiError::new(ErrorCode::Unavailable, "the node waits for its database"))
}
