//! What the process takes of the machine's memory, as Linux tells it. Elsewhere nothing is told. Changes nothing.

use prometheus_client::registry::Registry;

use super::gauges::Gauges;

/// Makes the figures known.
pub(crate) fn register(registry: &mut Registry) {
    let gauges = Gauges::new("callboard_process_memory_bytes", "Memory of the process", "kind", memory);
    registry.register_collector(Box::new(gauges));
}

/// Kind and bytes of memory.
fn memory() -> Vec<(&'static str, u64)> {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').map_while(|number| number.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    ["virtual", "resident"].into_iter().filter_map(|kind| Some((kind, pages.next()?.saturating_mul(page)))).collect()
}

#[cfg(test)]
mod tests {
    //! A process has memory.

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_resident_is_part_of_all_of_it() {
        let told = super::memory();
        assert!(matches!(told[..], [("virtual", all), ("resident", resident)] if all > resident && resident > 1 << 16));
    }
}
