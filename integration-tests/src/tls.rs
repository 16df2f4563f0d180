//! TLS as a client of a node has it: certificates made by `callboard cert`, and connections over which anything can be
//! said. Owns the directory of the certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use callboard_client::Tls;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Client;
use crate::node::{Node, NodeOptions, run_to_end};

/// The name that is in every certificate of a node.
pub const HOST: &str = "localhost";

/// An authority, and the certificates that it has signed.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// Makes one, with a certificate for a node on this machine.
    ///
    /// # Errors
    /// The program fails.
    pub async fn make() -> anyhow::Result<Self> {
        let made = Self { directory: tempfile::tempdir()? };
        made.sign(&["--name", HOST, "--name", "127.0.0.1"]).await?;
        Ok(made)
    }

    /// Makes what the arguments say.
    ///
    /// # Errors
    /// The program fails.
    pub async fn sign(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let out = self.directory.path().to_str().context("a directory has a name")?;
        let ended = run_to_end(&[&["cert", "--out", out], arguments].concat(), &[]).await?;
        anyhow::ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of a file, as a flag takes it.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.file(name).to_string_lossy().into_owned()
    }

    /// A node that has the certificate of [`Authority::make`].
    #[must_use]
    pub fn node(&self) -> NodeOptions {
        self.on(NodeOptions::new())
    }

    /// The same for a node with these options.
    #[must_use]
    pub fn on(&self, options: NodeOptions) -> NodeOptions {
        let (certificate, key) = (self.path("localhost.pem"), self.path("localhost-key.pem"));
        options.flag("tls-certificate", &certificate).flag("tls-key", &key)
    }

    /// A client that trusts it, and shows nothing or the certificate that was signed for `user`.
    ///
    /// # Errors
    /// There is no such certificate.
    pub fn trusted(&self, user: Option<&str>) -> anyhow::Result<Tls> {
        let read = |name: &str| fs::read(self.file(name)).with_context(|| format!("read {name}"));
        let authority = read("ca.pem")?;
        let identity = match user {
            Some(user) => Some((read(&format!("{user}.pem"))?, read(&format!("{user}-key.pem"))?)),
            None => None,
        };
        let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
        Ok(Tls::new(Some(&authority), identity)?)
    }

    /// The first certificate of a file.
    ///
    /// # Errors
    /// There is none.
    pub fn certificate(&self, name: &str) -> anyhow::Result<CertificateDer<'static>> {
        let path: &Path = &self.file(name);
        CertificateDer::from_pem_file(path).with_context(|| format!("{name} holds a certificate"))
    }
}

/// Connects by TLS, with these protocols offered.
///
/// # Errors
/// The handshake fails.
pub async fn connect(address: SocketAddr, tls: &Tls, protocols: &[&[u8]]) -> anyhow::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    over(socket, tls, protocols).await
}

/// Goes on by TLS over a connection that is there, with these protocols offered.
///
/// # Errors
/// The handshake fails.
pub async fn over(socket: TcpStream, tls: &Tls, protocols: &[&[u8]]) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::clone(&tls.config());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST)?, socket).await?)
}

/// A client of the node's REST interface over TLS.
///
/// # Errors
/// It can't be made.
pub fn client(node: &Node, tls: &Tls) -> anyhow::Result<Client> {
    let http = reqwest::Client::builder().use_preconfigured_tls((*tls.config()).clone());
    let http = http.resolve(HOST, node.address()).build()?;
    Ok(Client::by(format!("https://{HOST}:{}", node.address().port()), http))
}
