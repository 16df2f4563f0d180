//! A fixed answer from actix-web, listened for and served as the node does it, with no actor and no configuration
//! behind it: what `callboard bench static` measures. Holds no data and reads no settings.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;

use crate::api::addresses::listen;
use crate::lossy::remark;
use crate::settings::HttpOptions;

/// As the node does it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves `size` bytes until standard input ends; the address is the one line on standard output.
///
/// # Errors
/// No address can be listened on.
pub fn serve(size: usize) -> anyhow::Result<()> {
    actix_rt::System::new().block_on(async {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let options = HttpOptions::default();
        let body = Bytes::from(vec![b'x'; size]);
        let answer = move || {
            let body = body.clone();
            async { HttpResponse::Ok().content_type("text/plain").body(body) }
        };
        let server = HttpServer::new(move || App::new().route("/", web::get().to(answer.clone())))
            .workers(options.worker_count())
            .max_connections(options.max_connections.div_ceil(options.worker_count()))
            .client_request_timeout(options.read_timeout)
            .keep_alive(KEEP_ALIVE)
            .disable_signals()
            .listen(listener)?
            .run();
        let (ended, handle) = (wait_for_the_end(), server.handle());
        actix_rt::spawn(async move {
            // Whether it was told or its thread is gone, nobody wants this process any more.
            if ended.await.is_err() {
                remark(format_args!("callboard: cannot read standard input"));
            }
            handle.stop(false).await;
        });
        writeln!(io::stdout(), "{address}")?;
        io::stdout().flush()?;
        Ok(server.await?)
    })
}

fn wait_for_the_end() -> tokio::sync::oneshot::Receiver<()> {
    let (ended, told) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let mut input = Vec::new();
        if io::stdin().read_to_end(&mut input).is_ok() && ended.send(()).is_err() {
            remark(format_args!("callboard: the server ended before its input did"));
        }
    });
    told
}
