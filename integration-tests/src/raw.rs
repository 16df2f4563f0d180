//! HTTP by hand over TCP, for what no decent client sends: bodies cut short, bodies that dawdle, broken heads.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::poll;

/// A connection that sends exactly what it is told.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(TcpStream::connect(address).await?))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Says that nothing more will be sent; answers can still be read.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn finish_sending(&mut self) -> anyhow::Result<()> {
        Ok(self.0.shutdown().await?)
    }

    /// Reads everything up to the end of the connection.
    ///
    /// # Errors
    /// It does not end soon.
    pub async fn rest(&mut self) -> anyhow::Result<String> {
        let mut rest = Vec::new();
        tokio::time::timeout(poll::SOON, self.0.read_to_end(&mut rest)).await.context("no end came")??;
        Ok(String::from_utf8_lossy(&rest).into_owned())
    }

    /// Reads the status code of the answer.
    ///
    /// # Errors
    /// None came soon.
    pub async fn status(&mut self) -> anyhow::Result<u16> {
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        while !head.windows(2).any(|pair| pair == b"\r\n") {
            let read = tokio::time::timeout(poll::SOON, self.0.read(&mut piece)).await;
            let count = read.context("no answer came")??;
            anyhow::ensure!(count > 0, "the connection was closed without an answer");
            head.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        status.with_context(|| format!("not an HTTP answer: {head}"))
    }
}
