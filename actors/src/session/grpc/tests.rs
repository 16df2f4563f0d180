//! The actor on paused time, over the real coordinator and event bus, reads that the test answers, and a stream of
//! which the test takes what it is told. Holds no rule of the conversation: those are tested where they are, in
//! `callboard_protocol::nacos`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod patterns;
mod requests;

use actix::Addr;
use callboard_protocol::clients::{ClientFilter, ClientQuery, ClientSeen};
use callboard_protocol::config::{SharedState, Version};
use callboard_protocol::content::{Md5, Reported};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::member::NodeId;
use callboard_protocol::session::client::{ClientId, ClientKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::message::{Fault, Listen, Listening, Query, Unlisten};
use super::*;
use crate::cache::reader::{Get, GetMany};
use crate::conf_manager::Publish;
use crate::coordinator::connections::ListClients;
use crate::coordinator::{self, Coordinator, CountWatches, Drain, WatchRefused};
use crate::event_bus::{self, ConfigEvent, EventBus, PushNews, SubscribePushes};
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, start, start_once};
use crate::store_reader::SearchConfigs;
use crate::testbed::{self, DEADLINE, Desk, Questions, Received, Witness, advance, key, query, run, settle};

const LISTENS: usize = 3;
const IDLE: Duration = Duration::from_secs(30);
const WRITE: Duration = Duration::from_secs(10);
const PUBLISH: Duration = Duration::from_secs(2);
const ALLOWANCE: Allowance = Allowance { frames: 1_000, bytes: 1 << 20, work: 10_000 };
const TICK: Duration = Duration::from_millis(1);

struct Testbed {
    metrics: Metrics,
    bus: Addr<EventBus>,
    coordinator: Addr<Coordinator>,
    session: Addr<GrpcSession>,
    states: HashMap<ConfigKey, SharedState>,
    many: Questions<GetMany>,
    one: Questions<Get>,
    search: Questions<SearchConfigs>,
    publishes: Questions<Publish>,
    pushes: Received<PushNews>,
    connection: oneshot::Receiver<()>,
}

/// A stream, and the number of the notice that it told last.
struct ClientStream {
    number: u64,
    notices: mpsc::Receiver<Box<Notice>>,
    last: u64,
}

impl ClientStream {
    /// All that it told.
    async fn received(&mut self) -> Vec<String> {
        settle().await;
        let mut heard = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            let (number, said) = match *notice {
                Notice::Ready(number) => (number, "ready".to_owned()),
                Notice::Detection(number) => (number, "are you there?".to_owned()),
                Notice::Changed { number, key, tenant } => (number, format!("changed {} of {tenant}", key.data_id())),
                Notice::Matched { number, key, is_there } => {
                    (number, format!("{} is {}", key.data_id(), if is_there { "there" } else { "gone" }))
                }
                Notice::Sync { number, part, sync, .. } => {
                    let keys = sync.keys.iter().map(|(key, is_there)| format!(" {} {is_there}", key.data_id()));
                    (number, format!("{part:?}:{}", keys.collect::<String>()))
                }
            };
            self.last = number;
            heard.push(said);
        }
        heard
    }

    /// The node has completed it.
    fn is_complete(&self) -> bool {
        self.notices.is_closed() && self.notices.is_empty()
    }
}

fn client() -> Client {
    let identity = ClientIdentity::default();
    Client { id: ClientId("c".into()), kind: ClientKind::Grpc, identity, software: "Nacos-Java-Client:v2.5.1".into() }
}

/// A request of a client that listens to these, and holds these contents of them.
fn listen(held: &[(&str, &str)]) -> Entered<Listen> {
    let listening = |(data_id, text): &(&str, &str)| Listening {
        key: Some(key(data_id)),
        tenant: "t".to_owned(),
        reported: Reported::Content((!text.is_empty()).then(|| Md5::of(text.as_bytes()))),
    };
    entered(Listen(held.iter().map(listening).collect()))
}

fn entered<M>(asks: M) -> Entered<M> {
    Entered { enter: Enter { class: "a", bytes: 10, needs_setup: true }, asks }
}

impl Testbed {
    async fn start() -> Self {
        Self::with_watches(10).await
    }

    /// A session on a thread where so many watches of sessions may be held.
    async fn with_watches(session_watches: usize) -> Self {
        Self::with(LISTENS, session_watches).await
    }

    /// The same, that may listen to so many configurations.
    async fn with(listens: usize, session_watches: usize) -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let from = bus.clone();
        let coordinator = start(&Spec::new(&registry, "coordinator"), move |_| {
            Coordinator::new(from.clone(), coordinator::Capacity { watches: 10, session_watches }, NodeId("n1".into()))
        });
        let ((get_many, many), (get, one)) = (Desk::open(), Desk::open());
        let ((searching, search), (publish, publishes)) = (Desk::open(), Desk::open());
        let shared = Shared {
            options: Options {
                listens,
                allowance: ALLOWANCE,
                write: WRITE,
                idle: IDLE,
                read: DEADLINE,
                publish: PUBLISH,
                serve_stale: false,
            },
            deps: Deps {
                coordinator: coordinator.clone(),
                get,
                get_many,
                get_stale: Desk::open().0,
                list: Desk::open().0,
                keys: Desk::open().0,
                search: searching,
                publish,
            },
            clock: testbed::clock(),
            push: metrics.push.clone(),
            grpc: metrics.grpc.clone(),
        };
        settle().await;
        let (witness, pushes) = Witness::start();
        query(&bus, SubscribePushes(witness)).await;
        let (closing, connection) = oneshot::channel();
        let spec = Spec::new(&registry, "grpc_session");
        let session = start_once(&spec, move |_| GrpcSession::new(Arc::new(shared), SessionNumber(1), closing));
        let states = HashMap::new();
        Self { metrics, bus, coordinator, session, states, many, one, search, publishes, pushes, connection }
    }

    /// The client opens a stream that holds so many notices.
    async fn open_stream(&self, room: usize) -> ClientStream {
        let (outlet, notices) = mpsc::channel(room);
        let number = query(&self.session, OpenStream(outlet)).await;
        ClientStream { number, notices, last: 0 }
    }

    fn send(&self, stream: &ClientStream, message: StreamMessage) {
        self.session.do_send(InboundMessage { stream: stream.number, bytes: 10, message });
    }

    /// The client says who it is.
    async fn set_up(&self, stream: &ClientStream, wants_ready: bool) {
        self.send(stream, StreamMessage::SetUp { client: Box::new(client()), wants_ready });
        settle().await;
    }

    /// A client that is set up.
    async fn joined(&self) -> ClientStream {
        let stream = self.open_stream(4).await;
        self.set_up(&stream, false).await;
        stream
    }

    /// Asks, and does not wait for the answer.
    fn ask<M>(&self, message: M) -> JoinHandle<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        GrpcSession: Handler<M>,
    {
        let session = self.session.clone();
        actix::spawn(async move { query(&session, message).await })
    }

    /// Answers the next read of many keys.
    async fn read(&mut self) {
        let states = &self.states;
        let absent = |key: &ConfigKey| testbed::state(key.data_id(), 0, "");
        let read = |key: &ConfigKey| states.get(key).cloned().unwrap_or_else(|| absent(key));
        self.many.answer(|asked| Ok(asked.keys.iter().map(read).collect())).await;
    }

    /// Listens, and answers which differ.
    async fn listen(&mut self, held: &[(&str, &str)]) -> Vec<bool> {
        let listening = self.ask(listen(held));
        self.read().await;
        listening.await.unwrap().unwrap().unwrap()
    }

    /// Queries a configuration: from then on the client has it.
    async fn query(&mut self, data_id: &str) {
        let querying = self.ask(entered(Query {
            key: key(data_id),
            is_for_all: true,
            secrets: callboard_protocol::gray::Secrets::Hidden,
        }));
        let states = &self.states;
        self.one.answer(|Get { key }| Ok(SharedState::clone(&states[key]))).await;
        querying.await.unwrap().unwrap().unwrap();
    }

    fn store(&mut self, data_id: &str, version: u64, text: &str) -> SharedState {
        let state = testbed::state(data_id, version, text);
        self.states.insert(key(data_id), SharedState::clone(&state));
        state
    }

    async fn publish(&mut self, data_id: &str, version: u64, text: &str) {
        let state = self.store(data_id, version, text);
        self.bus.do_send(event_bus::Publish(ConfigEvent::Changed(Arc::from([state]))));
        settle().await;
    }

    /// Lets so many seconds pass, in each of which the client says something of no consequence. What it was told in
    /// which.
    async fn pass(&self, stream: &mut ClientStream, seconds: u64) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        for second in 1..=seconds {
            self.send(stream, StreamMessage::Other);
            advance(Duration::from_secs(1)).await;
            told.extend(stream.received().await.into_iter().map(|said| (second, said)));
        }
        told
    }

    async fn clients(&self) -> Vec<ClientSeen> {
        let asked = ClientQuery { filter: ClientFilter::default(), after: None, limit: 10, keys: 10 };
        query(&self.coordinator, ListClients(asked)).await.items
    }

    async fn watches(&self) -> usize {
        query(&self.coordinator, CountWatches).await
    }

    /// What the account of the node was told meanwhile.
    async fn steps(&self) -> Vec<(Version, PushStep)> {
        advance(Duration::from_millis(50)).await;
        let steps = self.pushes.take().into_iter().flat_map(|news| match news {
            PushNews::Happened(events) => events.iter().map(|event| (event.version, event.step.clone())).collect(),
            PushNews::Missed => Vec::new(),
        });
        steps.collect()
    }

    fn ended(&self, reason: &'static str) -> u64 {
        self.metrics.grpc.ended.get_or_create(&EndLabel { reason }).get()
    }

    fn is_closed(&mut self) -> bool {
        self.connection.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }
}

#[test]
fn a_request_before_the_connection_is_set_up_waits_for_a_while_and_is_refused() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.open_stream(4).await;
        let (listening, entering) =
            (testbed.ask(listen(&[("a", "")])), testbed.ask(Enter { class: "a", bytes: 1, needs_setup: true }));
        advance(SETUP - TICK).await;
        assert!(!listening.is_finished() && !entering.is_finished());
        advance(TICK).await;
        assert!(listening.await.unwrap().is_none());
        assert!(!entering.await.unwrap());
        testbed.many.none().await;
        assert_eq!(testbed.watches().await, 0);
    });
}

#[test]
fn a_request_that_needs_no_set_up_enters_at_once() {
    run(async || {
        let testbed = Testbed::start().await;
        assert!(!query(&testbed.session, Enter { class: "a", bytes: 1, needs_setup: false }).await);
        let _stream = testbed.joined().await;
        assert!(query(&testbed.session, Enter { class: "a", bytes: 1, needs_setup: true }).await);
    });
}

#[test]
fn a_request_that_waits_goes_on_when_the_connection_is_set_up() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let stream = testbed.open_stream(4).await;
        let listening = testbed.ask(listen(&[("a", "")]));
        advance(SETUP / 2).await;
        testbed.set_up(&stream, false).await;
        testbed.read().await;
        assert_eq!(listening.await.unwrap().unwrap().unwrap(), [false]);
    });
}

#[test]
fn a_client_that_says_who_it_is_is_registered_and_told_that_it_is_set_up() {
    run(async || {
        let testbed = Testbed::start().await;
        let mut stream = testbed.open_stream(4).await;
        settle().await;
        assert_eq!(testbed.clients().await, []);
        testbed.set_up(&stream, true).await;
        assert_eq!(stream.received().await, ["ready"]);
        let clients = testbed.clients().await;
        assert_eq!((clients.len(), &clients[0].client, clients[0].place.session), (1, &client(), SessionNumber(1)));
        testbed.set_up(&stream, true).await;
        assert_eq!(stream.received().await, [""; 0], "it is set up once");
    });
}

#[test]
fn a_client_that_does_not_wait_for_it_is_not_told_that_it_is_set_up() {
    run(async || {
        let testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(stream.received().await, [""; 0]);
        assert_eq!(testbed.clients().await.len(), 1);
    });
}

#[test]
fn a_client_is_refused_that_comes_to_a_node_that_stops() {
    run(async || {
        let mut testbed = Testbed::start().await;
        query(&testbed.coordinator, Drain(Arc::from([]))).await;
        let stream = testbed.joined().await;
        assert!(testbed.is_closed() && stream.is_complete() && !testbed.session.connected());
        assert_eq!(testbed.ended("refused"), 1);
    });
}

#[test]
fn a_listen_is_registered_first_and_read_second_and_answered_with_what_differs() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        testbed.store("a", 3, "x");
        testbed.store("b", 4, "y");
        let listening = testbed.ask(listen(&[("a", "x"), ("b", "x"), ("c", "")]));
        let (asked, reply) = testbed.many.next().await;
        assert_eq!(asked.keys, [key("a"), key("b"), key("c")]);
        assert_eq!(testbed.watches().await, 3, "registered before it is read");
        let read =
            Ok(vec![testbed.states[&key("a")].clone(), testbed.states[&key("b")].clone(), testbed::state("c", 0, "")]);
        reply.send(read).unwrap();
        assert_eq!(listening.await.unwrap().unwrap().unwrap(), [false, true, false]);
        // Somebody who did not listen to the answer is told once more.
        assert_eq!(testbed.pass(&mut stream, 2).await, [(2, "changed b of t".to_owned())]);
    });
}

#[test]
fn a_name_that_none_can_have_differs_from_whatever_is_not_nothing() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        let nameless = |reported| Listening { key: None, tenant: String::new(), reported };
        let asked = vec![nameless(Reported::Content(None)), nameless(Reported::Content(Some(Md5::of(b"x"))))];
        assert_eq!(query(&testbed.session, entered(Listen(asked))).await.unwrap().unwrap(), [false, true]);
        testbed.many.none().await;
    });
}

#[test]
fn what_changes_while_it_is_read_is_told_and_what_was_read_does_not_hide_it() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        let old = testbed.store("a", 3, "x");
        let listening = testbed.ask(listen(&[("a", "x")]));
        let (_, reply) = testbed.many.next().await;
        testbed.publish("a", 4, "y").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        reply.send(Ok(vec![old])).unwrap();
        assert_eq!(listening.await.unwrap().unwrap().unwrap(), [true]);
    });
}

#[test]
fn a_change_is_told_once_and_not_again_when_it_is_acknowledged_and_asked_for() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, [""; 0], "it is known already");
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        testbed.query("a").await;
        assert_eq!(testbed.pass(&mut stream, 60).await, []);
        let notices = &testbed.metrics.grpc.notices;
        assert_eq!((notices.sent.get(), notices.acknowledged.get(), notices.repeated.get()), (1, 1, 0));
        assert_eq!(testbed.steps().await, [(Version(1), PushStep::Sent), (Version(1), PushStep::Received)]);
    });
}

#[test]
fn a_change_while_another_is_under_way_is_told_when_that_is_acknowledged() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        testbed.publish("a", 2, "y").await;
        testbed.publish("a", 3, "z").await;
        assert_eq!(stream.received().await, [""; 0]);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        assert_eq!(stream.received().await, ["changed a of t"]);
    });
}

#[test]
fn a_notice_that_nobody_acknowledges_is_repeated_and_given_up() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        let told = testbed.pass(&mut stream, 120).await;
        // Three seconds of patience, and a pause that grows by two.
        let times: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(times, [5, 12, 21, 32]);
        assert!(told.iter().all(|(_, said)| said == "changed a of t"), "{told:?}");
        let notices = &testbed.metrics.grpc.notices;
        assert_eq!((notices.sent.get(), notices.repeated.get(), notices.given_up.get()), (1, 4, 1));
        testbed.publish("a", 2, "y").await;
        assert_eq!(stream.received().await, ["changed a of t"], "a later change is told all the same");
    });
}

#[test]
fn a_notice_that_the_client_could_not_take_or_did_not_follow_is_repeated() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, false));
        assert_eq!(testbed.pass(&mut stream, 2).await, [(2, "changed a of t".to_owned())], "it could not");
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        assert_eq!(testbed.pass(&mut stream, 2).await, [(2, "changed a of t".to_owned())], "it never asked");
    });
}

#[test]
fn what_a_client_does_not_listen_to_any_longer_is_not_told() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", ""), ("b", "")]).await, [false, false]);
        assert!(query(&testbed.session, entered(Unlisten(vec![key("a")]))).await.is_some());
        assert_eq!(testbed.watches().await, 1);
        testbed.publish("a", 1, "x").await;
        testbed.publish("b", 2, "x").await;
        assert_eq!(stream.received().await, ["changed b of t"]);
    });
}

#[test]
fn no_more_is_listened_to_than_may_be() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", ""), ("b", ""), ("c", "")]).await, [false; LISTENS]);
        let refused = testbed.ask(listen(&[("c", ""), ("d", "")])).await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::TooManyWatches(LISTENS))), "{refused:?}");
        assert_eq!(testbed.watches().await, LISTENS, "nothing of it is listened to");
        assert_eq!(testbed.listen(&[("a", ""), ("c", "")]).await, [false, false], "these are not new");
        assert!(query(&testbed.session, entered(Unlisten(vec![key("a")]))).await.is_some());
        assert_eq!(testbed.listen(&[("d", "")]).await, [false]);
    });
}

#[test]
fn what_the_coordinator_has_no_room_for_is_refused_and_not_listened_to() {
    run(async || {
        let mut testbed = Testbed::with_watches(1).await;
        let mut stream = testbed.joined().await;
        let refused = testbed.ask(listen(&[("a", ""), ("b", "")])).await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::Watch(WatchRefused::Full))), "{refused:?}");
        assert_eq!(
            (testbed.clients().await[0].keys.len(), testbed.watches().await),
            (0, 0),
            "nothing of it is listened to"
        );
        testbed.publish("b", 1, "x").await;
        testbed.publish("a", 2, "x").await;
        assert_eq!(stream.received().await, [""; 0]);
        assert_eq!(testbed.listen(&[("a", "")]).await, [true], "the place is free again");
    });
}

#[test]
fn a_listen_that_is_refused_leaves_what_was_listened_to_before() {
    run(async || {
        let mut testbed = Testbed::with_watches(1).await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        let refused = testbed.ask(listen(&[("a", ""), ("b", "")])).await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::Watch(WatchRefused::Full))), "{refused:?}");
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
    });
}

#[test]
fn a_listen_is_refused_too_whose_configurations_are_not_registered_yet_by_one_that_is() {
    run(async || {
        let mut testbed = Testbed::with_watches(1).await;
        let _stream = testbed.joined().await;
        let listenings = [testbed.ask(listen(&[("a", ""), ("b", "")])), testbed.ask(listen(&[("a", "")]))];
        for listening in listenings {
            let refused = listening.await.unwrap().unwrap();
            assert!(matches!(refused, Err(Fault::Watch(WatchRefused::Full))), "{refused:?}");
        }
        testbed.many.none().await;
        assert_eq!((testbed.clients().await[0].keys.len(), testbed.watches().await), (0, 0));
    });
}

#[test]
fn a_stream_that_ends_gives_the_registration_back() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        testbed.session.do_send(StreamEnded(stream.number));
        settle().await;
        assert_eq!((testbed.clients().await, testbed.watches().await), (Vec::new(), 0));
        assert!(!testbed.is_closed() && testbed.session.connected(), "the connection lives on");
        assert_eq!(testbed.steps().await, [(Version(1), PushStep::Sent), (Version(1), PushStep::Lost)]);
        let listening = testbed.ask(listen(&[("a", "")]));
        advance(SETUP).await;
        assert!(listening.await.unwrap().is_none(), "it is not set up any longer");
    });
}

#[test]
fn a_second_stream_takes_over_and_the_client_begins_anew() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let first = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        let listening = testbed.ask(listen(&[("b", "")]));
        let (_, reply) = testbed.many.next().await;
        let mut second = testbed.open_stream(4).await;
        assert!(first.is_complete());
        assert_eq!((testbed.clients().await, testbed.watches().await), (Vec::new(), 0));
        testbed.set_up(&first, true).await;
        assert_eq!(testbed.clients().await, [], "what comes over the first does not count");
        testbed.set_up(&second, true).await;
        assert_eq!(second.received().await, ["ready"]);
        reply.send(Ok(vec![testbed::state("b", 1, "x")])).unwrap();
        let former = listening.await.unwrap().unwrap();
        assert!(matches!(former, Err(Fault::Leaving)), "{former:?}");
        testbed.session.do_send(StreamEnded(first.number));
        settle().await;
        assert_eq!((testbed.clients().await.len(), testbed.watches().await), (1, 0));
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.publish("a", 1, "x").await;
        assert_eq!(second.received().await, ["changed a of t"]);
    });
}

#[test]
fn a_connection_that_ends_gives_the_registration_back() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.session.do_send(ConnectionEnded);
        settle().await;
        assert_eq!((testbed.clients().await, testbed.watches().await), (Vec::new(), 0));
        assert!(stream.is_complete() && !testbed.session.connected());
        assert_eq!(testbed.ended("closed"), 1);
    });
}

#[test]
fn a_connection_that_ends_while_it_is_being_registered_leaves_nothing_behind() {
    run(async || {
        let testbed = Testbed::start().await;
        let stream = testbed.open_stream(4).await;
        testbed.send(&stream, StreamMessage::SetUp { client: Box::new(client()), wants_ready: true });
        testbed.session.do_send(ConnectionEnded);
        settle().await;
        assert_eq!(testbed.clients().await, []);
        assert!(!testbed.session.connected());
    });
}

#[test]
fn a_node_that_stops_closes_what_is_not_set_up_and_waits_with_what_is() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let stream = testbed.open_stream(4).await;
        testbed.session.do_send(Stopping);
        settle().await;
        assert!(testbed.is_closed() && stream.is_complete());
        assert_eq!(testbed.ended("drained"), 1);

        let mut testbed = Testbed::start().await;
        let stream = testbed.joined().await;
        testbed.session.do_send(Stopping);
        settle().await;
        assert!(!testbed.is_closed() && !stream.is_complete(), "it is told by the coordinator");
        testbed.session.do_send(StreamEnded(stream.number));
        settle().await;
        assert!(testbed.is_closed());
        assert_eq!(testbed.ended("drained"), 1);
    });
}

#[test]
fn a_node_that_drains_completes_the_stream_and_answers_what_is_under_way() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let stream = testbed.joined().await;
        let listening = testbed.ask(listen(&[("a", "")]));
        let (_, reply) = testbed.many.next().await;
        query(&testbed.coordinator, Drain(Arc::from([]))).await;
        settle().await;
        assert!(testbed.is_closed() && stream.is_complete());
        reply.send(Ok(vec![testbed::state("a", 1, "x")])).unwrap();
        assert_eq!(listening.await.unwrap().unwrap().unwrap(), [true]);
        assert!(testbed.open_stream(4).await.is_complete(), "another one is complete at once");
        assert_eq!(testbed.ended("drained"), 1, "counted once");
    });
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there_and_let_go() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        advance(IDLE * 2 / 3 + TICK).await;
        assert_eq!(stream.received().await, ["are you there?"]);
        assert!(testbed.clients().await[0].is_idle);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        settle().await;
        assert!(!testbed.clients().await[0].is_idle, "it is there");
        let after_the_next_look = Duration::from_secs(6);
        advance(after_the_next_look).await;
        advance(IDLE * 2 / 3 - after_the_next_look + 2 * TICK).await;
        assert_eq!(stream.received().await, ["are you there?"]);
        advance(IDLE / 6 + TICK).await;
        assert!(testbed.is_closed() && !testbed.session.connected());
        assert_eq!((testbed.ended("silent"), testbed.clients().await), (1, Vec::new()));
    });
}

#[test]
fn a_client_that_reads_nothing_is_told_no_more_and_let_go() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.open_stream(1).await;
        testbed.set_up(&stream, false).await;
        assert_eq!(testbed.listen(&[("a", ""), ("b", "")]).await, [false, false]);
        testbed.publish("a", 1, "x").await;
        testbed.publish("b", 2, "x").await;
        advance(WRITE - TICK).await;
        assert_eq!(stream.received().await.first().unwrap(), "changed a of t");
        assert_eq!(stream.received().await, ["changed b of t"], "it goes on when there is room");
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        testbed.publish("a", 3, "y").await;
        testbed.publish("b", 4, "y").await;
        advance(WRITE - TICK).await;
        assert!(!testbed.is_closed());
        advance(2 * TICK).await;
        assert!(testbed.is_closed() && !testbed.session.connected());
        assert_eq!(testbed.ended("stalled"), 1);
    });
}

#[test]
fn what_no_event_told_is_found_when_the_session_looks_again() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed.store("a", 1, "x");
        testbed.bus.do_send(event_bus::Publish(ConfigEvent::Recheck));
        let (_, reply) = testbed.many.next().await;
        reply.send(Err(crate::cache::ReadFailure::TimedOut)).unwrap();
        testbed.many.none().await;
        advance(RETRY).await;
        testbed.read().await;
        assert_eq!(stream.received().await, ["changed a of t"]);
    });
}

#[test]
fn a_coordinator_that_was_rebuilt_is_told_of_client_and_watches_again() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        assert_eq!(testbed.listen(&[("a", "")]).await, [false]);
        testbed::rebuild(&testbed.coordinator).await;
        testbed.store("a", 1, "x");
        testbed.read().await;
        assert_eq!(stream.received().await, ["changed a of t"]);
        assert_eq!((testbed.clients().await.len(), testbed.watches().await), (1, 1));
        testbed.publish("a", 2, "y").await;
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        assert_eq!(stream.received().await, ["changed a of t"]);
    });
}

#[test]
fn who_sends_faster_than_it_may_is_answered_later() {
    run(async || {
        let testbed = Testbed::start().await;
        let bytes = 3 * usize::try_from(ALLOWANCE.bytes).unwrap();
        let entering = testbed.ask(Enter { class: "a", bytes, needs_setup: false });
        advance(Duration::from_secs(2) - TICK).await;
        assert!(!entering.is_finished());
        advance(2 * TICK).await;
        assert!(entering.is_finished());
    });
}

#[test]
fn who_asks_for_more_work_than_it_may_is_answered_later() {
    run(async || {
        let testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        let leave = || entered(Unlisten(vec![key("a"); 9_000]));
        assert!(testbed.ask(leave()).await.unwrap().is_some(), "a second's worth is saved up");
        let leaving = testbed.ask(leave());
        advance(Duration::from_millis(800) - TICK).await;
        assert!(!leaving.is_finished());
        advance(2 * TICK).await;
        assert!(leaving.await.unwrap().is_some());
    });
}

/// Names of many configurations, none of which the client has.
fn many() -> Vec<String> {
    (0..1_000).map(|number| format!("many-{number:04}")).collect()
}

fn listen_to_many() -> Entered<Listen> {
    let names = many();
    listen(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>())
}

#[test]
fn a_client_listens_to_very_many_and_is_answered_of_each_in_its_place() {
    run(async || {
        let mut testbed = Testbed::with(1_000, 1_000).await;
        let mut stream = testbed.joined().await;
        testbed.store("many-0003", 1, "x");
        testbed.store("many-0999", 2, "x");
        let listening = testbed.ask(listen_to_many());
        testbed.read().await;
        testbed.read().await;
        let changed = listening.await.unwrap().unwrap().unwrap();
        let changed: Vec<usize> = changed.iter().enumerate().filter(|(_, is)| **is).map(|(at, _)| at).collect();
        assert_eq!(changed, [3, 999]);
        assert_eq!(testbed.watches().await, 1_000);
        testbed.publish("many-0500", 3, "x").await;
        assert_eq!(stream.received().await, ["changed many-0500 of t"]);
        let refused = query(&testbed.session, listen(&[("one-more", "")])).await.unwrap();
        assert!(matches!(refused, Err(Fault::TooManyWatches(1_000))), "{refused:?}");
    });
}

#[test]
fn what_a_client_says_of_very_many_is_taken_in_as_it_came() {
    run(async || {
        let mut testbed = Testbed::with(1_000, 1_000).await;
        let mut stream = testbed.joined().await;
        let keys = || many().iter().map(|name| key(name)).collect();
        let listening = testbed.ask(listen_to_many());
        let leaving = testbed.ask(entered(Unlisten(keys())));
        let again = testbed.ask(listen(&[("many-0999", ""), ("a", "")]));
        while !(listening.is_finished() && leaving.is_finished() && again.is_finished()) {
            settle().await;
            if let Some((asked, reply)) = testbed.many.try_next() {
                reply.send(Ok(asked.keys.iter().map(|key| testbed::state(key.data_id(), 0, "")).collect())).unwrap();
            }
        }
        assert!(leaving.await.unwrap().is_some());
        assert_eq!(again.await.unwrap().unwrap().unwrap(), [false, false]);
        settle().await;
        assert_eq!(testbed.watches().await, 2, "it listens to what it said last");
        testbed.publish("many-0001", 3, "x").await;
        testbed.publish("many-0999", 4, "x").await;
        assert_eq!(stream.received().await, ["changed many-0999 of t"]);
    });
}
