//! The account of this node's pushes, and the answers to what operators ask of its clients.
//!
//! Owns the rows (`callboard_protocol::push_ledger`), fed by the event bus, and the addresses of those who know the
//! clients of each worker thread. What the rows leave open it asks them. Decides nothing about pushes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Handler, Message, MessageResult, Recipient, ResponseActFuture,
    ResponseFuture,
};
use callboard_protocol::clients::{ClientQuery, ClientSeen, NodePushes, Page, PushQuery, PushSeen, standing};
use callboard_protocol::member::NodeId;
use callboard_protocol::push_ledger::{self, SessionNumber};
use callboard_protocol::session::client::Client;
use callboard_protocol::session::pushes::Position;
use futures_util::future::join_all;
use serde_json::json;

use crate::change_feed::GetCursor;
use crate::clock::SharedClock;
use crate::coordinator::connections::{ListClients, ListWatchers};
use crate::event_bus::{EventBus, PushNews, SubscribePushes};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::subscription::{Subscription, SubscriptionGuard, keep_subscribed_or, subscription};

/// Rows that are kept, of up to a kilobyte each where every one is of another client.
const MAX_ROWS: usize = 100_000;
/// How long a worker thread may take to say who is there.
const ASK: Duration = Duration::from_secs(2);
/// How soon the revision is asked for again that the account begins at.
const RETRY: Duration = Duration::from_millis(5);

/// Takes note of a worker thread. The answer tells when it is forgotten.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Subscription")]
pub struct AddWorker(pub WorkerActors);

/// The actors of one worker thread that know its clients.
#[derive(Debug, Clone)]
pub struct WorkerActors {
    /// Clients of sessions and streams.
    pub connections: Recipient<ListClients>,
    /// Long polls.
    pub polls: Recipient<ListClients>,
    /// How far those are that watch a key.
    pub watchers: Recipient<ListWatchers>,
}

/// Asks for a page of the clients of this node.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Page<ClientSeen>")]
pub struct GetClients(pub ClientQuery);

/// Asks what became of a version on this node.
#[derive(Debug, Clone, Message)]
#[rtype(result = "NodePushes")]
pub struct GetPushes(pub PushQuery);

/// Asks whether the account has begun: what is pushed from then on is known.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct HasBegun;

/// The account of a node.
pub struct PushLedger {
    node: NodeId,
    bus: Addr<EventBus>,
    feed: Recipient<GetCursor>,
    clock: SharedClock,
    ledger: push_ledger::PushLedger,
    workers: Vec<(WorkerActors, SubscriptionGuard)>,
}

impl PushLedger {
    /// An empty account of `node`, which begins where `feed` is.
    #[must_use]
    pub fn new(node: NodeId, bus: Addr<EventBus>, feed: Recipient<GetCursor>, clock: SharedClock) -> Self {
        let ledger = push_ledger::PushLedger::new(MAX_ROWS);
        Self { node, bus, feed, clock, ledger, workers: Vec::new() }
    }

    /// Learns at which revision the account begins; until then nothing counts as whole.
    fn begin(&mut self, context: &mut Context<Self>) {
        let feed = self.feed.clone();
        let asking = async move { ask(&feed, GetCursor, ASK).await };
        context.spawn(wrap_future(asking).map(|cursor, ledger: &mut Self, context| match cursor {
            Ok(Some(revision)) => ledger.ledger.begin_after(revision),
            Ok(None) | Err(_) => {
                context.run_later(RETRY, Self::begin);
            }
        }));
    }

    fn workers(&mut self) -> impl Iterator<Item = &WorkerActors> {
        // A worker thread that died was replaced by another one.
        self.workers.retain(|(worker, _)| worker.connections.connected());
        self.workers.iter().map(|(worker, _)| worker)
    }

    /// Everybody whom the version concerns: those who are there, and those of whom there is a row.
    fn all_pushes(&self, query: &PushQuery, watching: Vec<(SessionNumber, Arc<Client>, Position)>) -> Vec<PushSeen> {
        let none = BTreeMap::new();
        let rows = self.ledger.rows(&query.key, query.version).unwrap_or(&none);
        let there: BTreeSet<SessionNumber> = watching.iter().map(|(number, ..)| *number).collect();
        let connected = watching.into_iter().map(|(number, client, position)| {
            let row = rows.get(&number);
            let state = standing(&position, row, query.version);
            PushSeen::new((&self.node.0, number), &client, (state, row), true)
        });
        let gone = rows.iter().filter(|(number, _)| !there.contains(number));
        let gone = gone
            .map(|(number, row)| PushSeen::new((&self.node.0, *number), &row.client, (row.state, Some(row)), false));
        connected.chain(gone).collect()
    }
}

impl Actor for PushLedger {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (bus, missed) = (self.bus.clone(), |ledger: &mut Self| ledger.ledger.missed());
        keep_subscribed_or(context, async move |me| bus.send(SubscribePushes(me.recipient())).await, missed);
        self.begin(context);
    }
}

monitored!(PushLedger, "push_ledger");

impl Observable for PushLedger {
    fn observe(&self) -> serde_json::Value {
        json!({ "rows": self.ledger.len(), "workers": self.workers.len() })
    }
}

impl Handler<AddWorker> for PushLedger {
    type Result = MessageResult<AddWorker>;

    fn handle(&mut self, AddWorker(worker): AddWorker, _: &mut Context<Self>) -> Self::Result {
        let (holder, held) = subscription();
        self.workers.push((worker, holder));
        MessageResult(held)
    }
}

impl Handler<HasBegun> for PushLedger {
    type Result = bool;

    fn handle(&mut self, HasBegun: HasBegun, _: &mut Context<Self>) -> Self::Result {
        self.ledger.has_begun()
    }
}

impl Handler<PushNews> for PushLedger {
    type Result = ();

    fn handle(&mut self, news: PushNews, _: &mut Context<Self>) {
        match news {
            PushNews::Happened(events) => {
                let now = self.clock.wall();
                for event in events.iter() {
                    self.ledger.record(now, event.clone());
                }
            }
            PushNews::Missed => self.ledger.missed(),
        }
    }
}

impl Handler<GetClients> for PushLedger {
    type Result = ResponseFuture<Page<ClientSeen>>;

    fn handle(&mut self, GetClients(query): GetClients, _: &mut Context<Self>) -> Self::Result {
        let actors: Vec<_> =
            self.workers().flat_map(|worker| [worker.connections.clone(), worker.polls.clone()]).collect();
        let limit = query.limit;
        Box::pin(async move {
            let asked = actors.iter().map(|actor| ask(actor, ListClients(query.clone()), ASK));
            // A worker thread that does not answer has none that could be shown.
            let pages = join_all(asked).await.into_iter().map(Result::unwrap_or_default);
            Page::merged(pages, limit)
        })
    }
}

impl Handler<GetPushes> for PushLedger {
    type Result = ResponseActFuture<Self, NodePushes>;

    fn handle(&mut self, GetPushes(query): GetPushes, _: &mut Context<Self>) -> Self::Result {
        let actors: Vec<_> = self.workers().map(|worker| worker.watchers.clone()).collect();
        let key = query.key.clone();
        let asking = async move {
            let asked = actors.iter().map(|actor| ask(actor, ListWatchers(key.clone()), ASK));
            join_all(asked).await
        };
        Box::pin(wrap_future(asking).map(move |answers, ledger: &mut Self, _| {
            let is_complete = answers.iter().all(Result::is_ok);
            let watching = answers.into_iter().flat_map(Result::unwrap_or_default).collect();
            let is_whole = is_complete && ledger.ledger.is_whole(query.version);
            NodePushes::of(ledger.all_pushes(&query, watching), &query, is_whole)
        }))
    }
}

#[cfg(test)]
mod tests;
