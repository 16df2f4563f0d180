//! Opens TCP connections to the database. Owns what is set on them; keeps none.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::settings::Host;

/// Silence after which the server is asked whether it is there, and the pause between such questions.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(3);
/// Questions without an answer after which a connection is given up.
const KEEPALIVE_QUESTIONS: u32 = 3;
/// Milliseconds for which what was sent may stay unacknowledged.
const USER_TIMEOUT: u32 = 10_000;
/// Addresses that are taken of one name.
const MOST_ADDRESSES: usize = 16;

/// A connection to `host` within `limit`, to the first of its addresses that takes one. The name is looked up each
/// time: what it stands for changes.
pub(super) async fn connect(host: &Host, limit: Duration) -> io::Result<TcpStream> {
    match timeout(limit, connect_to_any(host, limit)).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(too_long(limit)),
    }
}

async fn connect_to_any(host: &Host, limit: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host.name.as_str(), host.port)).await?.take(MOST_ADDRESSES).collect();
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        failed = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return prepare(stream),
            Ok(Err(error)) => error,
            Err(_elapsed) => too_long(share),
        };
    }
    Err(failed)
}

fn too_long(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    // Questions and answers are small, and each waits for the other: holding one back for company costs 40 ms.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_PAUSE)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_QUESTIONS)?;
    sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT)?;
    Ok(stream)
}
