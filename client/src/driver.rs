//! The background task of a client: one session after the other, and the snapshots. Owns the order of things; it ends
//! when the last user of the client is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::backoff::Pauses;
use crate::config::Config;
use crate::error::{Error, is_denial};
use crate::node::{Connection, Node};
use crate::nodes::Nodes;
use crate::registry::Registry;
use crate::request::Request;
use crate::session::{self, Ended, OpenError};
use crate::shared::Shared;
use crate::snapshot::files;

/// Changes are gathered for so long before they are written to the disk.
const GATHER: Duration = Duration::from_millis(300);

/// Runs until `stop` is dropped or told. States that changed are on the disk then.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut saver = Saver { shared: Arc::clone(&shared), writing: None };
    saver.restore().await;
    tokio::select! {
        () = connect_on_and_on(&shared, &mut requests, &mut stop) => {}
        () = saver.save_on_and_on() => {}
    }
    saver.save().await;
    shared.change(|registry| registry.close(&Error::Closed));
    debug!("the client ended");
}

async fn connect_on_and_on(
    shared: &Arc<Shared>,
    requests: &mut mpsc::UnboundedReceiver<Request>,
    stop: &mut oneshot::Receiver<()>,
) {
    let mut nodes = Nodes::new(&shared.options.nodes);
    let mut pauses = Pauses::new(shared.options.back_off);
    // Ends what is left of earlier sessions when it is dropped.
    let mut rests = JoinSet::new();
    let started = Instant::now();
    loop {
        let address = nodes.next(rand::random());
        let opened = tokio::select! {
            _ = &mut *stop => return,
            opened = session::open(shared, &address) => opened,
        };
        match opened {
            Ok((session, welcome)) => {
                nodes.welcomed(&welcome.nodes);
                let began = Instant::now();
                shared.connected(Node::from_wire(&address, &welcome));
                let ended = session.run(requests, stop).await;
                pauses.went_well(began.elapsed());
                match ended {
                    Ended::Stopped => return,
                    Ended::Away { nodes: named, rest } => {
                        nodes.told_to_go(&named);
                        rests.spawn(rest.finish());
                        shared.disconnected("the node goes away".to_owned());
                    }
                    Ended::Lost(reason) => {
                        info!(node.address = %address, %reason, "a session ended");
                        shared.disconnected(reason);
                    }
                }
            }
            // Another node, or another try, would say the same of the same credentials.
            Err(OpenError::Refused { code, message }) if is_denial(&code) => {
                info!(node.address = %address, %code, "the credentials are not taken");
                return shared.denied(code, message);
            }
            Err(error) => {
                debug!(node.address = %address, %error, "no session began");
                let is_first_round = *shared.connection.borrow() == Connection::Connecting;
                let is_over = nodes.all_tried() || started.elapsed() >= shared.options.connect_timeout;
                if !is_first_round || is_over {
                    shared.disconnected(format!("{address}: {error}"));
                }
            }
        }
        while rests.try_join_next().is_some() {}
        tokio::select! {
            _ = &mut *stop => return,
            () = sleep(pauses.next(rand::random())) => {}
        }
    }
}

/// Keeps the snapshots. Without a directory it keeps none.
struct Saver {
    shared: Arc<Shared>,
    /// Files that are being written: the next ones wait for them, so that no older state comes after a newer one.
    writing: Option<JoinHandle<()>>,
}

impl Saver {
    /// Reads the snapshots, before anything else begins.
    async fn restore(&self) {
        let Some(directory) = self.shared.options.snapshot.clone() else { return };
        match spawn_blocking(move || files::load(&directory)).await {
            Ok(states) => self.shared.change(|registry| registry.restore(states)),
            Err(error) => warn!(%error, "snapshots were not read"),
        }
    }

    /// Writes what changes. Never ends.
    async fn save_on_and_on(&mut self) {
        loop {
            self.shared.dirty.notified().await;
            sleep(GATHER).await;
            self.save().await;
        }
    }

    /// Writes what changed since the last time. What was begun is brought to its end even when this is given up.
    async fn save(&mut self) {
        self.written().await;
        let states: Vec<Config> = self.shared.look(Registry::take_dirty);
        if let Some(directory) = self.shared.options.snapshot.clone().filter(|_| !states.is_empty()) {
            self.writing = Some(spawn_blocking(move || files::store(&directory, &states)));
        }
        self.written().await;
    }

    async fn written(&mut self) {
        if let Some(writing) = &mut self.writing {
            if let Err(error) = writing.await {
                warn!(%error, "snapshots were not written");
            }
            self.writing = None;
        }
    }
}
