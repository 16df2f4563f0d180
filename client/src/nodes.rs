//! Which node to connect to next. Owns the addresses: those that were configured, and those that a node named. Pure;
//! chance is an argument.
//!
//! Any node is as good as another, so one is drawn at random, and no node is tried again before all others were.

use std::collections::HashSet;

/// The port of the session protocol, where none is given.
const DEFAULT_PORT: u16 = 8850;
/// Addresses that are kept of those that a node named.
const MAX_TOLD: usize = 64;
/// Longest address that is taken from a node, in bytes.
const MAX_ADDRESS: usize = 300;

/// The known nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    configured: Vec<String>,
    told: Vec<String>,
    /// Named by a node that goes away: first choice until a session begins.
    preferred: HashSet<String>,
    /// Tried since the last session began, the node of that session included.
    tried: HashSet<String>,
    last: Option<String>,
}

impl Nodes {
    /// Knows `configured`, which must not be empty.
    pub(crate) fn new(configured: &[String]) -> Self {
        Self {
            configured: distinct(configured.iter().map(|address| with_port(address))),
            told: Vec::new(),
            preferred: HashSet::new(),
            tried: HashSet::new(),
            last: None,
        }
    }

    /// Draws the next node; `chance` is evenly distributed between 0 and 1.
    pub(crate) fn next(&mut self, chance: f64) -> String {
        if self.all_tried() {
            // A new round; the node that failed last is the last choice once more.
            self.tried = self.last.iter().filter(|_| self.known().count() > 1).cloned().collect();
        }
        let untried: Vec<&String> = self.known().filter(|address| !self.tried.contains(*address)).collect();
        let preferred: Vec<&String> =
            untried.iter().copied().filter(|address| self.preferred.contains(*address)).collect();
        let choice = if preferred.is_empty() { untried } else { preferred };
        // Below the number of choices, whatever the chance.
        let place = (chance.clamp(0.0, 1.0) * choice.len() as f64) as usize;
        let address =
            choice.get(place.min(choice.len().saturating_sub(1))).map_or_else(String::new, ToString::to_string);
        self.tried.insert(address.clone());
        self.last = Some(address.clone());
        address
    }

    /// True when no known node is left that was not tried since the last session began.
    pub(crate) fn all_tried(&self) -> bool {
        self.known().all(|address| self.tried.contains(address))
    }

    /// A session began with the node drawn last, which names these.
    pub(crate) fn welcomed(&mut self, named: &[String]) {
        self.learn(named);
        self.preferred.clear();
        self.tried = self.last.iter().cloned().collect();
    }

    /// The node goes away and names others.
    pub(crate) fn told_to_go(&mut self, named: &[String]) {
        if !named.is_empty() {
            self.learn(named);
            self.preferred = self.told.iter().cloned().collect();
        }
    }

    fn learn(&mut self, named: &[String]) {
        let plausible = named.iter().filter(|address| !address.trim().is_empty() && address.len() <= MAX_ADDRESS);
        self.told = distinct(plausible.take(MAX_TOLD).map(|address| with_port(address)));
    }

    fn known(&self) -> impl Iterator<Item = &String> {
        let others = self.told.iter().filter(|address| !self.configured.contains(address));
        self.configured.iter().chain(others)
    }
}

/// `address`, with the default port when it has none.
#[must_use]
pub fn with_port(address: &str) -> String {
    let address = address.trim();
    let has_port = match address.rsplit_once(':') {
        None => false,
        // `::1` is an address without a port, `[::1]:8850` has one.
        Some((host, port)) => port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')),
    };
    if has_port {
        address.to_owned()
    } else if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{DEFAULT_PORT}")
    } else {
        format!("{address}:{DEFAULT_PORT}")
    }
}

fn distinct(addresses: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    addresses.filter(|address| seen.insert(address.clone())).collect()
}

#[cfg(test)]
mod tests;
