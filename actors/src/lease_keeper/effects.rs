//! Carries out what the lease machine says: joins, renews, fences, gives the row back, begins a timeline, tells the
//! cache. Decides nothing; what comes of it goes back into the machine as an event.

use std::rc::Rc;
use std::time::Duration;

use callboard_protocol::config::Version;
use callboard_protocol::extent::{Extent, LastKnown};
use callboard_protocol::lease::{
    BeginResult, Effect, Event, Evidence, FenceResult, JoinResult, LeaseMode, Observation, RenewResult,
};
use callboard_protocol::member::{Incarnation, LeaseEnd, NodeId, ReadLease, Timeline};

use super::LeaseKeeper;
use crate::cache::writer::{Extend, SetReadLease};
use crate::runtime::{Context, ask};
use crate::store::{JoinRequest, Joined, WriteError, Writer};

/// How long the cache may take to be emptied or admitted before it is told again.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause before the cache is told again; its keeper is being rebuilt.
const PAUSE: Duration = Duration::from_millis(10);

impl LeaseKeeper {
    pub(super) fn perform(&mut self, effect: Effect, context: &mut Context<Self>) {
        let (writer, node) = (self.writer.clone(), self.options.node.clone());
        match effect {
            Effect::Join { incarnation, first_life } => self.join(incarnation, first_life, context),
            Effect::Renew { incarnation } => {
                self.ahead = self.clock.lease().since(self.clock.mono());
                let renewing = async move { renew(&writer, &node, incarnation).await };
                self.then(renewing, context, move |keeper, result| {
                    keeper.count("renew", word_of(&result));
                    Event::Renewed { incarnation, result }
                });
            }
            Effect::Observe => {
                self.then(async move { observe(&writer).await }, context, |_, rows| Event::Observed(rows));
            }
            Effect::Fence { node, incarnation, renew_seq } => {
                let fenced = node.clone();
                let fencing = async move { writer.fence(&node, incarnation, renew_seq).await };
                self.then(fencing, context, move |keeper, result| keeper.fenced(fenced, result));
            }
            Effect::Release { incarnation } => {
                let row = Rc::clone(&self.row);
                let releasing = async move {
                    let _turn = row.lock().await;
                    writer.release(&node, incarnation).await
                };
                self.then(releasing, context, |_, result| {
                    if let Err(error) = result {
                        tracing::warn!(%error, "the row could not be given back; the others fence it in time");
                    }
                    Event::Released
                });
            }
            Effect::BeginTimeline { lost, known, evidence } => self.begin_timeline(lost, known, evidence, context),
            Effect::Remember { known, is_durable } => self.remember(&known, is_durable),
            Effect::Admit { grant, timeline, revision } => {
                let told = SetReadLease { grant: Some(self.by_clock_of_leases(grant)), timeline, revision };
                self.then(self.insist(told), context, |_, ()| Event::Admitted);
            }
            // Loss is repaired: the lease ends and the next renewal extends it.
            Effect::Extend { grant } => self.cache.do_send(Extend { grant: self.by_clock_of_leases(grant) }),
            Effect::Flush => self.then(self.empty_cache(), context, |_, ()| Event::Flushed),
            Effect::Tell(membership) => self.tell(membership),
            Effect::Left => {
                self.has_left = true;
                for waiting in self.leaving.drain(..) {
                    if waiting.send(()).is_err() {
                        tracing::debug!("the node did not wait until the membership was given back");
                    }
                }
            }
        }
    }

    /// The grant with its end by the clock of leases, as it stood when the join or renewal was sent.
    fn by_clock_of_leases(&self, grant: ReadLease) -> ReadLease {
        let ends = match grant.ends {
            LeaseEnd::Never => LeaseEnd::Never,
            LeaseEnd::At(end) => LeaseEnd::At(end.after(self.ahead)),
        };
        ReadLease { ends, ..grant }
    }

    /// Empties the cache and takes its read lease away.
    pub(super) fn empty_cache(&self) -> impl Future<Output = ()> + use<> {
        self.insist(SetReadLease { grant: None, timeline: Timeline::default(), revision: Version::ZERO })
    }

    /// Tells the cache until it has done it, and nothing else meanwhile: a keeper that is being rebuilt comes back, and
    /// what it is told late must not undo what came after.
    fn insist(&self, told: SetReadLease) -> impl Future<Output = ()> + use<> {
        let (cache, turn) = (self.cache.clone(), Rc::clone(&self.cache_turn));
        async move {
            let _turn = turn.lock().await;
            while let Err(error) = ask(&cache, told.clone(), DEADLINE).await {
                tracing::debug!(%error, "the cache is told again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn join(&mut self, incarnation: Incarnation, first_life: Incarnation, context: &mut Context<Self>) {
        let (options, writer, row) = (self.options.clone(), self.writer.clone(), Rc::clone(&self.row));
        let request = JoinRequest {
            node: options.node,
            incarnation,
            first_life,
            boot_id: options.boot_id,
            address: options.address,
            versions: options.versions,
            is_alone: options.lease.terms == LeaseMode::Forever,
        };
        self.ahead = self.clock.lease().since(self.clock.mono());
        let joining = async move {
            let _turn = row.lock().await;
            writer.join(request).await
        };
        self.then(joining, context, move |keeper, joined| {
            let (word, result) = match joined {
                Ok(Joined::Member(observation)) => ("done", JoinResult::Joined(observation)),
                Ok(Joined::Held(observation)) => {
                    tracing::warn!("an older row of this node stands; waiting until it has stood still for a lease");
                    ("held", JoinResult::Held(observation))
                }
                Ok(Joined::Elsewhere { observation, ours }) => {
                    tracing::warn!(
                        store.member = ours,
                        "the row of another node names another member of the database; waiting until it follows, or stands \
                         still for a lease"
                    );
                    ("elsewhere", JoinResult::Elsewhere { observation, ours })
                }
                Ok(Joined::Incompatible { node }) => {
                    tracing::error!(
                        peer.id = %node,
                        "this member speaks no version of the node-to-node protocol that this node speaks; upgrade the \
                         older of the two"
                    );
                    ("incompatible", JoinResult::Incompatible { node })
                }
                Err(error) => {
                    // One line for all tries of an outage.
                    if keeper.last_join == "failed" {
                        tracing::debug!(%error, "the node could not join again");
                    } else {
                        tracing::warn!(%error, "the node could not join; it tries again");
                    }
                    ("failed", JoinResult::Failed)
                }
            };
            keeper.last_join = word;
            keeper.count("join", word);
            Event::Joined { incarnation, result }
        });
    }

    fn fenced(&mut self, node: NodeId, result: Result<bool, WriteError>) -> Event {
        let (word, result) = match result {
            Ok(true) => {
                tracing::warn!(peer.id = %node, "fenced: this node did not renew its lease");
                ("fenced", FenceResult::Fenced)
            }
            Ok(false) => ("missed", FenceResult::Missed),
            Err(error) => {
                tracing::debug!(peer.id = %node, %error, "a fence failed");
                ("failed", FenceResult::Failed)
            }
        };
        self.count("fence", word);
        Event::Fenced { node, result }
    }

    fn begin_timeline(&mut self, lost: Timeline, known: Extent, evidence: Evidence, context: &mut Context<Self>) {
        let why = match &evidence {
            Evidence::Behind => "it ends before a commit that is known",
            Evidence::Foreign => "it is another database, or one that was promoted while this node was down",
            Evidence::Row(..) => "a row is older than what was committed",
        };
        tracing::error!(
            store.timeline = lost.0,
            store.revision = known.revision.0,
            why,
            "the database has lost commits that were acknowledged, as after a fail-over to a replica that was behind; \
             every cache is emptied and a new timeline begins"
        );
        let writer = self.writer.clone();
        let beginning = async move { writer.begin_timeline(lost, known, &evidence).await };
        self.then(beginning, context, |keeper, result| {
            let (word, result) = match result {
                Ok(BeginResult::Begun) => ("begun", BeginResult::Begun),
                Ok(BeginResult::Missed) => ("missed", BeginResult::Missed),
                Ok(BeginResult::Failed) => ("failed", BeginResult::Failed),
                Err(error) => {
                    tracing::warn!(%error, "the new timeline could not be begun");
                    ("failed", BeginResult::Failed)
                }
            };
            keeper.count("timeline", word);
            Event::TimelineBegun(result)
        });
    }

    /// What is kept is there at once for the next process; that it outlives the machine is waited for at the end alone.
    fn remember(&mut self, known: &LastKnown, is_durable: bool) {
        let Some(memory) = self.options.memory.clone() else { return };
        let mut kept = memory.keep(known);
        if known.is_complete {
            kept = kept.and_then(|()| memory.sync());
        } else if is_durable && kept.is_ok() {
            drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = memory.sync() {
                    tracing::debug!(%error, "what is known of the database may not outlive the machine");
                }
            }));
        }
        match kept {
            Ok(()) => self.is_forgetful = false,
            Err(error) if !self.is_forgetful => {
                self.is_forgetful = true;
                tracing::warn!(
                    %error,
                    "what is known of the database can't be kept in the data directory: commits that it loses while this \
                     node is down may not be noticed"
                );
            }
            Err(error) => tracing::debug!(%error, "what is known of the database can't be kept"),
        }
    }
}

async fn observe(writer: &Writer) -> Option<Observation> {
    match writer.observe().await {
        Ok(observation) => Some(observation),
        Err(error) => {
            tracing::debug!(%error, "the membership could not be read");
            None
        }
    }
}

async fn renew(writer: &Writer, node: &NodeId, incarnation: Incarnation) -> RenewResult {
    match writer.renew(node, incarnation).await {
        Ok(true) => RenewResult::Renewed(observe(writer).await),
        Ok(false) => RenewResult::Refused(observe(writer).await),
        Err(error) => {
            tracing::debug!(%error, "the lease could not be renewed");
            RenewResult::Failed
        }
    }
}

fn word_of(result: &RenewResult) -> &'static str {
    match result {
        RenewResult::Renewed(_) => "done",
        RenewResult::Refused(_) => "refused",
        RenewResult::Failed => "failed",
    }
}
