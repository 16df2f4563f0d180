//! The figures of the node for Prometheus, and the figures of HTTP itself: requests by route. Never holds a name or
//! content of a configuration.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use callboard_actors::wiring::Node;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::access::{Answer, Call};
use super::openapi::Described;
use super::problem::{ErrorCode, Problem};

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What HTTP does, by route.
#[derive(Debug, Clone)]
pub(super) struct Figures {
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
    pub(super) fn count(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabel { route, method, status: u32::from(status) }).inc();
        self.seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    /// Counts an answer that no route gave. What the client called its method is no label: anybody can make one up.
    pub(super) fn refused(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabel { route, method: "other", status: u32::from(status) }).inc();
    }

    /// Everything that the node can tell, under its public names.
    pub(super) fn exposition(&self, node: &Node) -> Registry {
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

/// `GET /metrics`.
pub(super) async fn scrape(call: Call) -> Answer {
    call.query(&[])?;
    let mut text = String::new();
    encode(&mut text, &call.state.shared.exposition).map_err(|error| {
        tracing::error!(%error, "the metrics can't be written");
        Problem::internal()
    })?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)));
    answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Ok(answer.body(text))
}

/// The description of the route.
pub(super) fn describe() -> Described {
    Described::new("node", "getMetrics", "The figures of the node for Prometheus")
        .with_content(200, "OpenMetrics text", &["application/openmetrics-text"])
        .refuses(&[ErrorCode::InvalidParameter])
}
