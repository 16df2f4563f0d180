//! How many connections may be open at a door, over all workers and from one address. Each door has places of its own,
//! so that one that is full leaves the others. Owns the count, and the few places that are kept for those who ask how
//! the node is: they are given to everybody when all others are taken, and go from the eldest to the newest.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use callboard_protocol::share::{ClientNetwork, Full, Rule, Shares};
use futures_util::task::AtomicWaker;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::gauges::Gauges;

/// Places that are kept for those who ask how the node is.
const KEPT: usize = 512;
/// Time between two warnings that a door is full.
const WARNING: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FullLabel {
    door: &'static str,
    who: &'static str,
}

/// What there are at a door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// The name of the door.
    pub(crate) door: &'static str,
    /// Connections in all.
    pub(crate) max: usize,
    /// Connections of one address.
    pub(crate) per_address: usize,
    /// Whether some more are kept for those who ask how the node is.
    pub(crate) keeps_some: bool,
}

/// The places of a door. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Room,
    state: Mutex<Taken>,
    refused: Family<FullLabel, Counter>,
}

#[derive(Debug)]
struct Taken {
    shares: Shares,
    kept: VecDeque<Arc<Cut>>,
    /// When it was said last that the door is full.
    warned: Option<Instant>,
}

/// Ends a connection from elsewhere.
#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

/// A place of a connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    network: ClientNetwork,
    /// Of a place that is kept for those who ask how the node is.
    kept: Option<Arc<Cut>>,
}

impl Places {
    /// Places of which none is taken.
    fn new(room: Room, refused: &Family<FullLabel, Counter>) -> Self {
        let shares = Shares::new(room.max, Rule::AtMost(room.per_address));
        let state = Mutex::new(Taken { shares, kept: VecDeque::new(), warned: None });
        Self(Arc::new(Inner { room, state, refused: refused.clone() }))
    }

    /// Those of all doors; their figures are made known.
    pub(crate) fn of_doors<const N: usize>(rooms: [Room; N], registry: &mut Registry) -> [Self; N] {
        let refused = Family::default();
        let doors = rooms.map(|room| Self::new(room, &refused));
        let of = doors.clone();
        let rows = move || of.iter().map(|places| (places.0.room.door, places.open() as u64)).collect();
        let gauges = Gauges::new("callboard_connections", "Connections of clients that are open", "door", rows);
        registry.register_collector(Box::new(gauges));
        registry.register("callboard_connections_refused", "Connections for which there was no place", refused);
        doors
    }

    fn with<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self) -> usize {
        self.with(|taken| taken.shares.taken() + taken.kept.len())
    }

    /// A place for a connection from this address; `None` when there is none, and none is kept.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let network = ClientNetwork::of(address);
        let Err(full) = self.with(|taken| taken.shares.take(network, 1)) else {
            return Some(Place { places: self.clone(), network, kept: None });
        };
        self.refuse(full, address);
        if !self.0.room.keeps_some {
            return None;
        }
        let cut = Arc::new(Cut::default());
        let eldest = self.with(|taken| {
            taken.kept.push_back(Arc::clone(&cut));
            if taken.kept.len() > KEPT { taken.kept.pop_front() } else { None }
        });
        if let Some(eldest) = eldest {
            eldest.is_cut.store(true, Ordering::Release);
            eldest.waker.wake();
        }
        Some(Place { places: self.clone(), network, kept: Some(cut) })
    }

    fn refuse(&self, full: Full, address: IpAddr) {
        let Room { door, max, per_address, .. } = self.0.room;
        self.0.refused.get_or_create(&FullLabel { door, who: full.as_str() }).inc();
        let now = Instant::now();
        let is_due = |taken: &mut Taken| {
            let is_due = taken.warned.is_none_or(|warned| now.duration_since(warned) >= WARNING);
            if is_due {
                taken.warned = Some(now);
            }
            is_due
        };
        if self.with(is_due) {
            tracing::warn!(door, client.address = %address, max, per_address, "no more connections are taken: {full} have as many as they may");
        }
    }
}

impl Place {
    /// Who has it.
    pub(crate) fn network(&self) -> ClientNetwork {
        self.network
    }

    /// True when it is one of those that are kept for those who ask how the node is.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// True when a newer connection got the place. `task` is woken when one gets it.
    pub(crate) fn is_lost(&self, task: &Context<'_>) -> bool {
        self.kept.as_ref().is_some_and(|cut| {
            cut.waker.register(task.waker());
            cut.is_cut.load(Ordering::Acquire)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.with(|taken| match &self.kept {
            Some(cut) => taken.kept.retain(|kept| !Arc::ptr_eq(kept, cut)),
            None => taken.shares.give_back(self.network, 1),
        });
    }
}

#[cfg(test)]
mod tests {
    //! Places are counted, given back, and the kept ones go to the newest.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::{IpAddr, Ipv4Addr};
    use std::task::{Context, Waker};

    use prometheus_client::metrics::family::Family;

    use super::{KEPT, Places, Room};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn places(keeps_some: bool) -> Places {
        Places::new(Room { door: "http", max: 2, per_address: 1, keeps_some }, &Family::default())
    }

    #[test]
    fn an_address_has_so_many_and_they_are_given_back() {
        let places = places(false);
        let first = places.take(HERE);
        assert!(first.is_some() && places.take(HERE).is_none());
        let other = places.take(IpAddr::from([10, 0, 0, 1]));
        assert!(other.is_some() && places.take(IpAddr::from([10, 0, 0, 2])).is_none());
        assert_eq!(places.open(), 2);
        drop(first);
        assert!(places.take(HERE).is_some());
    }

    #[test]
    fn what_is_kept_goes_to_the_newest() {
        let (places, task) = (places(true), Context::from_waker(Waker::noop()));
        let first = places.take(HERE).unwrap();
        assert!(!first.is_kept() && !first.is_lost(&task));
        let kept: Vec<_> = (0..=KEPT).filter_map(|_| places.take(HERE)).collect();
        assert!(kept.iter().all(super::Place::is_kept));
        let lost = kept.iter().filter(|place| place.is_lost(&task)).count();
        assert!(lost == 1 && kept[0].is_lost(&task));
        drop(kept);
        assert_eq!(places.open(), 1);
    }
}
