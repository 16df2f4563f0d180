//! The actor on paused time, over the real coordinator and event bus, a store that answers when told, and a client
//! whose connection takes what the test lets it take.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use actix::{Addr, ResponseFuture, System};
use bytes::Bytes;
use callboard_protocol::config::{ConfigState, SharedState};
use callboard_protocol::content::Content;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::link::Versions;
use callboard_protocol::member::{NodeId, Timeline};
use callboard_protocol::session::client::ClientId;
use callboard_protocol::watch::Selector;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{Notify, mpsc};

use super::message::Hello;
use super::*;
use crate::cache::ReadFailure;
use crate::cache::reader::{Get, GetMany, GetStale, Stale};
use crate::clock::SystemClock;
use crate::conf_manager::Publish;
use crate::coordinator::{self, Coordinator};
use crate::event_bus::{self, ConfigEvent, EventBus};
use crate::metrics::{EndLabel, Metrics};
use crate::runtime::{Registry, Spec, start, start_once};
use crate::store::{Found, KeyPage, Rest, Summary};
use crate::store_reader::{GetKeys, ListConfigs, SearchConfigs};

const IDLE: Duration = Duration::from_secs(30);
const HELLO: Duration = Duration::from_secs(10);

/// What the database of the test holds, and when it answers.
#[derive(Default)]
struct Stored {
    states: RefCell<HashMap<ConfigKey, SharedState>>,
    is_slow: Cell<bool>,
    go: Notify,
}

struct FakeStore(Rc<Stored>);

impl Actor for FakeStore {
    type Context = actix::Context<Self>;
}

impl FakeStore {
    fn read<T: 'static>(&self, answer: impl FnOnce(&HashMap<ConfigKey, SharedState>) -> T) -> ResponseFuture<T> {
        // It is read at once, and told when the test says so.
        let (answer, stored) = (answer(&self.0.states.borrow()), Rc::clone(&self.0));
        Box::pin(async move {
            if stored.is_slow.get() {
                stored.go.notified().await;
            }
            answer
        })
    }
}

fn stored_at(states: &HashMap<ConfigKey, SharedState>, key: ConfigKey) -> SharedState {
    states.get(&key).cloned().unwrap_or_else(|| Arc::new(ConfigState::absent(key, Version::ZERO)))
}

impl Handler<Get> for FakeStore {
    type Result = ResponseFuture<Result<SharedState, ReadFailure>>;

    fn handle(&mut self, Get { key }: Get, _: &mut Self::Context) -> Self::Result {
        self.read(|states| Ok(stored_at(states, key)))
    }
}

impl Handler<GetMany> for FakeStore {
    type Result = ResponseFuture<Result<Vec<SharedState>, ReadFailure>>;

    fn handle(&mut self, GetMany { keys }: GetMany, _: &mut Self::Context) -> Self::Result {
        self.read(|states| Ok(keys.into_iter().map(|key| stored_at(states, key)).collect()))
    }
}

impl Handler<GetKeys> for FakeStore {
    type Result = ResponseFuture<Result<KeyPage, ReadFailure>>;

    fn handle(&mut self, GetKeys { selector, after, .. }: GetKeys, _: &mut Self::Context) -> Self::Result {
        // One key a page: whoever reads them has to go on.
        self.read(|states| {
            let revision = states.values().map(|state| state.version).max().unwrap_or_default();
            let left = states.values().filter(|state| selector.matches(&state.key) && state.version > after);
            let mut left: Vec<_> = left.map(|state| (state.key.clone(), state.version)).collect();
            left.sort_by_key(|(_, version)| *version);
            let next = left.first().map(|(_, version)| *version);
            let rest =
                next.filter(|next| left.iter().any(|(_, version)| version > next)).map_or(Rest::None, Rest::After);
            let keys = left.into_iter().filter(|(_, version)| Some(*version) == next).collect();
            Ok(KeyPage { floor: Version::ZERO, revision, timeline: Timeline::default(), keys, rest })
        })
    }
}

impl Handler<GetStale> for FakeStore {
    type Result = MessageResult<GetStale>;

    fn handle(&mut self, _: GetStale, _: &mut Self::Context) -> Self::Result {
        MessageResult(None::<Stale>)
    }
}

impl Handler<ListConfigs> for FakeStore {
    type Result = MessageResult<ListConfigs>;

    fn handle(&mut self, _: ListConfigs, _: &mut Self::Context) -> Self::Result {
        MessageResult(Ok(Vec::<Summary>::new()))
    }
}

impl Handler<SearchConfigs> for FakeStore {
    type Result = MessageResult<SearchConfigs>;

    fn handle(&mut self, _: SearchConfigs, _: &mut Self::Context) -> Self::Result {
        MessageResult(Ok(Found { total: 0, page: Vec::new() }))
    }
}

impl Handler<Publish> for FakeStore {
    type Result = ();

    fn handle(&mut self, _: Publish, _: &mut Self::Context) {}
}

/// Hears what the test says.
struct FakeReader(mpsc::UnboundedReceiver<InboundMessage>);

impl MessageReader for FakeReader {
    fn next(&mut self) -> LocalBoxFuture<'_, Option<Result<InboundMessage, Broken>>> {
        self.0.recv().map(|heard| heard.map(Ok)).boxed_local()
    }
}

/// Says it to the test, when that lets it.
struct FakeWriter {
    said: mpsc::UnboundedSender<String>,
    is_stuck: Rc<Cell<bool>>,
    go: Rc<Notify>,
}

impl MessageWriter for FakeWriter {
    fn send(&mut self, said: Vec<OutboundMessage>) -> LocalBoxFuture<'_, io::Result<()>> {
        async move {
            while self.is_stuck.get() {
                self.go.notified().await;
            }
            for OutboundMessage { id, answer } in said {
                self.said.send(format!("{id}: {}", in_short(&answer))).map_err(io::Error::other)?;
            }
            Ok(())
        }
        .boxed_local()
    }

    fn close(&mut self) -> LocalBoxFuture<'_, ()> {
        // A test that has ended hears nothing more.
        drop(self.said.send("closed".to_owned()));
        async {}.boxed_local()
    }
}

fn in_short(answer: &Answer) -> String {
    match answer {
        Answer::Welcome(version) => format!("welcome {version}"),
        Answer::Config(state, _) => format!("{} at {}", state.key.data_id(), state.version),
        Answer::Push { state, .. } => format!("push {} at {}", state.key.data_id(), state.version),
        Answer::Watching => "watching".to_owned(),
        Answer::Unwatched => "unwatched".to_owned(),
        Answer::Ping(number) => format!("ping {number}"),
        Answer::Pong(number) => format!("pong {number}"),
        Answer::GoAway(elsewhere) => format!("go to {}", elsewhere.join(", ")),
        Answer::Failed(fault) => format!("failed: {fault:?}"),
        Answer::Page(..) | Answer::Published { .. } => "something else".to_owned(),
    }
}

struct Testbed {
    stored: Rc<Stored>,
    metrics: Metrics,
    bus: Addr<EventBus>,
    coordinator: Addr<Coordinator>,
    client: mpsc::UnboundedSender<InboundMessage>,
    said: RefCell<mpsc::UnboundedReceiver<String>>,
    is_stuck: Rc<Cell<bool>>,
    go: Rc<Notify>,
    session: Addr<NativeSession>,
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Testbed) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Testbed::start()).await;
    });
}

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn hello() -> Request {
    let identity = ClientIdentity::default();
    let client = Client { id: ClientId("c".into()), kind: ClientKind::Tcp, identity, software: String::new() };
    Request::Hello(Box::new(Hello { client, versions: Versions { min: 1, max: 1 }, held: Vec::new() }))
}

fn watch(data_id: &str) -> Request {
    Request::Watch(vec![Selector::of_key(&key(data_id))])
}

impl Testbed {
    fn start() -> Self {
        let (registry, metrics, stored) = (Registry::new(), Metrics::default(), Rc::new(Stored::default()));
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let from = bus.clone();
        let coordinator = start(&Spec::new(&registry, "coordinator"), move |_| {
            let capacity = coordinator::Capacity { watches: 10, session_watches: 10 };
            Coordinator::new(from.clone(), capacity, NodeId("n1".into()))
        });
        let store = FakeStore(Rc::clone(&stored)).start();
        let shared = Shared {
            options: Options {
                idle: IDLE,
                hello: HELLO,
                watches: 2,
                keys: 10,
                requests: 2,
                allowance: Allowance { frames: 1_000, bytes: 1 << 20, work: 10_000 },
                publish: Duration::from_secs(1),
                versions: Versions { min: 1, max: 1 },
            },
            deps: Deps {
                coordinator: coordinator.clone(),
                get: store.clone().recipient(),
                get_many: store.clone().recipient(),
                get_stale: store.clone().recipient(),
                list: store.clone().recipient(),
                keys: store.clone().recipient(),
                search: store.clone().recipient(),
                publish: store.recipient(),
            },
            clock: Arc::new(SystemClock),
            push: metrics.push.clone(),
            session: metrics.session.clone(),
        };
        let ((client, reader), (writer, said)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (is_stuck, go) = (Rc::new(Cell::new(false)), Rc::new(Notify::new()));
        let writer = FakeWriter { said: writer, is_stuck: Rc::clone(&is_stuck), go: Rc::clone(&go) };
        let connection = Connection {
            number: SessionNumber(1),
            kind: ClientKind::Tcp,
            reader: Box::new(FakeReader(reader)),
            writer: Box::new(writer),
            guard: Box::new(()),
        };
        let spec = Spec::new(&registry, "native_session");
        let session = start_once(&spec, move |_| NativeSession::new(Arc::new(shared), connection));
        Self { stored, metrics, bus, coordinator, client, said: RefCell::new(said), is_stuck, go, session }
    }

    /// A client that is welcomed.
    async fn welcomed(&self) {
        self.settle().await;
        self.ask(1, hello());
        assert_eq!(self.received().await, ["1: welcome 1"]);
    }

    fn ask(&self, id: u64, request: Request) {
        self.client.send(InboundMessage { id, bytes: 10, request: Ok(request) }).unwrap();
    }

    fn store(&self, data_id: &str, version: u64) -> SharedState {
        let formal = Some(Content::new(Bytes::from_static(b"x")).unwrap());
        let state = Arc::new(ConfigState { formal, ..ConfigState::absent(key(data_id), Version(version)) });
        self.stored.states.borrow_mut().insert(state.key.clone(), Arc::clone(&state));
        state
    }

    fn publish(&self, data_id: &str, version: u64) {
        let state = self.store(data_id, version);
        self.bus.do_send(event_bus::Publish(ConfigEvent::Changed(Arc::from([state]))));
    }

    /// Lets everything happen that needs no time.
    async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// All that was said.
    async fn received(&self) -> Vec<String> {
        self.settle().await;
        std::iter::from_fn(|| self.said.borrow_mut().try_recv().ok()).collect()
    }

    /// Lets time pass; what was said meanwhile.
    async fn wait(&self, time: Duration) -> Vec<String> {
        tokio::time::sleep(time).await;
        self.received().await
    }

    fn ended(&self, reason: &'static str) -> u64 {
        self.metrics.session.ended.get_or_create(&EndLabel { reason }).get()
    }
}

#[test]
fn a_client_that_says_nothing_is_let_go_in_time() {
    run(async |testbed| {
        assert_eq!(testbed.wait(HELLO - Duration::from_millis(1)).await, [""; 0]);
        assert_eq!(testbed.wait(Duration::from_millis(2)).await, ["0: failed: HelloLate", "closed"]);
        assert_eq!((testbed.ended("hello_late"), testbed.session.connected()), (1, false));
    });
}

#[test]
fn a_client_that_asks_before_it_says_who_it_is_is_let_go() {
    run(async |testbed| {
        testbed.ask(1, Request::Get(key("a")));
        assert_eq!(testbed.received().await, ["0: failed: HelloExpected", "closed"]);
    });
}

#[test]
fn a_second_hello_is_refused_and_the_session_goes_on() {
    run(async |testbed| {
        testbed.welcomed().await;
        testbed.ask(2, hello());
        let refused = testbed.received().await;
        assert!(refused.len() == 1 && refused[0].starts_with("2: failed: Form(UnknownRequest,"), "{refused:?}");
        testbed.ask(0, hello());
        testbed.ask(3, Request::Ping(7));
        assert_eq!(testbed.received().await, ["3: pong 7"]);
        assert!(testbed.wait(HELLO).await.iter().all(|said| said.starts_with("0: ping")), "hello was said in time");
    });
}

#[test]
fn a_silent_client_is_pinged_twice_and_then_let_go() {
    run(async |testbed| {
        testbed.welcomed().await;
        assert_eq!(testbed.wait(IDLE).await, ["0: ping 1", "0: ping 2"]);
        assert_eq!(testbed.wait(Duration::from_secs(1)).await, ["0: failed: Idle", "closed"]);
        assert_eq!(testbed.ended("session_idle"), 1);
    });
}

#[test]
fn a_watch_is_registered_first_and_read_second() {
    run(async |testbed| {
        testbed.store("a", 3);
        testbed.welcomed().await;
        testbed.stored.is_slow.set(true);
        testbed.ask(2, watch("a"));
        assert_eq!(testbed.received().await, [""; 0]);
        // It was read already, and is old by now.
        testbed.publish("a", 4);
        assert_eq!(testbed.received().await, ["0: push a at 4"]);
        testbed.stored.is_slow.set(false);
        testbed.stored.go.notify_waiters();
        assert_eq!(testbed.received().await, ["2: watching"]);
    });
}

#[test]
fn a_slow_connection_gets_the_newest_state_only() {
    run(async |testbed| {
        testbed.welcomed().await;
        testbed.ask(2, watch("a"));
        assert_eq!(testbed.received().await, ["2: watching"]);
        testbed.is_stuck.set(true);
        for version in 1..20 {
            testbed.publish("a", version);
            testbed.settle().await;
        }
        testbed.is_stuck.set(false);
        testbed.go.notify_waiters();
        assert_eq!(testbed.received().await, ["0: push a at 1", "0: push a at 19"]);
    });
}

#[test]
fn what_no_event_told_is_found_when_the_session_looks_again() {
    run(async |testbed| {
        testbed.welcomed().await;
        testbed.ask(2, watch("a"));
        assert_eq!(testbed.received().await, ["2: watching"]);
        testbed.store("a", 1);
        testbed.bus.do_send(event_bus::Publish(ConfigEvent::Recheck));
        assert_eq!(testbed.received().await, ["0: push a at 1"]);
    });
}

#[test]
fn no_more_is_read_than_may_be_under_way() {
    run(async |testbed| {
        testbed.store("a", 1);
        testbed.welcomed().await;
        testbed.stored.is_slow.set(true);
        testbed.ask(2, Request::Get(key("a")));
        testbed.ask(3, Request::Get(key("a")));
        testbed.ask(4, Request::Ping(1));
        assert_eq!(testbed.received().await, [""; 0]);
        testbed.stored.is_slow.set(false);
        testbed.stored.go.notify_waiters();
        assert_eq!(testbed.received().await, ["2: a at 1", "3: a at 1", "4: pong 1"]);
    });
}

#[test]
fn a_node_that_stops_says_where_to_go_and_answers_what_is_under_way() {
    run(async |testbed| {
        testbed.store("a", 1);
        testbed.welcomed().await;
        testbed.stored.is_slow.set(true);
        testbed.ask(2, Request::Get(key("a")));
        testbed.settle().await;
        testbed.coordinator.do_send(coordinator::Drain(Arc::from(["n2:8850".to_owned()])));
        assert_eq!(testbed.received().await, ["0: go to n2:8850"]);
        assert_eq!(testbed.wait(LINGER * 2).await, [""; 0], "an answer is owed");
        testbed.stored.is_slow.set(false);
        testbed.stored.go.notify_waiters();
        assert_eq!(testbed.received().await, ["2: a at 1"]);
        assert_eq!(testbed.wait(LINGER).await, ["closed"]);
        assert_eq!((testbed.ended("drained"), testbed.session.connected()), (1, false));
    });
}

#[test]
fn an_answer_that_comes_while_the_session_closes_is_not_said() {
    run(async |testbed| {
        testbed.store("a", 1);
        testbed.welcomed().await;
        testbed.stored.is_slow.set(true);
        testbed.ask(2, Request::Get(key("a")));
        testbed.settle().await;
        testbed.is_stuck.set(true);
        let malformed = Fault::Form(ErrorCode::MalformedRequest, "a test".to_owned());
        testbed.client.send(InboundMessage { id: 0, bytes: 1, request: Err(malformed) }).unwrap();
        testbed.settle().await;
        testbed.stored.is_slow.set(false);
        testbed.stored.go.notify_waiters();
        testbed.settle().await;
        testbed.is_stuck.set(false);
        testbed.go.notify_waiters();
        assert_eq!(testbed.received().await, ["0: failed: Form(MalformedRequest, \"a test\")", "closed"]);
    });
}

#[test]
fn a_client_that_closes_gives_its_seat_and_its_watches_back() {
    run(async |testbed| {
        let Testbed { client, coordinator, session, said, .. } = {
            testbed.welcomed().await;
            testbed.ask(2, watch("a"));
            assert_eq!(testbed.received().await, ["2: watching"]);
            testbed
        };
        let watches = async || coordinator.send(coordinator::CountWatches).await.unwrap();
        assert_eq!(watches().await, 1);
        drop(client);
        while session.connected() {
            tokio::task::yield_now().await;
        }
        assert_eq!(watches().await, 0);
        drop(said);
    });
}

#[test]
fn who_asks_for_more_work_than_it_may_is_read_later() {
    run(async |testbed| {
        testbed.welcomed().await;
        testbed.ask(2, Request::Unwatch(vec![Selector::of_key(&key("a")); 15_000]));
        testbed.ask(3, Request::Ping(7));
        assert_eq!(testbed.wait(Duration::from_millis(400)).await, ["2: unwatched"]);
        assert_eq!(testbed.wait(Duration::from_millis(200)).await, ["3: pong 7"]);
    });
}
