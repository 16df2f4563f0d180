//! Gauges that are read when they are asked for, one for each value of a label. Owns the form; knows no figure.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The values of a label, with the figure of each.
type Rows = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// See the module.
pub(crate) struct Gauges {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    rows: Rows,
}

impl Gauges {
    /// A gauge of this name, with a label, whose figures `rows` gives.
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        rows: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    ) -> Self {
        Self { name, help, label, rows: Box::new(rows) }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gauges").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (value, figure) in (self.rows)() {
            let labels = [(self.label, value)];
            let gauge = ConstGauge::new(i64::try_from(figure).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
