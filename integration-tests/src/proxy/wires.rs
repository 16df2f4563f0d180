//! Which ways between processes are open. Owns the state of every wire; moves no bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One direction of one way between two processes. Nodes are numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Datagrams from one node to another.
    Gossip {
        /// Who sends.
        from: u8,
        /// Who receives.
        to: u8,
    },
    /// Bytes of peer links from one node to another, whoever of both opened the connection.
    Peer {
        /// Who sends.
        from: u8,
        /// Who receives.
        to: u8,
    },
    /// Bytes from a node to the database.
    ToDatabase(u8),
    /// Bytes from the database to a node.
    FromDatabase(u8),
}

/// The state of a wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    cut: bool,
    /// How often its connections were reset.
    resets: u64,
}

/// The states of all wires. Copies share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Wires(Arc<Mutex<HashMap<Wire, watch::Sender<State>>>>);

impl Wires {
    fn with<T>(&self, wire: Wire, act: impl FnOnce(&watch::Sender<State>) -> T) -> T {
        // Nothing panics while it holds this, and a state is whole at any time.
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(wires.entry(wire).or_insert_with(|| watch::Sender::new(State::default())))
    }

    pub(super) fn set_cut(&self, wire: Wire, cut: bool) {
        self.with(wire, |state| state.send_modify(|state| state.cut = cut));
    }

    pub(super) fn reset(&self, wire: Wire) {
        self.with(wire, |state| state.send_modify(|state| state.resets += 1));
    }

    pub(super) fn heal_all(&self) {
        let wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wires.values().for_each(|state| state.send_modify(|state| state.cut = false));
    }

    /// Whether bytes pass now.
    pub(super) fn is_open(&self, wire: Wire) -> bool {
        self.with(wire, |state| !state.borrow().cut)
    }

    /// What a connection keeps to know of cuts and resets from now on.
    pub(super) fn tap(&self, wire: Wire) -> Tap {
        let states = self.with(wire, watch::Sender::subscribe);
        let resets = states.borrow().resets;
        Tap { states, resets }
    }
}

/// A connection's view of its wire.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    states: watch::Receiver<State>,
    resets: u64,
}

impl Tap {
    /// Waits until bytes pass. The wires are gone when everything ends: then they do.
    pub(super) async fn open(&mut self) {
        // The error says that the wires are gone.
        drop(self.states.wait_for(|state| !state.cut).await);
    }

    /// Waits until the connection is to be reset.
    pub(super) async fn reset(&mut self) {
        let since = self.resets;
        if self.states.wait_for(|state| state.resets > since).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
