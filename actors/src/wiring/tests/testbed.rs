//! A node on SQLite in a directory of its own, with two workers on the test's thread, and what tests do with it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::Arbiter;
use callboard_protocol::config::{MetadataEdit, SharedState, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::extent::Extent;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::lease::{BeginResult, Evidence};
use callboard_protocol::long_poll::{Holding, Watched};
use callboard_protocol::member::NodeId;
use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::push_ledger::SessionNumber;
use callboard_protocol::session::client::{Client, ClientId, ClientKind};
use callboard_protocol::session::pace::Allowance;
use callboard_protocol::time::WallMillis;
use callboard_protocol::watch::Selector;
use callboard_protocol::wire::condition::ReadCondition;
use callboard_protocol::write_request::{
    Change, Condition, Expected, Fingerprint, KeyWrite, Origin, RequestId, Source, WriteOutcome, WriteRequest,
};
use callboard_protocol::{lease, publish, receiver};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::cache::CacheOptions;
use crate::cache::reader::Get;
use crate::clock::SystemClock;
use crate::conf_manager::Publish;
use crate::lease_keeper::{GetStanding, LeaseOptions, Standing};
use crate::long_poll::{Hold, PollAnswer};
use crate::runtime::{Spec, ask, start, start_once};
use crate::session::grpc::message::{InboundMessage, Notice, OpenStream, StreamMessage};
use crate::session::grpc::{self, GrpcSession};
use crate::session::stream::{self, Frame, Outlet, StreamRequest, StreamSession};
use crate::store;
use crate::wiring::{Node, NodeOptions, Threads, Way, Worker};

const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Testbed {
    pub(super) node: Node,
    pub(super) workers: Vec<Worker>,
    published: Cell<usize>,
    streams: Cell<u64>,
    directory: Rc<tempfile::TempDir>,
}

pub(super) fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

pub(super) fn text(state: &callboard_protocol::config::ConfigState) -> Option<String> {
    let content = state.formal.as_ref()?;
    Some(String::from_utf8(content.bytes().to_vec()).unwrap())
}

/// The next state of a stream: data id, version, content.
pub(super) async fn next_state(frames: &mut mpsc::Receiver<Frame>) -> (String, Version, Option<String>) {
    loop {
        let frame = tokio::time::timeout(DEADLINE, frames.recv()).await.unwrap().expect("the stream ended");
        if let Frame::State { state, .. } = frame {
            return (state.key.data_id().to_owned(), state.version, text(&state));
        }
    }
}

/// Follows one key by long polls, as a client does, until it has this content.
pub(super) async fn poll_until(testbed: Rc<Testbed>, data_id: String, end: &str) {
    let mut held: Option<Md5> = None;
    while held != Some(Md5::of(end.as_bytes())) {
        match testbed.poll(&data_id, held, Duration::from_secs(60)).await {
            Ok(PollAnswer::Changed(records)) => {
                assert_eq!(records, [0]);
                held = testbed.get(&data_id).await.formal.as_ref().map(Content::md5);
            }
            // An actor on the way is being rebuilt.
            Ok(PollAnswer::Failed(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(other) => panic!("{other:?}"),
        }
    }
}

/// Publishes rising numbers to one key until told to stop.
pub(super) async fn publish_until(testbed: Rc<Testbed>, data_id: String, stop: Rc<Cell<bool>>) {
    let mut last = Version::ZERO;
    for n in 0.. {
        if stop.get() {
            return;
        }
        let version = testbed.settle(&data_id, &n.to_string()).await;
        assert!(version > last, "a later publish got an older version");
        last = version;
        let state = testbed.get(&data_id).await;
        assert!(state.version >= version, "a read is older than a publish that returned");
        testbed.published.set(testbed.published.get() + 1);
    }
}

impl Testbed {
    /// A node that is alone.
    pub(super) async fn start() -> Self {
        let directory = Rc::new(tempfile::tempdir().unwrap());
        let lease = lease::Options { terms: lease::LeaseMode::Forever, ..lease::Options::default() };
        // Tests that lose a commit event should not wait long for its repair.
        let receiver = receiver::Options {
            pending_timeout: Duration::from_millis(200),
            jitter: Duration::from_millis(50),
            retry: Duration::from_millis(100),
        };
        Self::start_on(directory, "test", (lease, receiver), Way::Alone).await
    }

    /// A node on the database of a directory, which several may share.
    pub(super) async fn start_on(
        directory: Rc<tempfile::TempDir>,
        name: &str,
        (lease, receiver): (lease::Options, receiver::Options),
        way: Way,
    ) -> Self {
        callboard_migration::run(&url(&directory), DEADLINE).await.unwrap();
        let database = open(&directory);
        let options = NodeOptions {
            lease: LeaseOptions {
                node: NodeId(name.into()),
                boot_id: name.into(),
                address: "127.0.0.1:0".into(),
                versions: (1, 1),
                lease,
                memory: None,
            },
            cache: CacheOptions { max_bytes: 1024 * 1024 },
            mark_wait: Duration::from_millis(5),
            refresh_interval: Duration::from_millis(20),
            publish: publish::Options::default(),
            receiver,
            audit: None,
            history_retention: Duration::from_secs(3_600),
            max_held_per_worker: 100,
            max_session_watches_per_worker: 100,
        };
        let here = Arbiter::current();
        let threads = Threads { core: &here, lease: &here };
        let node = Node::start(threads, options, database.await.unwrap(), way, Arc::new(SystemClock));
        while ask(&node.lease_keeper, GetStanding, DEADLINE).await.unwrap() != Standing::Settled {
            tokio::task::yield_now().await;
        }
        let workers = (0..2).map(|index| Worker::start(&node, index)).collect();
        Self { node, workers, published: Cell::new(0), streams: Cell::new(1), directory }
    }

    pub(super) async fn publish(&self, unit: WriteRequest) -> PublishOutcome {
        let (reply, outcome) = oneshot::channel();
        self.node.conf_manager.do_send(Publish { unit: Arc::new(unit), reply });
        match tokio::time::timeout(DEADLINE, outcome).await.expect("a publish was never answered") {
            Ok(outcome) => outcome,
            Err(_dropped) => PublishOutcome::Unknown { reason: "the reply was dropped".into() },
        }
    }

    pub(super) async fn put(&self, data_id: &str, content: &str) -> PublishOutcome {
        self.put_if(data_id, content, Condition::None).await
    }

    pub(super) async fn put_if(&self, data_id: &str, content: &str, condition: Condition) -> PublishOutcome {
        self.publish(unit(data_id, content, condition)).await
    }

    /// Publishes for certain: asks again with the same request id for as long as the outcome is unknown or it failed.
    pub(super) async fn settle(&self, data_id: &str, content: &str) -> Version {
        let unit = unit(data_id, content, Condition::None);
        loop {
            match self.publish(unit.clone()).await {
                PublishOutcome::Settled(WriteOutcome::Done { items, .. }) => return items[0].version,
                PublishOutcome::Unknown { .. } | PublishOutcome::Failed { .. } => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn remove(&self, data_id: &str) -> PublishOutcome {
        let item = KeyWrite { key: key(data_id), condition: Condition::None, change: Change::Remove };
        self.publish(WriteRequest { items: vec![item], ..unit(data_id, "x", Condition::None) }).await
    }

    pub(super) async fn get(&self, data_id: &str) -> SharedState {
        self.get_at(0, data_id).await
    }

    pub(super) async fn get_at(&self, worker: usize, data_id: &str) -> SharedState {
        for _ in 0..100 {
            match ask(&self.workers[worker].reader, Get { key: key(data_id) }, DEADLINE).await {
                Ok(Ok(state)) => return state,
                // An actor on the way is being rebuilt.
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("{data_id} could not be read");
    }

    /// A wait for any version but this one.
    pub(super) fn wait(&self, data_id: &str, known: Version, wait: Duration) -> oneshot::Receiver<PollAnswer> {
        self.hold(data_id, ReadCondition::OneOf(vec![Expected::Version(known)]).into(), wait)
    }

    pub(super) fn poll(&self, data_id: &str, held: Option<Md5>, wait: Duration) -> oneshot::Receiver<PollAnswer> {
        self.hold(data_id, held.into(), wait)
    }

    fn hold(&self, data_id: &str, held: Holding, wait: Duration) -> oneshot::Receiver<PollAnswer> {
        let (answer, outcome) = oneshot::channel();
        let records = vec![Watched { key: key(data_id), held }];
        let hold = Hold { records, client: ClientIdentity::default(), wait: Some(wait), answer };
        self.workers[0].long_poll.do_send(hold);
        outcome
    }

    pub(super) fn stream(&self, selector: Selector, resume: Option<Version>) -> mpsc::Receiver<Frame> {
        let (sender, frames) = mpsc::channel(4);
        let request = StreamRequest {
            selector,
            heartbeat: Duration::from_secs(60),
            max_keys: 100,
            outlet: Rc::new(Outlet::new(sender, resume)),
            number: SessionNumber(self.streams.replace(self.streams.get() + 1)),
            client: Arc::new(Client {
                id: ClientId("stream".into()),
                kind: ClientKind::Stream,
                identity: ClientIdentity::default(),
                software: String::new(),
            }),
            since: WallMillis::default(),
        };
        let deps = stream::Deps {
            coordinator: self.workers[1].coordinator.clone(),
            keys: self.workers[1].store.clone().recipient(),
            changed: self.workers[1].store.clone().recipient(),
            get_many: self.workers[1].reader.clone().recipient(),
            metrics: self.node.metrics.push.clone(),
        };
        let spec = Spec::new(&self.node.registry, "stream");
        start(&spec, move |_| StreamSession::new(request.clone(), deps.clone()));
        frames
    }

    /// A Nacos client that has set its connection up, and what it is told. The connection closes when the last of the
    /// answer drops.
    pub(super) async fn nacos_client(&self) -> (Addr<GrpcSession>, mpsc::Receiver<Box<Notice>>, oneshot::Receiver<()>) {
        let worker = &self.workers[1];
        let shared = Arc::new(grpc::Shared {
            options: grpc::Options {
                listens: 100,
                allowance: Allowance { frames: 1_000_000, bytes: 1 << 40, work: 1_000_000 },
                idle: Duration::from_secs(30),
                write: DEADLINE,
                read: DEADLINE,
                publish: DEADLINE,
                serve_stale: false,
            },
            deps: worker.deps(),
            clock: self.node.clock.clone(),
            push: self.node.metrics.push.clone(),
            grpc: self.node.metrics.grpc.clone(),
        });
        let number = SessionNumber(self.streams.replace(self.streams.get() + 1));
        let (closing, closed) = oneshot::channel();
        let spec = Spec::new(&self.node.registry, "nacos");
        let session = start_once(&spec, move |_| GrpcSession::new(shared, number, closing));
        let (outlet, notices) = mpsc::channel(4);
        let stream = ask(&session, OpenStream(outlet), DEADLINE).await.unwrap();
        let client = Box::new(Client {
            id: ClientId("nacos".into()),
            kind: ClientKind::Grpc,
            identity: ClientIdentity::default(),
            software: String::new(),
        });
        session.do_send(InboundMessage {
            stream,
            bytes: 0,
            message: StreamMessage::SetUp { client, wants_ready: false },
        });
        (session, notices, closed)
    }

    /// Waits until the publishers have published this many values in all.
    pub(super) async fn until_published(&self, count: usize) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while self.published.get() < count {
            assert!(tokio::time::Instant::now() < end, "publishing came to a stand");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The database turns out to have lost commits, and a new timeline begins.
    pub(super) async fn lose_history(&self) {
        let (writer, reader) = open(&self.directory).await.unwrap();
        let feed = reader.feed(Version::ZERO, None, 1).await.unwrap();
        let known = Extent::new(feed.timeline, Version(feed.revision.0 + 5));
        let begun = writer.begin_timeline(feed.timeline, known, &Evidence::Behind).await.unwrap();
        assert_eq!(begun, BeginResult::Begun);
    }

    /// Makes every actor panic, one after the other and each twice, with publishes in between. Answers their kinds.
    pub(super) async fn break_every_actor(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            for report in self.node.registry.list() {
                assert!(self.node.registry.panic_in(&report.name), "{} can't be broken", report.name);
                kinds.push(report.kind.to_owned());
                self.until_published(self.published.get() + 4).await;
            }
        }
        kinds
    }
}

fn url(directory: &tempfile::TempDir) -> String {
    format!("sqlite:{}/callboard.db?mode=rwc", directory.path().display())
}

fn open(
    directory: &tempfile::TempDir,
) -> impl Future<Output = Result<(store::Writer, store::ReadPool), store::OpenError>> + use<> {
    store::open(store::OpenOptions {
        url: url(directory),
        read_connections: 2,
        search_connections: 2,
        connect_timeout: DEADLINE,
        statement_timeout: DEADLINE,
        on_refusal: store::OnRefusal::default(),
        seals: std::sync::Arc::new(store::NoSeals),
    })
}

fn unit(data_id: &str, content: &str, condition: Condition) -> WriteRequest {
    let content = Content::new(content.to_owned().into()).unwrap();
    let change = Change::Put { content: content.clone(), edit: Box::new(MetadataEdit::default()) };
    WriteRequest {
        request_id: RequestId::generated(Uuid::new_v4()),
        repeatable: true,
        fingerprint: Fingerprint(Md5::of(content.bytes())),
        items: vec![KeyWrite { key: key(data_id), condition, change }],
        origin: Origin { channel: Source::System, operator: None, source_address: None, client_id: None, note: None },
    }
}
