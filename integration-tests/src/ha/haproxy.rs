//! HAProxy before the servers of Patroni's: it asks each Patroni which one is the primary, leads there, and cuts what
//! is open to one that lost its role. Owns the process and its settings.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::service::Service;
use crate::database_server::free_port;
use crate::database_server::programs::User;
use crate::poll;

/// A running proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    _service: Service,
}

impl Proxy {
    /// Starts one before servers that are named by their ports, each with that of its Patroni.
    pub(super) async fn start(user: Option<User>, home: &Path, servers: &[(u16, u16)]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut settings = format!(
            "defaults\n  mode tcp\n  timeout connect 3s\n  timeout client 30m\n  timeout server 30m\n  timeout check 2s\n\
             listen primary\n  bind 127.0.0.1:{port}\n  option httpchk OPTIONS /primary\n  \
             http-check expect status 200\n  \
             default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions\n"
        );
        for ((server, patroni), number) in servers.iter().zip(1..) {
            settings.push_str(&format!("  server p{number} 127.0.0.1:{server} check port {patroni}\n"));
        }
        let file = home.join("haproxy.cfg");
        fs::write(&file, settings)?;
        let arguments = ["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
        let mut service = Service::start("haproxy", "haproxy", user, home, &arguments)?;
        poll::until("HAProxy takes connections", poll::SOON, async || {
            service.still_runs()?;
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(()))
        })
        .await?;
        Ok(Self { port, _service: service })
    }

    /// The port that leads to the primary.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address that leads to the primary.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}
