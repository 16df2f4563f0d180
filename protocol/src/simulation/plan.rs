//! What a run is made of: how large the cluster is, how fast its clocks go, and which faults there are. Each seed
//! switches them on or off, so that no fault hides another.

use super::random::Rng;

/// In microseconds.
pub(super) const MILLISECOND: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;

/// The make-up of one run. Shares are in thousandths; intervals are means in microseconds, zero for never.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) keys: usize,
    pub(super) publishers: usize,
    pub(super) subscribers: usize,
    /// Millionths of the true speed, for each node.
    pub(super) rates: Vec<u64>,
    /// A node that takes no row.
    pub(super) direct: Option<usize>,
    /// When the faults end.
    pub(super) chaos: u64,
    pub(super) think: u64,
    pub(super) read_every: u64,
    pub(super) evicted: u64,
    pub(super) bursts: bool,
    /// The most changes that any page of the feed holds.
    pub(super) most_of_a_page: usize,
    pub(super) faults: Faults,
}

/// What goes wrong, and how often.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
    /// Mail between the actors of one process that lies a while.
    pub(super) slow_mail: u64,
    /// Steps at the database that take long.
    pub(super) slow_steps: u64,
    /// Loads that take long.
    pub(super) slow_loads: u64,
    /// Connections that break right after a commit was sent.
    pub(super) broken_commits: u64,
    /// Other connections that break.
    pub(super) broken_steps: u64,
    /// Something happens to a node at one of its interesting moments.
    pub(super) moments: u64,
    /// Renewals that meet a fence.
    pub(super) races: u64,
    /// Actors that are lost to a panic.
    pub(super) rebuilds: u64,
    /// Nodes that reach the database slowly, or as good as never.
    pub(super) slow_links: u64,
    pub(super) cuts: u64,
    pub(super) pauses: u64,
    pub(super) crashes: u64,
    pub(super) leaves: u64,
    pub(super) outages: u64,
    /// The feed forgets what is old.
    pub(super) prunes: u64,
    pub(super) killed_transactions: u64,
    /// Restarts that can prove the death of the process before.
    pub(super) proofs: u64,
    pub(super) moves: u64,
}

impl Plan {
    pub(super) fn new(chance: &mut Rng) -> Self {
        let nodes = 2 + chance.index(3);
        let rate = |chance: &mut Rng| match chance.below(4) {
            0 => 990_000,
            1 => 1_010_000,
            2 => 1_000_000,
            _ => chance.between(990_000, 1_010_000),
        };
        Self {
            nodes,
            keys: 1 + chance.index(3),
            publishers: 1 + chance.index(6),
            subscribers: chance.index(4),
            rates: (0..nodes).map(|_| rate(chance)).collect(),
            direct: chance.one_in(8).then(|| chance.index(nodes)),
            chaos: chance.between(3 * SECOND, 20 * SECOND),
            think: chance.spread(5 * MILLISECOND, 2 * SECOND),
            read_every: chance.spread(20 * MILLISECOND, 500 * MILLISECOND),
            evicted: if chance.one_in(2) { chance.between(20, 400) } else { 0 },
            bursts: chance.one_in(2),
            most_of_a_page: 1 + chance.index(8),
            faults: Faults::new(chance),
        }
    }
}

impl Faults {
    fn new(chance: &mut Rng) -> Self {
        let share = |chance: &mut Rng, high| if chance.one_in(2) { chance.spread(5, high) } else { 0 };
        let every = |chance: &mut Rng, one_in: u64| {
            if chance.one_in(one_in) { chance.spread(SECOND, 12 * SECOND) } else { 0 }
        };
        Self {
            lost: share(chance, 300),
            doubled: share(chance, 300),
            late: share(chance, 300),
            slow_mail: share(chance, 200),
            slow_steps: share(chance, 100),
            slow_loads: share(chance, 600),
            broken_commits: share(chance, 300),
            broken_steps: share(chance, 40),
            moments: share(chance, 120),
            races: if chance.one_in(2) { chance.between(200, 900) } else { 0 },
            rebuilds: every(chance, 6),
            slow_links: every(chance, 4),
            cuts: every(chance, 3),
            pauses: every(chance, 3),
            crashes: every(chance, 3),
            leaves: every(chance, 6),
            outages: every(chance, 5),
            prunes: every(chance, 3) / 4,
            killed_transactions: every(chance, 4),
            proofs: if chance.one_in(2) { 1_000 } else { 300 },
            moves: every(chance, 2),
        }
    }
}

/// How long something that is wrong stays so: shorter and longer than leases and time-outs.
pub(super) fn fault_lasts(chance: &mut Rng) -> u64 {
    const LASTS: [u64; 7] = [50, 600, 1_500, 3_300, 6_100, 7_000, 14_000];
    let base = LASTS[chance.index(LASTS.len())] * MILLISECOND;
    base + chance.below(base / 4)
}
