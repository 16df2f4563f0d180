//! `static`: a fixed 1 KiB answer from actix-web, with no actor and no configuration behind it, served by a process of
//! our own and measured like any other server. What it takes is the least that an answer over this stack can take.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;

use super::answer::Reply;
use super::arguments::{Server, StaticOptions};
use super::load::{self, Work};
use super::report::Report;
use super::template;
use crate::api::addresses::listen;
use crate::settings::HttpOptions;

const SIZE: usize = 1024;
static BODY: [u8; SIZE] = [b'x'; SIZE];
/// As the node does it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Measures a fixed answer.
///
/// # Errors
/// The process can't be started.
pub(super) fn measure(options: &StaticOptions) -> anyhow::Result<Report> {
    let (process, address) = Process::start()?;
    let request = template::root(Server::at(address).authority());
    let works = (0..options.load.conns).map(|_| Fixed { request: request.clone() }).collect();
    Ok(load::run(address, &options.load, Some(process.0.id()), works)?.report("static"))
}

struct Fixed {
    request: Vec<u8>,
}

impl Work for Fixed {
    fn prepare(&mut self) -> bool {
        true
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    fn judge(&mut self, reply: &Reply<'_>) -> bool {
        reply.status == 200 && reply.body.len() == SIZE
    }
}

/// The serving process. It ends when its standard input does, so also when this process is killed.
struct Process(Child);

impl Process {
    fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut command = Command::new(program);
        command.args(["bench", "static-server"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self(command.spawn().context("cannot start the serving process")?);
        let output = process.0.stdout.take().context("the serving process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("cannot read from the serving process")?;
        let address = line.trim().parse().with_context(|| format!("the serving process says {line:?}"))?;
        Ok((process, address))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("callboard: the serving process may be left behind: {error}");
        }
    }
}

/// Serves until standard input ends; the address is the one line on standard output.
///
/// # Errors
/// No address can be listened on.
pub(super) fn serve() -> anyhow::Result<()> {
    actix_rt::System::new().block_on(async {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let options = HttpOptions::default();
        let answer = || async { HttpResponse::Ok().content_type("text/plain").body(web::Bytes::from_static(&BODY)) };
        let server = HttpServer::new(move || App::new().route("/", web::get().to(answer)))
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
                eprintln!("callboard: cannot read standard input");
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
            eprintln!("callboard: the server ended before its input did");
        }
    });
    told
}
