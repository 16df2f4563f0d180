//! The one who publishes while others listen: a thread with a connection of its own, so that the time of its answer
//! does not include the time that the generator takes to read thousands of others.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::connection::Connection;
use super::load;

/// A publish that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    /// Just before the first byte was sent.
    pub(super) began: Instant,
    /// When the answer was there.
    pub(super) answered: Instant,
}

struct Order {
    request: Vec<u8>,
    done: oneshot::Sender<anyhow::Result<Published>>,
}

/// A handle on the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Publisher {
    orders: mpsc::Sender<Order>,
}

impl Publisher {
    /// Starts the thread. Every publish has a new connection, on which `first` is asked before: a connection kept since
    /// the last publish may be closed, and one just opened may not be accepted yet.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn start(address: SocketAddr, first: Vec<u8>) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let runtime = load::runtime()?;
        let work = move || {
            for Order { request, done } in inbox {
                if done.send(runtime.block_on(publish(address, &first, &request))).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("publisher".to_owned()).spawn(work).context("cannot start a thread")?;
        Ok(Self { orders })
    }

    /// Sends a request that publishes, and waits until it is acknowledged.
    ///
    /// # Errors
    /// It is refused or not answered.
    pub(super) async fn publish(&self, request: Vec<u8>) -> anyhow::Result<Published> {
        let (done, published) = oneshot::channel();
        self.orders.send(Order { request, done }).context("the publisher has ended")?;
        published.await.context("the publisher has ended")?
    }
}

async fn publish(address: SocketAddr, first: &[u8], request: &[u8]) -> anyhow::Result<Published> {
    let mut connection = Connection::open(address).await.with_context(|| format!("cannot connect to {address}"))?;
    connection.exchange(first).await.with_context(|| format!("{address} does not answer"))?;
    let began = Instant::now();
    let reply = connection.exchange(request).await.context("the publish was not answered")?;
    let answered = Instant::now();
    anyhow::ensure!(reply.is_true(), "the publish was refused: {}", reply.describe());
    Ok(Published { began, answered })
}
