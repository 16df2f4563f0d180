//! The actor metrics for Prometheus.
//!
//! It owns the names and help texts of the `callboard_actor_*` families. The label `actor` is
//! the kind: instances come and go, and the series of a kind never ends or goes down.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
};

use super::{
    Registry,
    meter::{BUCKETS, Spread, bound_us},
    registry::KindTotal,
};

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

impl Collector for Registry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.totals();
        let encoder = &mut encoder;
        messages(encoder, &totals)?;
        gauge(encoder, "callboard_actor_mailbox_depth", "Messages waiting for actors of a kind.", &totals, |total| {
            total.mailbox_depth
        })?;
        histogram(
            encoder,
            "callboard_actor_queue_seconds",
            "Time between sending a message and handling it.",
            &totals,
            |total| sum(total.tally.messages.values().map(|tally| &tally.queue)),
        )?;
        histogram(
            encoder,
            "callboard_actor_handle_seconds",
            "Time in the synchronous part of message handlers.",
            &totals,
            |total| sum(total.tally.messages.values().map(|tally| &tally.handle)),
        )?;
        counter(encoder, "callboard_actor_restarts", "Actors rebuilt after a panic.", &totals, |total| {
            total.tally.restarts
        })?;
        counter(encoder, "callboard_actor_panics", "Panics caught in actors.", &totals, |total| total.tally.panics)?;
        gauge(encoder, "callboard_actor_live", "Actors running.", &totals, |total| total.live)
    }
}

fn messages(encoder: &mut DescriptorEncoder<'_>, totals: &[KindTotal]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "callboard_actor_messages",
        "Messages handled to their end.",
        None,
        MetricType::Counter,
    )?;
    for total in totals {
        for (message, tally) in &total.tally.messages {
            family
                .encode_family(&[("actor", total.kind), ("message", *message)])?
                .encode_counter(&tally.handle.count(), NO_EXEMPLAR)?;
        }
    }
    Ok(())
}

/// `name` without the `_total` that the format adds.
fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    totals: &[KindTotal],
    value: impl Fn(&KindTotal) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    each_kind(&mut family, totals, |metric, total| metric.encode_counter(&value(total), NO_EXEMPLAR))
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    totals: &[KindTotal],
    value: impl Fn(&KindTotal) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    each_kind(&mut family, totals, |metric, total| metric.encode_gauge(&value(total)))
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    totals: &[KindTotal],
    value: impl Fn(&KindTotal) -> Spread,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    each_kind(&mut family, totals, |metric, total| {
        let spread = value(total);
        let buckets: Vec<(f64, u64)> = (0..BUCKETS).map(bound_seconds).zip(spread.buckets).collect();
        metric.encode_histogram::<NoLabelSet>(spread.sum_ns as f64 / 1e9, spread.count(), &buckets, None)
    })
}

fn each_kind(
    family: &mut MetricEncoder<'_>,
    totals: &[KindTotal],
    encode: impl Fn(&mut MetricEncoder<'_>, &KindTotal) -> fmt::Result,
) -> fmt::Result {
    for total in totals {
        encode(&mut family.encode_family(&[("actor", total.kind)])?, total)?;
    }
    Ok(())
}

fn bound_seconds(bucket: usize) -> f64 {
    if bucket == BUCKETS - 1 { f64::INFINITY } else { bound_us(bucket) as f64 / 1e6 }
}

fn sum<'a>(spreads: impl Iterator<Item = &'a Spread>) -> Spread {
    let mut total = Spread::default();
    spreads.for_each(|spread| total.absorb(spread));
    total
}
