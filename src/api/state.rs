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
use super::auth::Authenticator;
use super::draining::{Draining, Open};
use super::figures::Figures;
use super::memory::Memory;
use super::process;
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
    pub(crate) auth: Arc<Authenticator>,
    /// What requests and answers may take up.
    pub(crate) memory: Memory,
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
        (auth, memory): (Arc<Authenticator>, Memory),
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
        let mut exposition = figures.exposition(node);
        auth.register(&mut exposition);
        memory.register(&mut exposition);
        process::register(&mut exposition);
        // Without authentication what reaches a loopback address is trusted, so it has to be known who does.
        let any = auth.is_on() || !address.ip().is_loopback();
        let hosts = OwnHosts::new(any, &settings.http.allowed_hosts);
        Self { address, hosts, options, figures, exposition, draining, admission, auth, memory }
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
