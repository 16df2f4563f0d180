//! What all workers share, and what each worker thread has. Owns the limits that the settings make; what a door needs
//! besides is its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callboard_actors::runtime::Spec;
use callboard_actors::wiring::{Node, Worker};
use callboard_protocol::wire::hosts::OwnHosts;
use prometheus_client::registry::Registry;

use super::admission::Admission;
use super::draining::{Draining, Open};
use super::figures::Figures;
use crate::settings::Settings;

/// What the settings say about requests.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) body_timeout: Duration,
    pub(crate) publish_wait: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) max_keys: usize,
    pub(crate) history: Duration,
    pub(crate) serve_stale: bool,
    /// How long a node that drains waits for publishes under way.
    pub(crate) grace: Duration,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The address on which requests come in.
    pub(crate) address: SocketAddr,
    /// Under which names it is asked.
    pub(crate) hosts: OwnHosts,
    pub(crate) options: Options,
    pub(crate) figures: Figures,
    pub(crate) exposition: Registry,
    pub(crate) draining: Draining,
    pub(crate) admission: Arc<Admission>,
}

/// What each worker thread has.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) worker: Worker,
    index: usize,
    /// The name of the thread in reports.
    arbiter: String,
    pub(crate) open: Open,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    /// What the workers of a node share that is asked at `address`.
    pub(crate) fn new(
        node: &Node,
        settings: &Settings,
        address: SocketAddr,
        (admission, draining): (Arc<Admission>, Draining),
    ) -> Self {
        let options = Options {
            body_timeout: settings.http.body_timeout,
            publish_wait: settings.publish.patience(),
            heartbeat: settings.watch.heartbeat,
            max_keys: settings.watch.max_keys,
            history: settings.history.retention,
            serve_stale: settings.cache.serve_stale,
            grace: settings.shutdown.grace,
        };
        let figures = Figures::default();
        let exposition = figures.exposition(node);
        // There is no authentication: what reaches a loopback address is trusted, so it has to be known who does.
        let hosts = OwnHosts::new(!address.ip().is_loopback(), &settings.http.allowed_hosts);
        Self { address, hosts, options, figures, exposition, draining, admission }
    }
}

impl State {
    /// Starts the actors of worker `index` on the present thread.
    pub(crate) fn start(node: &Node, index: usize, shared: &Arc<Shared>) -> Self {
        let (worker, open) = (Worker::start(node, index), Open::default());
        shared.draining.include(&worker, &open);
        Self { worker, index, arbiter: format!("worker-{index}"), open, shared: Arc::clone(shared) }
    }

    /// How the actors of a kind of which there are many are started here.
    pub(crate) fn spec_of_many(&self, kind: &str) -> Spec {
        let name = format!("{kind}-{}", self.index);
        Spec::new(&self.worker.node.registry, name).aggregate().arbiter(&self.arbiter)
    }
}
