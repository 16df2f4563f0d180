//! The register of watches: what is left of sessions that are gone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use actix::{ActorContext, System};
use callboard_protocol::config::{ConfigState, Version};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::session::client::{Client, ClientId, ClientKind};
use callboard_protocol::time::WallMillis;

use super::*;
use crate::event_bus::Publish;
use crate::metrics::Metrics;
use crate::runtime::{Registry, Spec, ask, start};

const DEADLINE: Duration = Duration::from_secs(5);

/// A session that ends without taking its watch back.
struct Careless;

/// Ends it.
#[derive(Message)]
#[rtype(result = "()")]
struct End;

impl Actor for Careless {
    type Context = actix::Context<Self>;
}

impl Handler<SessionEvent> for Careless {
    type Result = ();

    fn handle(&mut self, _: SessionEvent, _: &mut Self::Context) {}
}

impl Handler<End> for Careless {
    type Result = ();

    fn handle(&mut self, End: End, context: &mut Self::Context) {
        context.stop();
    }
}

struct Testbed {
    bus: Addr<EventBus>,
    coordinator: Addr<Coordinator>,
}

impl Testbed {
    fn start(max_watches: usize) -> Self {
        let (registry, metrics) = (Registry::new(), Metrics::default());
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(metrics.push.clone()));
        let from = bus.clone();
        let coordinator = start(&Spec::new(&registry, "coordinator"), move |_| {
            let capacity = Capacity { watches: max_watches, session_watches: 2 };
            Coordinator::new(from.clone(), capacity, NodeId("n1".into()))
        });
        Self { bus, coordinator }
    }

    async fn watch(&self, session: &Addr<Careless>) -> Result<WatchId, WatchRefused> {
        let watch =
            Watch { selector: Selector::of_key(&key()), session: session.clone().recipient(), connection: None };
        ask(&self.coordinator, watch, DEADLINE).await.unwrap().map(|watching| watching.id)
    }

    async fn count(&self) -> usize {
        ask(&self.coordinator, CountWatches, DEADLINE).await.unwrap()
    }

    /// A session that has a watch and is gone.
    async fn leave_one_behind(&self) {
        let session = Careless.start();
        self.watch(&session).await.unwrap();
        session.do_send(End);
        while session.connected() {
            tokio::task::yield_now().await;
        }
    }
}

fn key() -> ConfigKey {
    ConfigKey::new("public", "g", "a").unwrap()
}

fn run<F: Future<Output = ()>>(max_watches: usize, test: impl FnOnce(Testbed) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Testbed::start(max_watches)).await;
    });
}

#[test]
fn a_watch_whose_session_is_gone_takes_no_place() {
    run(2, async |testbed| {
        let lives = Careless.start();
        testbed.watch(&lives).await.unwrap();
        testbed.leave_one_behind().await;
        // It may have looked just now, when it subscribed.
        tokio::time::advance(SWEEP_INTERVAL).await;
        testbed.watch(&lives).await.unwrap();
        assert_eq!(testbed.watch(&lives).await, Err(WatchRefused::Full));
        assert_eq!(testbed.count().await, 2);
    });
}

#[test]
fn a_change_ends_the_watches_of_sessions_that_are_gone() {
    run(10, async |testbed| {
        let lives = Careless.start();
        testbed.watch(&lives).await.unwrap();
        testbed.leave_one_behind().await;
        assert_eq!(testbed.count().await, 2);
        let state = Arc::new(ConfigState::absent(key(), Version(1)));
        let changed = || Publish(ConfigEvent::Changed(Arc::from([SharedState::clone(&state)])));
        // Until it has subscribed, nobody tells it anything.
        while testbed.count().await > 1 {
            testbed.bus.do_send(changed());
            tokio::task::yield_now().await;
        }
    });
}

impl Handler<connections::GetWatched> for Careless {
    type Result = MessageResult<connections::GetWatched>;

    fn handle(&mut self, _: connections::GetWatched, _: &mut Self::Context) -> Self::Result {
        MessageResult(connections::Watched::default())
    }
}

impl Testbed {
    /// A client that has watched so many keys.
    async fn connect(&self, kind: ClientKind, session: &Addr<Careless>, watches: usize) -> WatchedMany {
        let client =
            Client { id: ClientId("c".into()), kind, identity: ClientIdentity::default(), software: String::new() };
        let attend = connections::Connect {
            number: SessionNumber(1),
            client: Arc::new(client),
            since: WallMillis(0),
            events: session.clone().recipient(),
            inquiries: session.clone().recipient(),
        };
        ask(&self.coordinator, attend, DEADLINE).await.unwrap().unwrap();
        let selectors = vec![Selector::of_key(&key()); watches];
        let (session, connection) = (session.clone().recipient(), SessionNumber(1));
        ask(&self.coordinator, WatchMany { selectors, session, connection }, DEADLINE).await.unwrap()
    }
}

#[test]
fn very_many_watches_of_a_client_that_goes_are_ended_one_part_after_the_other() {
    run(1_000, async |testbed| {
        let session = Careless.start();
        let watched = testbed.connect(ClientKind::Stream, &session, 1_000).await;
        assert_eq!((watched.ids.len(), watched.refused), (1_000, None));
        testbed.coordinator.do_send(connections::Disconnect(SessionNumber(1)));
        let left = testbed.count().await;
        assert!(left > 500, "{left} are left: it ended them in one go");
        while testbed.count().await > 0 {
            tokio::task::yield_now().await;
        }
        // They count for nothing any more.
        testbed.watch(&session).await.unwrap();
        assert_eq!(ask(&testbed.coordinator, Drain(Arc::from([])), DEADLINE).await.unwrap(), 1);
    });
}

#[test]
fn of_many_watches_those_are_answered_that_there_was_room_for() {
    run(10, async |testbed| {
        let session = Careless.start();
        let watched = testbed.connect(ClientKind::Tcp, &session, 5).await;
        assert_eq!((watched.ids.len(), watched.refused), (2, Some(WatchRefused::Full)));
        testbed.coordinator.do_send(unwanted::UnwatchMany(watched.ids));
        assert_eq!(testbed.count().await, 0);
        let watched = testbed.connect(ClientKind::Tcp, &session, 2).await;
        assert_eq!((watched.ids.len(), watched.refused), (2, None));
    });
}
