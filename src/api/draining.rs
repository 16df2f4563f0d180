//! The stop of a node, as its doors see it: from the signal on it says that it is not ready, takes no request to hold,
//! and has every held one answered; when it leaves the cluster it takes no publish any more. Owns the list of those who
//! hold and the count of what is under way, and has gossip told and the membership given back; closes no connection.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::Addr;
use callboard_actors::coordinator::{self, Coordinator};
use callboard_actors::gossip::{self, SetStatus};
use callboard_actors::lease_keeper;
use callboard_actors::long_poll::{self, LongPoll};
use callboard_actors::runtime::{AskError, ask};
use callboard_actors::wiring::{Node, Worker};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::membership_view::Status;
use futures_util::future::{join, join_all};
use tokio::sync::watch;

use super::admission::Admission;
use super::cluster::elsewhere;
use crate::api::error::ApiError;

/// How long a worker's actors may take to tell those whom they hold.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long the database may take to be given the membership back.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// A handle on the stop of a node; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Draining {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    stopping: watch::Sender<bool>,
    has_left: AtomicBool,
    workers: Mutex<Vec<Listed>>,
    admission: Arc<Admission>,
}

#[derive(Debug)]
struct Listed {
    coordinator: Addr<Coordinator>,
    long_poll: Addr<LongPoll>,
    open: Arc<AtomicUsize>,
}

/// Counts the requests under way on one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open(Arc<AtomicUsize>);

impl Draining {
    /// The stop of a node whose sessions have these places.
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        let state = State {
            stopping: watch::Sender::new(false),
            has_left: AtomicBool::new(false),
            workers: Mutex::default(),
            admission,
        };
        Self { state: Arc::new(state) }
    }

    /// Takes note of a worker: who tells its held requests, and how many requests are under way.
    pub(crate) fn include(&self, worker: &Worker, open: &Open) {
        let (coordinator, long_poll) = (worker.coordinator.clone(), worker.long_poll.clone());
        let mut workers = self.state.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| worker.coordinator.connected());
        workers.push(Listed { coordinator, long_poll, open: Arc::clone(&open.0) });
    }

    /// How many native sessions are open.
    #[must_use]
    pub(crate) fn sessions(&self) -> usize {
        self.state.admission.open()
    }

    /// Refuses what would be held when the node is stopping.
    pub(crate) fn refuse_new(&self) -> Result<(), ApiError> {
        if *self.state.stopping.borrow() {
            return Err(ApiError::new(ErrorCode::ShuttingDown, "this node is stopping; ask another one"));
        }
        Ok(())
    }

    /// Refuses a publish when the node has left the cluster: the others would be told of it and could not acknowledge.
    pub(crate) fn refuse_publish(&self) -> Result<(), ApiError> {
        if self.state.has_left.load(Ordering::Acquire) {
            let detail = "this node has left the cluster; nothing was written, ask another one";
            return Err(ApiError::new(ErrorCode::ShuttingDown, detail));
        }
        Ok(())
    }

    /// Tells when the stop begins.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.state.stopping.subscribe()
    }

    /// Begins the stop: from now on `/readyz` answers 503 and nothing more is held, the other nodes are told, every
    /// held request is answered and every session sent to another node. Returns how many there were, when all of them
    /// have been told.
    pub(crate) async fn drain(&self, node: &Node) -> usize {
        self.state.stopping.send_replace(true);
        say_leaving(node).await;
        let elsewhere: Arc<[String]> = elsewhere(node).await.into();
        let holders: Vec<_> = {
            let workers = self.state.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.iter().map(|worker| (worker.coordinator.clone(), worker.long_poll.clone())).collect()
        };
        let told = join_all(holders.iter().map(|(coordinator, long_poll)| {
            join(
                ask(coordinator, coordinator::Drain(Arc::clone(&elsewhere)), DEADLINE),
                ask(long_poll, long_poll::Drain, DEADLINE),
            )
        }));
        told.await.into_iter().map(|(sessions, polls)| counted(sessions) + counted(polls)).sum()
    }

    /// Gives the membership back, so that no publish waits for this node, and tells the other nodes that it is gone.
    /// Publishes are refused from now on, until the process ends.
    pub(crate) async fn leave(&self, node: &Node) {
        // First: a publish that came in while the row goes could not be finished either.
        self.state.has_left.store(true, Ordering::Release);
        if let Err(error) = ask(&node.lease_keeper, lease_keeper::ReleaseMembership, LEAVE_DEADLINE).await {
            tracing::warn!(%error, "the membership could not be given back; the others fence it in time");
        }
        if let Some(gossip) = &node.gossip
            && let Err(error) = ask(gossip, gossip::LeaveCluster, DEADLINE).await
        {
            tracing::warn!(%error, "the other nodes were not told that this one is gone");
        }
    }

    /// How many requests are under way: begun, and their answers not yet handed to the connection.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        let workers = self.state.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|worker| worker.open.load(Ordering::Acquire)).sum()
    }
}

/// Tells the other nodes that this one is about to stop.
async fn say_leaving(node: &Node) {
    if let Some(gossip) = &node.gossip
        && let Err(error) = ask(gossip, SetStatus(Status::Leaving), DEADLINE).await
    {
        tracing::warn!(%error, "the other nodes were not told that this one stops");
    }
}

/// How many were told; none when the actor did not answer.
fn counted(told: Result<usize, AskError>) -> usize {
    told.unwrap_or_else(|error| {
        tracing::warn!(%error, "held requests of one worker were not told of the stop");
        0
    })
}

/// Counts one request for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Open {
    /// Counts a request.
    pub(crate) fn begin(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(&self.0))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
