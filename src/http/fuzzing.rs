//! What a fuzz target reaches of requests over HTTP/1. Present only with the feature `fuzzing`.

use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{Service as _, ServiceFactory as _, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpRequest, HttpResponse, web};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::connection::{self, Connection};
use super::query::Query;
use super::{body, credentials};

/// What a connection holds on its way, in bytes.
const ROOM: usize = 64 * 1024;

/// A client that sends `bytes` in pieces of `piece`, and then nothing more: whatever it is answered begins as an answer
/// does, and the connection ends.
///
/// # Panics
/// It does not.
pub fn requests(bytes: &[u8], piece: usize) {
    let runtime = actix_rt::System::new();
    let answers = runtime.block_on(async {
        let (mut client, server) = duplex(ROOM);
        let app = App::new().default_service(web::to(answer));
        let http = HttpService::build().client_request_timeout(Duration::ZERO).h1_allow_half_closed(true);
        let http = http.finish(map_config(app, |()| AppConfig::default()));
        let service = http.new_service(()).await.expect("the service has no parts that fail");
        let served = service.call((Connection::new(server), Protocol::Http1, None));
        let asking = async {
            for piece in bytes.chunks(piece.max(1)) {
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // It may have ended before.
            drop(client.shutdown().await);
            let mut answers = Vec::new();
            drop(client.read_to_end(&mut answers).await);
            answers
        };
        // How it ended is told by what it answered.
        let (_, answers) = tokio::join!(served, asking);
        answers
    });
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{}", answers.escape_ascii());
}

/// Reads what there is to be read.
async fn answer(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let parameters = [true, false].map(|parameters| credentials::shown(&request, parameters).is_ok());
    let query = Query::parse(request.query_string(), &["dataId", "group", "q"]).is_ok();
    let moved = connection::take_moved_query(&request);
    let options = body::Options { max: ROOM, patience: Duration::from_secs(1) };
    let body = body::read(&request, &mut payload.into_inner(), options).await;
    HttpResponse::Ok().body(format!("{parameters:?} {query} {moved:?} {}", body.is_ok()))
}
