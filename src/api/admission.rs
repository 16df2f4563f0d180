//! How many sessions may be open, over every interface that has sessions, each of which has places of its own. Owns the
//! count and the numbers that sessions have; a session gives its place back by dropping it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::session::client::ClientKind;
use callboard_protocol::share::{ClientNetwork, Rule, Shares};

/// The interfaces that have sessions.
const KINDS: [ClientKind; 3] = [ClientKind::Tcp, ClientKind::WebSocket, ClientKind::Grpc];

/// The places of all sessions of a node.
#[derive(Debug)]
pub(crate) struct Admission {
    next: AtomicU64,
    open: Arc<Mutex<[Shares; KINDS.len()]>>,
}

/// A place among the sessions; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Mutex<[Shares; KINDS.len()]>>,
    kind: usize,
    network: ClientNetwork,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(shares) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.kind) {
            shares.give_back(self.network, 1);
        }
    }
}

impl Admission {
    /// Room for `max` sessions of each kind, `per_address` of them from one address, none of which is open.
    pub(crate) fn new(max: usize, per_address: usize) -> Self {
        let open = KINDS.map(|_| Shares::new(max, Rule::AtMost(per_address)));
        Self { next: AtomicU64::new(1), open: Arc::new(Mutex::new(open)) }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Shares::taken).sum()
    }

    /// A place for one more of this kind from this address; `None` when as many are open as may be.
    pub(crate) fn admit(&self, kind: ClientKind, address: IpAddr) -> Option<Place> {
        let (kind, network) = (KINDS.iter().position(|known| *known == kind)?, ClientNetwork::of(address));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(kind)?.take(network, 1).ok()?;
        Some(Place { open: Arc::clone(&self.open), kind, network })
    }

    /// A number for one more session.
    pub(crate) fn number(&self) -> SessionNumber {
        SessionNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    //! Places are counted, and given back.

    use std::net::{IpAddr, Ipv4Addr};

    use callboard_protocol::session::client::ClientKind;

    use super::Admission;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn there_are_so_many_places_of_each_kind_and_they_are_given_back() {
        let admission = Admission::new(2, 1);
        let first = admission.admit(ClientKind::Tcp, HERE);
        assert!(first.is_some() && admission.admit(ClientKind::Tcp, HERE).is_none());
        let other = admission.admit(ClientKind::Tcp, IpAddr::from([10, 0, 0, 1]));
        assert!(other.is_some() && admission.admit(ClientKind::Tcp, IpAddr::from([10, 0, 0, 2])).is_none());
        let third = admission.admit(ClientKind::Grpc, HERE);
        assert!(third.is_some() && admission.open() == 3);
        drop((first, other));
        assert!(admission.open() == 1 && admission.admit(ClientKind::Tcp, HERE).is_some());
        assert_ne!(admission.number(), admission.number());
    }
}
