//! How a database server is started besides what its kind takes. Owns no default that matters; starts nothing.

use std::net::SocketAddr;

/// How to start a server, besides what its kind takes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Lets [`super::DatabaseServer::step_clock`] step its clock. That takes libfaketime, and costs every reading of
    /// the clock a little.
    pub clock_can_step: bool,
    /// Follows the server of the same kind at this address, from its first commit on, and takes no writes until it is
    /// told to. On MariaDB both need `--log-bin=log`, and a `--server-id` of their own.
    pub follows: Option<SocketAddr>,
    /// For the server's environment.
    pub environment: Vec<(String, String)>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Takes TLS, by a certificate that is made for it. Only where [`super::DatabaseServer::can_have_tls`].
    pub tls: bool,
    /// Keeps its files on a volume of their own, of so many MiB. Only where [`crate::volume::Volume::can_mount`].
    pub volume: Option<u32>,
}
