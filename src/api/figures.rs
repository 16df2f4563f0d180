//! The figures of HTTP itself, requests by route, and everything that the node can tell, under its public names. Never
//! holds a name or content of a configuration.

use std::time::Duration;

use callboard_actors::wiring::Node;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What HTTP does, by route.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    requests: Family<RequestLabel, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    route: &'static str,
    method: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
}

impl Default for Figures {
    fn default() -> Self {
        Self { requests: Family::default(), seconds: Family::new_with_constructor(seconds as fn() -> Histogram) }
    }
}

impl Figures {
    /// Counts an answer of a route. Of a stream, the time to its beginning is taken.
    pub(crate) fn count(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabel { route, method, status: u32::from(status) }).inc();
        self.seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    /// Counts an answer that no route gave. What the client called its method is no label: anybody can make one up.
    pub(crate) fn refused(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabel { route, method: "other", status: u32::from(status) }).inc();
    }

    /// Everything that the node can tell, under its public names.
    pub(crate) fn exposition(&self, node: &Node) -> Registry {
        let mut registry = Registry::default();
        node.metrics.register(&mut registry);
        registry.register_collector(Box::new(node.registry.clone()));
        registry.register("callboard_http_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "callboard_http_request",
            "Time from the head of a request to its answer",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry
    }
}
