//! The actor on paused time, over the real coordinator and event bus, a store that the test answers for, and a
//! connection of which the test takes what it wants.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::HashMap;

use callboard_protocol::clients::{ClientFilter, ClientQuery, ClientSeen};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::NodeId;
use callboard_protocol::session::client::{ClientId, ClientKind};

use super::*;
use crate::cache::ReadFailure;
use crate::coordinator::connections::ListClients;
use crate::coordinator::{Capacity, CountWatches, Drain};
use crate::event_bus::{self, ConfigEvent, EventBus};
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, start};
use crate::testbed::{Desk, Questions, Witness, advance, key, query, rebuild, run, settle, state};

const HEARTBEAT: Duration = Duration::from_secs(10);
const MAX_KEYS: usize = 3;
const TIMELINE: Timeline = Timeline(1);

struct Testbed {
    registry: Registry,
    metrics: Metrics,
    bus: Addr<EventBus>,
    deps: Deps,
    snapshots: Questions<GetKeys>,
    feed: Questions<GetChanged>,
}

/// A stream, as its client has it.
struct ClientStream {
    session: Addr<StreamSession>,
    frames: mpsc::Receiver<Frame>,
}

impl ClientStream {
    /// All that comes.
    async fn received(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        settle().await;
        while let Ok(frame) = self.frames.try_recv() {
            heard.push(in_short(&frame));
            // What waited for room comes after it.
            settle().await;
        }
        heard
    }

    /// The node has ended it, and all of it was heard.
    fn is_over(&self) -> bool {
        self.frames.is_closed() && self.frames.is_empty() && !self.session.connected()
    }
}

fn in_short(frame: &Frame) -> String {
    match frame {
        Frame::Opened => "opened".to_owned(),
        Frame::State { state, resume_after } if *resume_after == state.version => {
            format!("{} at {}", state.key.data_id(), state.version)
        }
        Frame::State { state, resume_after } => {
            format!("{} at {}, resume after {resume_after}", state.key.data_id(), state.version)
        }
        Frame::Reset => "reset".to_owned(),
        Frame::Heartbeat => "heartbeat".to_owned(),
        Frame::Refused(refused) => format!("refused: {refused:?}"),
    }
}

fn made(data_id: &str, version: u64) -> SharedState {
    state(data_id, version, "x")
}

thread_local! {
    /// What the cache would answer: the versions that were told of last.
    static PRESENT: RefCell<HashMap<ConfigKey, Version>> = RefCell::default();
}

/// Answers with what was told of.
struct FakeReader;

impl Actor for FakeReader {
    type Context = actix::Context<Self>;
}

impl Handler<GetMany> for FakeReader {
    type Result = Result<Vec<SharedState>, ReadFailure>;

    fn handle(&mut self, GetMany { keys }: GetMany, _: &mut Self::Context) -> Self::Result {
        let version = |key: &ConfigKey| PRESENT.with_borrow(|present| present[key].0);
        Ok(keys.iter().map(|key| made(key.data_id(), version(key))).collect())
    }
}

/// The keys that the database holds at a revision, or that were changed up to there.
fn page(revision: u64, states: &[(&str, u64)]) -> KeyPage {
    let keys: Vec<_> = states.iter().map(|(data_id, version)| (key(data_id), Version(*version))).collect();
    PRESENT.with_borrow_mut(|present| present.extend(keys.iter().cloned()));
    KeyPage { floor: Version::ZERO, revision: Version(revision), timeline: TIMELINE, keys, rest: Rest::None }
}

/// The same, with more after a version.
fn begun(through: u64, page: KeyPage) -> KeyPage {
    KeyPage { rest: Rest::After(Version(through)), ..page }
}

impl Testbed {
    /// A thread where so many streams may be held.
    async fn start(watches: usize) -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let from = bus.clone();
        let coordinator = start(&Spec::new(&registry, "coordinator"), move |_| {
            Coordinator::new(from.clone(), Capacity { watches, session_watches: 0 }, NodeId("n1".into()))
        });
        let ((keys, snapshots), (changed, feed)) = (Desk::open(), Desk::open());
        let get_many = FakeReader.start().recipient();
        let deps = Deps { coordinator, keys, changed, get_many, metrics: metrics.push.clone() };
        settle().await;
        Self { registry, metrics, bus, deps, snapshots, feed }
    }

    /// A client opens a stream of all configurations of a group; its connection holds so many frames.
    fn open(&self, room: usize, resume: Option<u64>) -> ClientStream {
        let (sender, frames) = mpsc::channel(room);
        let identity = ClientIdentity::default();
        let client = Client { id: ClientId("c".into()), kind: ClientKind::Stream, identity, software: String::new() };
        let request = StreamRequest {
            selector: Selector::prefix("public", Some("g"), "").unwrap(),
            heartbeat: HEARTBEAT,
            max_keys: MAX_KEYS,
            outlet: Rc::new(Outlet::new(sender, resume.map(Version))),
            number: SessionNumber(1),
            client: Arc::new(client),
            since: WallMillis::default(),
        };
        let deps = self.deps.clone();
        let spec = Spec::new(&self.registry, "stream_session");
        let session = start(&spec, move |_| StreamSession::new(request.clone(), deps.clone()));
        ClientStream { session, frames }
    }

    /// A stream whose client has the present states, as of a revision.
    async fn opened(&mut self, room: usize, revision: u64, states: &[(&str, u64)]) -> ClientStream {
        let mut stream = self.open(room, None);
        self.snapshots.answer(|_| Ok(page(revision, states))).await;
        assert_eq!(stream.received().await.first().unwrap(), "opened");
        stream
    }

    /// Answers the next read of the feed, which was of what came after this.
    async fn read(&mut self, after: u64, page: KeyPage) {
        let asked = self.feed.answer(|_| Ok(page)).await;
        assert_eq!(asked.after, Version(after));
    }

    fn tell(&self, event: ConfigEvent) {
        self.bus.do_send(event_bus::Publish(event));
    }

    async fn publish(&self, states: &[(&str, u64)]) {
        let states: Vec<_> = states.iter().map(|(data_id, version)| made(data_id, *version)).collect();
        self.tell(ConfigEvent::Changed(states.into()));
        settle().await;
    }

    async fn clients(&self) -> Vec<ClientSeen> {
        let asked = ClientQuery { filter: ClientFilter::default(), after: None, limit: 10, keys: 10 };
        query(&self.deps.coordinator, ListClients(asked)).await.items
    }

    async fn watches(&self) -> usize {
        query(&self.deps.coordinator, CountWatches).await
    }

    fn held(&self) -> i64 {
        self.metrics.push.held.get_or_create(&HeldLabel { kind: "stream" }).get()
    }
}

#[test]
fn the_present_states_come_first_and_then_each_change() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, None);
        let (asked, reply) = testbed.snapshots.next().await;
        assert_eq!(asked.limit, 3);
        assert_eq!(testbed.watches().await, 1, "registered before it is read");
        assert_eq!(stream.received().await, ["opened"]);
        reply.send(Ok(page(5, &[("b", 5), ("a", 3)]))).unwrap();
        assert_eq!(stream.received().await, ["a at 3", "b at 5"]);
        testbed.publish(&[("c", 6)]).await;
        testbed.publish(&[("a", 7)]).await;
        assert_eq!(stream.received().await, ["c at 6", "a at 7"]);
        assert_eq!(testbed.metrics.push.sent.get(), 4);
        let clients = testbed.clients().await;
        assert_eq!(clients[0].prefixes, [("public".to_owned(), Some("g".to_owned()), String::new())]);
        testbed.snapshots.none().await;
    });
}

#[test]
fn a_change_that_is_told_while_the_states_are_read_comes_once_and_in_order() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, None);
        let (_, reply) = testbed.snapshots.next().await;
        testbed.publish(&[("a", 6)]).await;
        testbed.publish(&[("c", 7)]).await;
        assert_eq!(stream.received().await, ["opened"]);
        reply.send(Ok(page(6, &[("a", 6), ("b", 5)]))).unwrap();
        assert_eq!(stream.received().await, ["b at 5", "a at 6", "c at 7"]);
        testbed.publish(&[("c", 7)]).await;
        assert_eq!(stream.received().await, [""; 0], "it was told");
    });
}

#[test]
fn a_write_of_several_keys_is_resumed_after_only_when_all_of_it_came() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 5, &[]).await;
        testbed.publish(&[("a", 6), ("b", 6)]).await;
        assert_eq!(stream.received().await, ["a at 6, resume after 5", "b at 6"]);
    });
}

#[test]
fn a_slow_connection_gets_only_the_newest_of_each_key() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(1, 1, &[]).await;
        for version in 2..10 {
            testbed.publish(&[("a", version)]).await;
        }
        testbed.publish(&[("b", 10)]).await;
        testbed.publish(&[("a", 11)]).await;
        // One lies in the connection, and one waits for room in it.
        assert_eq!(stream.received().await, ["a at 2", "a at 3", "b at 10", "a at 11"]);
    });
}

#[test]
fn a_connection_that_is_too_slow_for_so_many_keys_is_ended() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(1, 1, &[]).await;
        for (data_id, version) in [("a", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6)] {
            testbed.publish(&[(data_id, version)]).await;
        }
        assert!(stream.session.connected(), "as many wait as may");
        testbed.publish(&[("f", 7)]).await;
        assert_eq!(stream.received().await, ["a at 2"]);
        assert!(stream.is_over());
    });
}

#[test]
fn a_connection_on_which_nothing_happens_is_told_that_it_lives() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 1, &[]).await;
        advance(HEARTBEAT - Duration::from_millis(1)).await;
        assert_eq!(stream.received().await, [""; 0]);
        advance(Duration::from_millis(1)).await;
        assert_eq!(stream.received().await, ["heartbeat"]);
        advance(HEARTBEAT).await;
        assert_eq!(stream.received().await, ["heartbeat"]);
    });
}

#[test]
fn heartbeats_do_not_queue_behind_what_waits_for_room() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(1, None);
        testbed.snapshots.answer(|_| Ok(page(3, &[("a", 2), ("b", 3)]))).await;
        for _ in 0..3 {
            advance(HEARTBEAT).await;
        }
        assert_eq!(stream.received().await, ["opened", "a at 2", "b at 3"]);
    });
}

#[test]
fn a_client_that_resumes_gets_only_what_came_after() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, Some(4));
        let asked = testbed.feed.answer(|_| Ok(begun(7, page(9, &[("a", 5), ("b", 7)])))).await;
        assert_eq!(asked.after, Version(4));
        assert_eq!(asked.selector, Selector::prefix("public", Some("g"), "").unwrap());
        assert_eq!(stream.received().await, ["opened", "a at 5", "b at 7"], "a page is told before the next one comes");
        testbed.publish(&[("d", 10)]).await;
        assert_eq!(stream.received().await, [""; 0]);
        testbed.read(7, page(9, &[("c", 9)])).await;
        assert_eq!(stream.received().await, ["c at 9", "d at 10"]);
        testbed.snapshots.none().await;
        testbed.feed.none().await;
    });
}

#[test]
fn a_client_whose_point_lies_too_far_back_or_ahead_begins_anew() {
    for foreign in [KeyPage { floor: Version(5), ..page(9, &[]) }, page(3, &[])] {
        run(async || {
            let mut testbed = Testbed::start(10).await;
            let mut stream = testbed.open(8, Some(4));
            testbed.read(4, foreign).await;
            assert_eq!(stream.received().await, ["opened", "reset"]);
            testbed.snapshots.answer(|_| Ok(page(9, &[("a", 2)]))).await;
            assert_eq!(stream.received().await, ["a at 2"]);
            testbed.publish(&[("a", 10)]).await;
            assert_eq!(stream.received().await, ["a at 10"]);
        });
    }
}

#[test]
fn a_database_that_lost_commits_resets_the_client() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 5, &[("a", 5)]).await;
        testbed.tell(ConfigEvent::Recheck);
        testbed.read(5, page(5, &[])).await;
        assert_eq!(stream.received().await, [""; 0], "nothing was lost");
        testbed.tell(ConfigEvent::Recheck);
        testbed.read(5, KeyPage { timeline: Timeline(2), ..page(9, &[("a", 7)]) }).await;
        assert_eq!(stream.received().await, ["reset"]);
        let anew = KeyPage { timeline: Timeline(2), ..page(9, &[("a", 4)]) };
        testbed.snapshots.answer(|_| Ok(anew)).await;
        assert_eq!(stream.received().await, ["a at 4"], "what is there, although it is older");
    });
}

#[test]
fn what_the_event_bus_dropped_is_read() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 1, &[]).await;
        // More than the bus keeps for a subscriber, before that has a turn.
        for version in 2..=3_000 {
            testbed.tell(ConfigEvent::Changed(Arc::from([made("a", version)])));
        }
        settle().await;
        assert!(testbed.metrics.push.lagged.get() > 0);
        advance(Duration::from_millis(2)).await;
        let before = stream.received().await;
        let (asked, reply) = testbed.feed.next().await;
        assert!(asked.after < Version(3_000) && !before.contains(&"a at 3000".to_owned()), "{asked:?}");
        reply.send(Ok(page(3_000, &[("a", 3_000)]))).unwrap();
        let heard = stream.received().await;
        assert_eq!(heard.last().unwrap(), "a at 3000", "{heard:?}");
    });
}

#[test]
fn a_store_that_is_away_is_asked_again() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, None);
        testbed.snapshots.answer(|_| Err(ReadFailure::TimedOut)).await;
        testbed.snapshots.none().await;
        advance(RETRY).await;
        testbed.snapshots.answer(|_| Ok(page(5, &[("a", 5)]))).await;
        assert_eq!(stream.received().await, ["opened", "a at 5"]);
        testbed.tell(ConfigEvent::Recheck);
        testbed.feed.answer(|_| Err(ReadFailure::TimedOut)).await;
        testbed.feed.none().await;
        advance(RETRY).await;
        testbed.read(5, page(6, &[("a", 6)])).await;
        assert_eq!(stream.received().await, ["a at 6"]);
    });
}

#[test]
fn a_stream_for_which_there_is_no_room_is_refused() {
    run(async || {
        let mut testbed = Testbed::start(1).await;
        let (session, _told) = Witness::start();
        let selector = Selector::of_key(&key("a"));
        query(&testbed.deps.coordinator, Watch { selector, session, connection: None }).await.unwrap();
        let mut stream = testbed.open(8, None);
        assert_eq!(stream.received().await, ["refused: Full"]);
        assert!(stream.is_over());
        assert_eq!((testbed.clients().await, testbed.watches().await), (Vec::new(), 1));
        testbed.snapshots.none().await;
    });
}

#[test]
fn a_stream_of_more_keys_than_may_be_is_refused() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, None);
        let some = KeyPage { rest: Rest::TooMany, ..page(5, &[]) };
        testbed.snapshots.answer(|_| Ok(some)).await;
        assert_eq!(stream.received().await, ["opened", "refused: Full"]);
        assert!(stream.is_over());
    });
}

#[test]
fn a_node_that_stops_ends_its_streams_and_refuses_others() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 1, &[]).await;
        assert_eq!(query(&testbed.deps.coordinator, Drain(Arc::from([]))).await, 1);
        assert_eq!(stream.received().await, [""; 0]);
        assert!(stream.is_over());
        let mut late = testbed.open(8, None);
        assert_eq!(late.received().await, ["refused: Stopping"]);
        assert!(late.is_over());
    });
}

#[test]
fn a_connection_that_is_gone_ends_the_stream_and_its_watch() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let ClientStream { session, frames } = testbed.opened(8, 1, &[]).await;
        assert_eq!((testbed.clients().await.len(), testbed.watches().await, testbed.held()), (1, 1, 1));
        drop(frames);
        settle().await;
        assert!(!session.connected());
        assert_eq!((testbed.clients().await.len(), testbed.watches().await, testbed.held()), (0, 0, 0));
    });
}

#[test]
fn a_coordinator_that_was_rebuilt_is_told_again_and_what_it_missed_is_read() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 5, &[("a", 5)]).await;
        rebuild(&testbed.deps.coordinator).await;
        let (asked, reply) = testbed.feed.next().await;
        assert_eq!((asked.after, testbed.watches().await), (Version(5), 1));
        reply.send(Ok(page(6, &[("a", 6)]))).unwrap();
        assert_eq!(stream.received().await, ["a at 6"], "it was opened before");
        assert_eq!(testbed.clients().await.len(), 1);
    });
}

#[test]
fn a_session_that_was_rebuilt_goes_on_where_the_one_before_stopped() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.opened(8, 5, &[("a", 5)]).await;
        rebuild(&stream.session).await;
        testbed.read(5, page(6, &[("a", 6)])).await;
        assert_eq!(stream.received().await, ["opened", "a at 6"]);
        assert_eq!((testbed.watches().await, testbed.held()), (1, 1));
        testbed.snapshots.none().await;
    });
}

#[test]
fn more_is_read_only_when_the_client_took_what_was_read() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(2, None);
        testbed.snapshots.answer(|_| Ok(begun(3, page(5, &[("a", 1), ("b", 2), ("c", 3)])))).await;
        testbed.snapshots.none().await;
        testbed.publish(&[("a", 6)]).await;
        assert_eq!(stream.received().await, ["opened", "a at 1", "b at 2", "c at 3"]);
        let (asked, reply) = testbed.snapshots.next().await;
        assert_eq!(asked.after, Version(3));
        // What changed meanwhile is in a later page, too.
        reply.send(Ok(page(6, &[("d", 4), ("a", 6)]))).unwrap();
        assert_eq!(stream.received().await, ["d at 4", "a at 6"]);
        testbed.tell(ConfigEvent::Recheck);
        testbed.feed.answer(|_| Ok(begun(9, page(9, &[("a", 7), ("b", 8), ("c", 9)])))).await;
        testbed.feed.none().await;
        assert_eq!(stream.received().await, ["a at 7", "b at 8", "c at 9"]);
        testbed.read(9, page(10, &[("a", 10)])).await;
        assert_eq!(stream.received().await, ["a at 10"]);
    });
}

#[test]
fn pages_of_two_timelines_are_none_of_one_read() {
    run(async || {
        let mut testbed = Testbed::start(10).await;
        let mut stream = testbed.open(8, None);
        testbed.snapshots.answer(|_| Ok(begun(1, page(5, &[("a", 1)])))).await;
        testbed.snapshots.answer(|_| Ok(KeyPage { timeline: Timeline(2), ..page(5, &[("b", 5)]) })).await;
        testbed.snapshots.answer(|_| Ok(KeyPage { timeline: Timeline(2), ..page(5, &[("a", 2)]) })).await;
        assert_eq!(stream.received().await, ["opened", "a at 1", "reset", "a at 2"]);
    });
}
