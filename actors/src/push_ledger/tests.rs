//! The account over a real bus; the feed and the worker threads are desks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::clients::ClientFilter;
use callboard_protocol::config::Version;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::push_ledger::{PushEvent, PushState, PushStep};
use callboard_protocol::session::client::{ClientId, ClientKind};

use super::*;
use crate::event_bus::PublishPushes;
use crate::metrics::Metrics;
use crate::runtime::{Observe, Registry, Spec, start};
use crate::testbed::{Desk, Questions, advance, clock, key, query, rebuild, run, settle};

struct Testbed {
    ledger: Addr<PushLedger>,
    bus: Addr<EventBus>,
    cursors: Questions<GetCursor>,
}

/// The questions that a worker thread is asked.
struct Worker {
    connections: Questions<ListClients>,
    polls: Questions<ListClients>,
    watchers: Questions<ListWatchers>,
    _held: Subscription,
}

impl Testbed {
    fn start() -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(metrics.push.clone()));
        let ((feed, cursors), from, time) = (Desk::open(), bus.clone(), clock());
        let ledger = start(&Spec::new(&registry, "push_ledger"), move |_| {
            PushLedger::new(NodeId("n1".into()), from.clone(), feed.clone(), time.clone())
        });
        Self { ledger, bus, cursors }
    }

    /// An account that has begun after this revision.
    async fn begun_after(revision: u64) -> Self {
        let mut testbed = Self::start();
        testbed.cursors.answer(|_| Some(Version(revision))).await;
        settle().await;
        testbed
    }

    async fn add_worker(&self) -> Worker {
        let ((connections, of_connections), (polls, of_polls), (watchers, of_watchers)) =
            (Desk::open(), Desk::open(), Desk::open());
        let held = query(&self.ledger, AddWorker(WorkerActors { connections, polls, watchers })).await;
        Worker { connections: of_connections, polls: of_polls, watchers: of_watchers, _held: held }
    }

    async fn happened(&self, session: u64, version: u64, step: PushStep) {
        self.tell(vec![event(session, version, step)]).await;
    }

    async fn tell(&self, events: Vec<PushEvent>) {
        self.bus.do_send(PublishPushes(PushNews::Happened(events.into())));
        settle().await;
    }

    async fn rows(&self) -> u64 {
        query(&self.ledger, Observe).await["rows"].as_u64().unwrap()
    }

    /// What became of a version, as far as no worker thread has to be asked.
    async fn pushes(&self, version: u64) -> NodePushes {
        query(&self.ledger, GetPushes(pushes(version))).await
    }
}

fn client(session: u64) -> Arc<Client> {
    Arc::new(Client {
        id: ClientId(format!("client-{session}").into()),
        kind: ClientKind::Tcp,
        identity: ClientIdentity::default(),
        software: String::new(),
    })
}

fn event(session: u64, version: u64, step: PushStep) -> PushEvent {
    let (session, client) = (SessionNumber(session), client(session));
    PushEvent { session, client, key: key("a"), version: Version(version), step }
}

fn pushes(version: u64) -> PushQuery {
    PushQuery { key: key("a"), version: Version(version), state: None, after: None, limit: 10 }
}

fn shown(pushes: &NodePushes) -> Vec<(u64, PushState, bool)> {
    pushes.page.items.iter().map(|seen| (seen.place.session.0, seen.state, seen.is_connected)).collect()
}

#[test]
fn the_account_begins_where_the_feed_stands_and_is_not_whole_before() {
    run(async || {
        let mut testbed = Testbed::start();
        testbed.cursors.answer(|_| None).await;
        settle().await;
        assert!(!query(&testbed.ledger, HasBegun).await, "the feed has not begun itself");
        assert!(!testbed.pushes(11).await.is_whole);
        testbed.cursors.none().await;
        advance(RETRY).await;
        testbed.cursors.answer(|_| Some(Version(10))).await;
        settle().await;
        assert!(query(&testbed.ledger, HasBegun).await);
        assert!(!testbed.pushes(10).await.is_whole, "it was pushed before the account began");
        assert!(testbed.pushes(11).await.is_whole);
        advance(RETRY).await;
        testbed.cursors.none().await;
    });
}

#[test]
fn what_happens_to_pushes_is_put_down_and_told() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        for (session, step) in [(1, PushStep::Sent), (2, PushStep::Sent), (1, PushStep::Applied), (2, PushStep::Lost)] {
            testbed.happened(session, 11, step).await;
        }
        let told = testbed.pushes(11).await;
        assert_eq!(shown(&told), [(1, PushState::Applied, false), (2, PushState::Lost, false)]);
        assert!(told.is_whole);
        assert!(shown(&testbed.pushes(12).await).is_empty());
    });
}

#[test]
fn those_who_watch_and_were_sent_nothing_are_asked_for_on_their_threads() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        let mut worker = testbed.add_worker().await;
        testbed.happened(1, 11, PushStep::Sent).await;
        let asking = testbed.ledger.send(GetPushes(pushes(11)));
        let nothing = Position { holds: None, pushed: None };
        let watching = vec![(SessionNumber(1), client(1), nothing), (SessionNumber(3), client(3), nothing)];
        let question = worker.watchers.answer(|_| watching).await;
        assert_eq!(question.0, key("a"));
        let told = asking.await.unwrap();
        assert_eq!(shown(&told), [(1, PushState::Sent, true), (3, PushState::Pending, true)]);
        assert!(told.is_whole);
    });
}

#[test]
fn a_thread_that_does_not_answer_delays_the_answer_for_a_while_and_leaves_it_incomplete() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        let mut worker = testbed.add_worker().await;
        testbed.happened(1, 11, PushStep::Applied).await;
        let asking = testbed.ledger.send(GetPushes(pushes(11)));
        let _unanswered = worker.watchers.next().await;
        advance(ASK).await;
        let told = asking.await.unwrap();
        assert_eq!(shown(&told), [(1, PushState::Applied, false)]);
        assert!(!told.is_whole);
    });
}

#[test]
fn clients_are_listed_by_all_who_know_some() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        let mut worker = testbed.add_worker().await;
        let query = ClientQuery { filter: ClientFilter::default(), after: None, limit: 10, keys: 0 };
        let asking = testbed.ledger.send(GetClients(query));
        worker.connections.answer(|_| Page { items: Vec::new(), total: 2, more: false }).await;
        worker.polls.answer(|_| Page { items: Vec::new(), total: 3, more: false }).await;
        assert_eq!(asking.await.unwrap().total, 5);
    });
}

#[test]
fn what_the_bus_left_out_makes_what_was_pushed_so_far_incomplete() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        testbed.happened(1, 11, PushStep::Sent).await;
        assert!(testbed.pushes(11).await.is_whole);
        testbed.bus.do_send(PublishPushes(PushNews::Missed));
        settle().await;
        assert!(!testbed.pushes(11).await.is_whole);
        assert!(testbed.pushes(12).await.is_whole, "nothing was pushed of it yet");
    });
}

#[test]
fn a_bus_that_was_rebuilt_is_subscribed_to_again_and_may_have_left_something_out() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        testbed.happened(1, 11, PushStep::Sent).await;
        rebuild(&testbed.bus).await;
        settle().await;
        assert!(!testbed.pushes(11).await.is_whole);
        testbed.happened(1, 12, PushStep::Sent).await;
        assert_eq!(shown(&testbed.pushes(12).await), [(1, PushState::Sent, false)]);
    });
}

#[test]
fn the_account_is_bounded_and_says_of_what_it_forgot_that_it_does_not_know() {
    run(async || {
        let testbed = Testbed::begun_after(10).await;
        let rows = MAX_ROWS as u64;
        testbed.tell((1..=rows).map(|session| event(session, 11 + session / rows, PushStep::Sent)).collect()).await;
        assert_eq!(testbed.rows().await, rows);
        assert!(testbed.pushes(11).await.is_whole);
        testbed.happened(1, 13, PushStep::Sent).await;
        assert!(testbed.rows().await <= rows);
        assert!(!testbed.pushes(11).await.is_whole, "the oldest version went");
        assert!(testbed.pushes(13).await.is_whole);
    });
}
