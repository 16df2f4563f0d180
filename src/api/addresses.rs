//! Where clients come in, as addresses and as sockets. Owns the options of a listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 8_192;

/// Where clients come in: the addresses that are listened on, or those that others are told.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddresses {
    /// HTTP.
    pub http: SocketAddr,
    /// Native sessions.
    pub tcp: SocketAddr,
    /// Clients of Nacos.
    pub grpc: SocketAddr,
}

/// Listens on `addr`; port 0 takes a free one. Needs a tokio runtime around it.
///
/// # Errors
/// The address can't be listened on.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the life before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}
