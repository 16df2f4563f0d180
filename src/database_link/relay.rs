//! One connection of the driver: finds a host for it and passes bytes both ways until both sides have ended. Reads
//! nothing of what it passes on. Owns both sockets.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::connect::connect;
use super::route::Route;

/// Bytes that are taken at a time: a batch of publishes in a few pieces.
const BUFFER: usize = 32 * 1024;
/// The first pause between attempts to reach a host, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A server that ends a connection before this, having answered less often than that, refuses it. With TLS PostgreSQL's
/// refusal is its third answer, and the answer to the first good-bye of MariaDB the fourth.
const YOUNG: Duration = Duration::from_secs(2);
const ANSWERS_OF_A_SERVICE: u32 = 4;
/// How long the server may take to end what the driver has ended.
const LINGER: Duration = Duration::from_secs(5);

/// Serves one connection of the driver to its end.
pub(super) async fn relay(mut driver: UnixStream, route: &Route) {
    let Some((place, mut server)) = find(&driver, route).await else { return };
    match pass_on(&mut driver, &mut server, route, place).await {
        Ok(()) => tracing::trace!("a connection to the database has ended"),
        // Each side hears of the other's end; what it makes of it is its own affair.
        Err(error) => tracing::debug!(%error, "a connection to the database broke"),
    }
}

/// A host that lets itself be connected to. While the database is away this goes on for as long as the driver waits, as
/// the driver itself does when it is refused; before any host was ever reached the first failure is the answer.
async fn find(driver: &UnixStream, route: &Route) -> Option<(usize, TcpStream)> {
    let end = Instant::now() + route.patience();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut failures = Vec::new();
        for (place, host) in route.in_order() {
            match connect(host, route.limit_of_host()).await {
                Ok(server) => {
                    route.reached(place);
                    return Some((place, server));
                }
                Err(error) => failures.push(format!("{host}: {error}")),
            }
        }
        route.out_of_reach(failures.join("; "));
        if !route.was_reached() || Instant::now() + pause >= end || has_left(driver) {
            return None;
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Whether the driver has hung up.
fn has_left(driver: &UnixStream) -> bool {
    driver.ready(Interest::READABLE).now_or_never().is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
}

async fn pass_on(driver: &mut UnixStream, server: &mut TcpStream, route: &Route, place: usize) -> io::Result<()> {
    let begun = Instant::now();
    let (mut from_driver, mut to_driver) = driver.split();
    let (mut from_server, mut to_server) = server.split();
    let (driver_ended, server_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (is_asked, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    let has_spoken = AtomicBool::new(false);
    // Who is told good-bye may end the connection before the driver has: it is asked something last, and does not
    // answer.
    let is_refusal = || {
        let takes_leave = has_spoken.load(Relaxed) && is_asked.load(Relaxed);
        begun.elapsed() < YOUNG && answers.load(Relaxed) < ANSWERS_OF_A_SERVICE && !takes_leave
    };
    let ask = async {
        let asked = pass(&mut from_driver, &mut to_server, || is_asked.store(true, Relaxed)).await;
        driver_ended.store(true, Relaxed);
        asked?;
        if !server_ended.load(Relaxed) {
            sleep(LINGER).await;
        }
        Ok(())
    };
    let answer = async {
        // One that takes connections and says nothing is frozen. A list has others.
        let speaks = route.hosts().len() < 2 || timeout(route.limit_of_host(), from_server.readable()).await.is_ok();
        let count = || {
            has_spoken.store(true, Relaxed);
            if is_asked.swap(false, Relaxed) {
                answers.fetch_add(1, Relaxed);
            }
        };
        let answered = if speaks {
            pass(&mut from_server, &mut to_driver, count).await
        } else {
            Err(io::ErrorKind::TimedOut.into())
        };
        server_ended.store(true, Relaxed);
        if is_refusal() && !driver_ended.load(Relaxed) {
            route.useless(place);
        }
        answered?;
        if !driver_ended.load(Relaxed) {
            // The driver may go on asking; it ends this when it ends.
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let (ask, answer) = (pin!(ask), pin!(answer));
    tokio::select! {
        ended = ask => ended,
        ended = answer => ended,
    }
}

/// Passes bytes on until they end, and that end, too; tells of each piece before it is passed on.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    tell: impl Fn(),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        match buffer.get(..length) {
            None | Some([]) => return to.shutdown().await,
            Some(bytes) => {
                tell();
                to.write_all(bytes).await?;
            }
        }
    }
}
