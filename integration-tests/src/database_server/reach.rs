//! How clients reach a server of ours: the URLs, and the certificate that they may look at. Owns no socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::engine::CERTIFIER;
use super::{DatabaseServer, Engine, USER, programs};

/// How a client reaches a server of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Over TCP with TLS, which the server has to have.
    Tls,
    /// Over TCP in clear text.
    Tcp,
    /// Over the Unix socket.
    Socket,
}

impl Engine {
    /// The URL of a database of a server of ours that is reached at `address`.
    #[must_use]
    pub fn url(self, address: SocketAddr, database: &str) -> String {
        match self {
            Self::Postgres => format!("postgres://{USER}@{address}/{database}"),
            Self::MariaDb => format!("mysql://{USER}:{USER}@{address}/{database}"),
        }
    }
}

impl DatabaseServer {
    /// Whether [`super::Options::tls`] can be had here.
    #[must_use]
    pub fn can_have_tls() -> bool {
        programs::find(CERTIFIER).is_some()
    }

    /// The URL of a database over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.address(), database)
    }

    /// The URL of a database over TCP by way of something that forwards to [`DatabaseServer::address`].
    #[must_use]
    pub fn url_through(&self, address: SocketAddr, database: &str) -> String {
        self.engine.url(address, database)
    }

    /// The certificate of [`super::Options::tls`]: it vouches for itself, under the names `localhost` and 127.0.0.1.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.place().certificate()
    }

    /// The URL of a database by a way.
    #[must_use]
    pub fn url_by(&self, reach: Reach, database: &str) -> String {
        let mode = match (reach, self.engine) {
            (Reach::Socket, _) => return self.socket_url(database),
            (Reach::Tls, Engine::Postgres) => "require",
            (Reach::Tls, Engine::MariaDb) => "required",
            (Reach::Tcp, Engine::Postgres) => "disable",
            (Reach::Tcp, Engine::MariaDb) => "disabled",
        };
        format!("{}?sslmode={mode}", self.url(database))
    }

    /// The URL of a database over the Unix socket.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let (home, port) = (self.home.path().display(), self.port);
        match self.engine {
            Engine::Postgres => format!("postgres://{USER}@localhost:{port}/{database}?host={home}"),
            Engine::MariaDb => format!("mysql://{USER}:{USER}@localhost/{database}?socket={home}/server.sock"),
        }
    }
}
