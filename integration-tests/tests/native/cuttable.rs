//! A way to a node whose connections are cut at random. Owns the copying; knows nothing of what is said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a connection lives, at least and at most.
const LIFE_MILLIS: std::ops::Range<u64> = 200..4_000;

/// The way to one node. Ends with all its connections when dropped.
pub(crate) struct Cuttable {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Cuttable {
    /// A way to `node`, which need not be there all the time.
    pub(crate) async fn to(node: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, cuts) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&cuts);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, node, Arc::clone(&counter)));
            }
        });
        Ok(Self { address, cuts, task })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, node: SocketAddr, cuts: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(node).await else { return };
    let life = Duration::from_millis(fastrand::u64(LIFE_MILLIS));
    if tokio::time::timeout(life, copy_bidirectional(&mut client, &mut server)).await.is_err() {
        cuts.fetch_add(1, Ordering::Relaxed);
    }
}
