//! What tests of actors share: time that stands still, desks that take questions for an actor that is not there,
//! witnesses that write down what they are told, and a database in a directory of its own. Holds no rule of any actor.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod node;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message, Recipient, ResponseFuture, System};
use bytes::Bytes;
use callboard_protocol::config::{ConfigState, MetadataEdit, SharedState, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::{Mono, WallMillis};
use callboard_protocol::write_request::{
    Change, Condition, Fingerprint, KeyWrite, Origin, RequestId, Source, WriteRequest,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::{Clock, SharedClock};
use crate::runtime::{Monitored, Panic, ask};
use crate::store;

/// How long a test waits for what must happen, in real time.
const PATIENCE: Duration = Duration::from_secs(20);
/// The deadline of questions that a test asks; the time stands still meanwhile.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3_600);

/// Runs a test on a clock that only [`advance`] moves. Threads of a database go on meanwhile.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    // Paused from the start, so that what is due in whole milliseconds is due exactly then.
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(async {
        // A blocking task keeps the clock from running ahead by itself whenever nothing is left to do but wait.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (late, is_late) = oneshot::channel();
        let watch = move || match held.recv_timeout(2 * PATIENCE) {
            Err(RecvTimeoutError::Timeout) => drop(late.send(())),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
        };
        let watching = tokio::task::spawn_blocking(watch);
        tokio::select! {
            () = test() => {}
            Ok(()) = is_late => panic!("the test hangs"),
        }
        drop(hold);
        watching.await.unwrap();
    });
}

/// Lets everything happen that needs neither time nor another thread.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock, and lets happen what follows.
pub(crate) async fn advance(by: Duration) {
    settle().await;
    tokio::time::advance(by).await;
    settle().await;
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> impl Future<Output = T> {
    let (begun, place) = (std::time::Instant::now(), std::panic::Location::caller());
    async move {
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} never came ({place})");
            tokio::task::yield_now().await;
        }
    }
}

/// Asks an actor of which the test knows that it answers without the clock.
pub(crate) async fn query<A, M>(actor: &Addr<A>, message: M) -> M::Result
where
    A: Monitored + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    ask(actor, message, DEADLINE).await.unwrap()
}

/// Makes an actor panic, and waits until it is rebuilt.
pub(crate) async fn rebuild<A: Monitored + Handler<Panic>>(actor: &Addr<A>) {
    assert!(ask(actor, Panic, DEADLINE).await.is_err(), "it panicked");
}

/// Writes down what it is told.
#[derive(Debug)]
pub(crate) struct Witness<M>(Rc<RefCell<Vec<M>>>);

impl<M: Message<Result = ()> + Send + Unpin + 'static> Witness<M> {
    /// Where to tell it, and what it has been told.
    pub(crate) fn start() -> (Recipient<M>, Received<M>) {
        let told = Rc::new(RefCell::new(Vec::new()));
        (Self(Rc::clone(&told)).start().recipient(), Received(told))
    }
}

impl<M: Unpin + 'static> Actor for Witness<M> {
    type Context = actix::Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Witness<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Self::Context) {
        self.0.borrow_mut().push(message);
    }
}

/// What a witness has been told and nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Received<M>(Rc<RefCell<Vec<M>>>);

impl<M: fmt::Debug> Received<M> {
    /// Takes all of it, without waiting.
    pub(crate) fn take(&self) -> Vec<M> {
        std::mem::take(&mut *self.0.borrow_mut())
    }

    /// Waits for the next.
    #[track_caller]
    pub(crate) fn next(&self) -> impl Future<Output = M> {
        until("what should be told", || {
            let mut told = self.0.borrow_mut();
            (!told.is_empty()).then(|| told.remove(0))
        })
    }

    /// Waits for one of which this is true; those before it are dropped.
    pub(crate) async fn until(&self, mut is_it: impl FnMut(&M) -> bool) -> M {
        loop {
            let next = self.next().await;
            if is_it(&next) {
                return next;
            }
        }
    }
}

/// Takes questions in place of an actor, for the test to answer.
pub(crate) struct Desk<M: Message>(mpsc::UnboundedSender<Question<M>>);

type Question<M> = (M, oneshot::Sender<<M as Message>::Result>);

/// The questions that a desk has taken.
pub(crate) struct Questions<M: Message>(mpsc::UnboundedReceiver<Question<M>>);

impl<M> Desk<M>
where
    M: Message + fmt::Debug + Send + Unpin + 'static,
    M::Result: Send,
{
    /// Where to ask, and what is asked.
    pub(crate) fn open() -> (Recipient<M>, Questions<M>) {
        let (sender, questions) = mpsc::unbounded_channel();
        (Self(sender).start().recipient(), Questions(questions))
    }
}

impl<M: Message + Unpin + 'static> Actor for Desk<M> {
    type Context = actix::Context<Self>;
}

impl<M: Message + Unpin + 'static> Handler<M> for Desk<M> {
    type Result = ResponseFuture<M::Result>;

    fn handle(&mut self, message: M, _: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let taken = self.0.send((message, reply)).is_ok();
        Box::pin(async move {
            match answer.await {
                Ok(answer) if taken => answer,
                // Nobody answers: the test wants it so, or has ended.
                Ok(_) | Err(_) => std::future::pending().await,
            }
        })
    }
}

impl<M: Message + fmt::Debug> Questions<M> {
    /// Waits for the next question.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Question<M>> {
        until("a question", || self.0.try_recv().ok())
    }

    /// The next question, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<Question<M>> {
        self.0.try_recv().ok()
    }

    /// Waits for the next question, answers it and returns it.
    pub(crate) async fn answer(&mut self, answer: impl FnOnce(&M) -> M::Result) -> M {
        let (question, reply) = self.next().await;
        let answer = answer(&question);
        assert!(reply.send(answer).is_ok(), "nobody waits for this answer");
        question
    }

    /// Lets happen what can, and sees that nothing was asked.
    #[track_caller]
    pub(crate) fn none(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            settle().await;
            if let Ok((question, _)) = self.0.try_recv() {
                panic!("{question:?} was asked ({place})");
            }
        }
    }
}

/// A clock that goes with the paused one of the test.
#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn mono(&self) -> Mono {
        Mono(self.0.elapsed() + Duration::from_secs(1))
    }

    fn wall(&self) -> WallMillis {
        WallMillis(1_700_000_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// A clock that only [`advance`] moves.
pub(crate) fn clock() -> SharedClock {
    Arc::new(TestClock(Instant::now()))
}

/// A migrated database that is empty, for as long as this lives.
pub(crate) struct Database {
    pub(crate) writer: store::Writer,
    pub(crate) reader: store::ReadPool,
    _directory: tempfile::TempDir,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/callboard.db?mode=rwc", directory.path().display());
        callboard_migration::run(&url, DEADLINE).await.unwrap();
        let options = store::OpenOptions {
            url,
            read_connections: 2,
            search_connections: 2,
            connect_timeout: DEADLINE,
            statement_timeout: DEADLINE,
            on_refusal: store::OnRefusal::default(),
            seals: std::sync::Arc::new(store::NoSeals),
        };
        let (writer, reader) = store::open(options).await.unwrap();
        Self { writer, reader, _directory: directory }
    }
}

pub(crate) fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

pub(crate) fn content(text: &str) -> Content {
    Content::new(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// A key with this content at this version; an empty one is a key that does not exist.
pub(crate) fn state(data_id: &str, version: u64, text: &str) -> SharedState {
    let formal = (!text.is_empty()).then(|| content(text));
    Arc::new(ConfigState { formal, ..ConfigState::absent(key(data_id), Version(version)) })
}

/// What a state holds.
pub(crate) fn text(state: &ConfigState) -> &str {
    state.formal.as_ref().map_or("", |content| std::str::from_utf8(content.bytes()).unwrap())
}

/// Puts a content into a key.
pub(crate) fn put(data_id: &str, text: &str) -> Arc<WriteRequest> {
    let content = content(text);
    let fingerprint = Fingerprint(Md5::of(content.bytes()));
    let change = Change::Put { content, edit: Box::new(MetadataEdit::default()) };
    Arc::new(WriteRequest {
        request_id: RequestId::generated(Uuid::new_v4()),
        repeatable: true,
        fingerprint,
        items: vec![KeyWrite { key: key(data_id), condition: Condition::None, change }],
        origin: Origin { channel: Source::System, operator: None, source_address: None, client_id: None, note: None },
    })
}
