//! The actor on paused time, over a fake reader and the real event bus.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::{ResponseFuture, System};
use bytes::Bytes;
use callboard_protocol::config::{ConfigState, SharedState, Version};
use callboard_protocol::content::{Content, Md5};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::long_poll::Holding;
use tokio::sync::Notify;

use super::*;
use crate::event_bus::Publish;
use crate::metrics::Metrics;
use crate::runtime::{Observe, Panic, Registry, Spec, ask, start};

const DEADLINE: Duration = Duration::from_secs(1);

/// What the database of the test holds, and how it answers.
#[derive(Default)]
struct Stored {
    states: RefCell<HashMap<ConfigKey, SharedState>>,
    /// Answers are held back until told; what they say was read before.
    is_slow: Cell<bool>,
    go: Notify,
    fails: Cell<bool>,
    broken: RefCell<Option<ConfigKey>>,
    reads: Cell<usize>,
    read_keys: Cell<usize>,
}

struct FakeReader(Rc<Stored>);

impl Actor for FakeReader {
    type Context = actix::Context<Self>;
}

impl Handler<GetMany> for FakeReader {
    type Result = ResponseFuture<Result<Vec<SharedState>, ReadFailure>>;

    fn handle(&mut self, GetMany { keys }: GetMany, _: &mut Self::Context) -> Self::Result {
        let stored = Rc::clone(&self.0);
        stored.reads.set(stored.reads.get() + 1);
        stored.read_keys.set(stored.read_keys.get() + keys.len());
        let states = stored.states.borrow();
        let absent = |key: ConfigKey| Arc::new(ConfigState::absent(key, Version::ZERO));
        let bad = stored.broken.borrow().clone();
        let answer = if stored.fails.get() {
            Err(ReadFailure::Unavailable { reason: "a test".into() })
        } else if bad.is_some_and(|bad| keys.contains(&bad)) {
            Err(ReadFailure::Broken { what: "a test".into() })
        } else {
            Ok(keys.into_iter().map(|key| states.get(&key).cloned().unwrap_or_else(|| absent(key))).collect())
        };
        drop(states);
        Box::pin(async move {
            if stored.is_slow.get() {
                stored.go.notified().await;
            }
            answer
        })
    }
}

struct World {
    stored: Rc<Stored>,
    registry: Registry,
    metrics: Metrics,
    bus: Addr<EventBus>,
    polls: Addr<LongPoll>,
    revision: Cell<u64>,
}

fn run<F: Future<Output = ()>>(max_polls: usize, test: impl FnOnce(World) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(World::start(max_polls)).await;
    });
}

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

impl World {
    fn start(max_polls: usize) -> Self {
        let (registry, metrics, stored) = (Registry::new(), Metrics::default(), Rc::new(Stored::default()));
        let reader = FakeReader(Rc::clone(&stored)).start().recipient();
        let counts = metrics.push.clone();
        let bus = start(&Spec::new(&registry, "event_bus"), move |_| EventBus::new(counts.clone()));
        let (from, counts) = (bus.clone(), metrics.push.clone());
        let polls = start(&Spec::new(&registry, "long_poll").capacity(1_024), move |_| {
            LongPoll::new((NodeId("n1".into()), 0), from.clone(), reader.clone(), max_polls, counts.clone())
        });
        Self { stored, registry, metrics, bus, polls, revision: Cell::new(0) }
    }

    /// Stores a content; nobody is told yet. An empty one removes.
    fn store(&self, data_id: &str, content: &str) -> SharedState {
        self.revision.set(self.revision.get() + 1);
        let state = Arc::new(ConfigState {
            formal: (!content.is_empty()).then(|| Content::new(Bytes::from(content.to_owned())).unwrap()),
            ..ConfigState::absent(key(data_id), Version(self.revision.get()))
        });
        self.stored.states.borrow_mut().insert(state.key.clone(), Arc::clone(&state));
        state
    }

    fn tell(&self, state: SharedState) {
        self.bus.do_send(Publish(ConfigEvent::Changed(Arc::from([state]))));
    }

    fn publish(&self, data_id: &str, content: &str) {
        self.tell(self.store(data_id, content));
    }

    fn ask_for(&self, records: &[(&str, &str)], wait: impl Into<Option<Duration>>) -> oneshot::Receiver<PollAnswer> {
        let (answer, coming) = oneshot::channel();
        let held = |held: &str| (!held.is_empty()).then(|| Md5::of(held.as_bytes()));
        let records = records
            .iter()
            .map(|(data_id, content)| Watched { key: key(data_id), held: held(content).into() })
            .collect();
        self.polls.do_send(Hold { records, client: ClientIdentity::default(), wait: wait.into(), answer });
        coming
    }

    fn hold(&self, records: &[(&str, &str)]) -> oneshot::Receiver<PollAnswer> {
        self.ask_for(records, Duration::from_millis(29_500))
    }

    /// Lets everything happen that needs no time.
    async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    async fn count(&self, what: &str) -> u64 {
        ask(&self.polls, Observe, DEADLINE).await.unwrap()[what].as_u64().unwrap()
    }

    fn held(&self) -> i64 {
        self.metrics.push.held.get_or_create(&HeldLabel { kind: "long_poll" }).get()
    }
}

fn changed(records: &[usize]) -> PollAnswer {
    PollAnswer::Changed(records.to_vec())
}

#[test]
fn a_poll_is_answered_at_once_when_it_differs_and_at_its_time_when_not() {
    run(10, async |world| {
        world.store("a", "1");
        assert_eq!(world.hold(&[("b", ""), ("a", "0")]).await, Ok(changed(&[1])));
        assert_eq!(world.ask_for(&[("a", "1")], None).await, Ok(PollAnswer::Quiet));
        assert_eq!(world.ask_for(&[("a", "")], None).await, Ok(changed(&[0])));
        let begun = Instant::now();
        assert_eq!(world.hold(&[("a", "1")]).await, Ok(PollAnswer::Quiet));
        let waited = begun.elapsed().as_millis();
        assert!((29_500..29_700).contains(&waited), "{waited}");
        assert_eq!((world.held(), world.metrics.push.sent.get()), (0, 2));
    });
}

#[test]
fn a_change_wakes_the_listeners_of_its_key_alone() {
    run(10, async |world| {
        let mut of_a = world.hold(&[("a", ""), ("c", "")]);
        let mut of_b = world.hold(&[("b", "")]);
        world.settle().await;
        assert_eq!(world.held(), 2);
        world.publish("a", "1");
        world.settle().await;
        assert_eq!(of_a.try_recv(), Ok(changed(&[0])));
        assert!(of_b.try_recv().is_err());
        assert_eq!((world.held(), world.count("keys").await, world.count("timers").await), (1, 1, 1));
    });
}

#[test]
fn a_change_that_leaves_the_digest_equal_wakes_nobody() {
    run(10, async |world| {
        world.store("a", "1");
        let mut waiting = world.hold(&[("a", "1")]);
        world.settle().await;
        world.publish("a", "1");
        world.settle().await;
        assert!(waiting.try_recv().is_err());
        world.publish("a", "");
        assert_eq!(waiting.await, Ok(changed(&[0])));
    });
}

#[test]
fn a_publish_between_the_registration_and_the_comparison_is_not_lost() {
    run(10, async |world| {
        // What it reads before it has subscribed it reads again then.
        world.settle().await;
        world.stored.is_slow.set(true);
        let waiting = world.hold(&[("a", "")]);
        world.settle().await;
        // The read has been taken and is old by now.
        world.publish("a", "1");
        world.settle().await;
        world.stored.go.notify_waiters();
        assert_eq!(waiting.await, Ok(changed(&[0])));
    });
}

#[test]
fn a_change_told_before_the_registration_is_read() {
    run(10, async |world| {
        world.publish("a", "1");
        assert_eq!(world.hold(&[("a", "")]).await, Ok(changed(&[0])));
    });
}

#[test]
fn what_no_event_told_is_found_by_looking_again() {
    run(10_000, async |world| {
        let names: Vec<String> = (0..3_000).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| world.hold(&[(name, "")])).collect();
        world.settle().await;
        assert_eq!(world.count("polls").await, 3_000);
        world.store("k2999", "1");
        world.bus.do_send(Publish(ConfigEvent::Recheck));
        world.settle().await;
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        // The bus forgets its subscribers; what is told meanwhile is lost.
        world.store("k2998", "1");
        world.bus.do_send(Panic);
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        world.publish("k2997", "1");
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        assert!(waiting.iter_mut().all(|waiting| waiting.try_recv().is_err()));
    });
}

#[test]
fn what_the_database_lost_does_not_hide_what_came_in_its_place() {
    run(100, async |world| {
        world.revision.set(104);
        world.store("a", "1");
        let compared = world.hold(&[("a", "1")]);
        world.settle().await;
        world.stored.is_slow.set(true);
        let reading = world.hold(&[("a", "1"), ("b", "")]);
        world.settle().await;
        // The read under way is of the history that is lost.
        world.revision.set(100);
        world.store("a", "2");
        world.stored.is_slow.set(false);
        world.bus.do_send(Publish(ConfigEvent::Recheck));
        world.settle().await;
        world.stored.go.notify_waiters();
        assert_eq!((compared.await, reading.await), (Ok(changed(&[0])), Ok(changed(&[0]))));
    });
}

#[test]
fn looking_again_goes_on_until_the_database_answers_and_past_a_bad_row() {
    run(100, async |world| {
        let names: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| world.hold(&[(name, "")])).collect();
        world.settle().await;
        world.stored.fails.set(true);
        *world.stored.broken.borrow_mut() = Some(key("k0"));
        for name in &names {
            world.store(name, "1");
        }
        world.bus.do_send(Publish(ConfigEvent::Recheck));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.count("polls").await, 20);
        world.stored.fails.set(false);
        for waiting in waiting.drain(1..) {
            assert_eq!(waiting.await, Ok(changed(&[0])));
        }
        assert!(waiting[0].try_recv().is_err());
    });
}

#[test]
fn a_failed_read_is_answered_and_one_bad_row_fails_only_its_own_polls() {
    run(100, async |world| {
        *world.stored.broken.borrow_mut() = Some(key("k3"));
        let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| world.hold(&[(name, "")])).collect();
        let failed = waiting.remove(3).await;
        assert!(matches!(failed, Ok(PollAnswer::Failed(ReadFailure::Broken { .. }))), "{failed:?}");
        assert_eq!((world.count("polls").await, world.held()), (7, 7));
        world.stored.fails.set(true);
        let failed = world.hold(&[("other", "")]).await;
        assert!(matches!(failed, Ok(PollAnswer::Failed(ReadFailure::Unavailable { .. }))), "{failed:?}");
        assert_eq!((world.count("polls").await, world.held()), (7, 7));
    });
}

#[test]
fn polls_that_come_together_share_a_read_and_ten_thousand_are_woken_in_turns() {
    run(10_000, async |world| {
        let waiting: Vec<_> = (0..10_000).map(|_| world.hold(&[("a", "")])).collect();
        world.settle().await;
        assert_eq!(world.count("polls").await, 10_000);
        let (reads, keys) = (world.stored.reads.get(), world.stored.read_keys.get());
        assert!(reads <= 100 && keys == reads, "{reads} reads of {keys} keys");
        world.publish("a", "1");
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let others = actix_rt::spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        for waiting in waiting {
            assert_eq!(waiting.await, Ok(changed(&[0])));
        }
        others.abort();
        assert!(turns.get() >= 10_000 / SLICE, "others had {} turns", turns.get());
        assert_eq!((world.held(), world.count("capacity").await), (0, 0));
    });
}

#[test]
fn clients_that_went_away_are_forgotten_within_seconds() {
    run(1_000, async |world| {
        let mut waiting: Vec<_> = (0..1_000).map(|_| world.hold(&[("a", "")])).collect();
        world.settle().await;
        waiting.truncate(10);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!((world.count("polls").await, world.count("timers").await, world.held()), (10, 10, 10));
    });
}

#[test]
fn a_full_register_refuses_and_a_short_question_is_still_answered() {
    run(2, async |world| {
        let (_first, _second) = (world.hold(&[("a", "")]), world.hold(&[("a", "")]));
        assert_eq!(world.hold(&[("a", "")]).await, Ok(PollAnswer::Refused(WatchRefused::Full)));
        assert_eq!(world.ask_for(&[("a", "")], None).await, Ok(PollAnswer::Quiet));
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let records: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let all: Vec<usize> = (0..10_000).collect();
        assert_eq!(world.ask_for(&records, None).await, Ok(changed(&all)));
    });
}

#[test]
fn a_drain_answers_every_poll_and_takes_no_new_one() {
    run(100, async |world| {
        let waiting: Vec<_> = (0..50).map(|_| world.hold(&[("a", "")])).collect();
        world.settle().await;
        assert_eq!(ask(&world.polls, Drain, DEADLINE).await, Ok(50));
        for mut waiting in waiting {
            assert_eq!(waiting.try_recv(), Ok(PollAnswer::Quiet));
        }
        assert_eq!(world.hold(&[("a", "")]).await, Ok(PollAnswer::Refused(WatchRefused::Stopping)));
        assert_eq!((world.held(), world.count("capacity").await), (0, 0));
    });
}

#[test]
fn a_poll_that_was_never_compared_is_not_told_that_nothing_changed() {
    run(100, async |world| {
        world.stored.is_slow.set(true);
        world.store("a", "2");
        let waiting = world.ask_for(&[("a", "1")], Duration::from_secs(10));
        assert_eq!(waiting.await, Ok(PollAnswer::Failed(ReadFailure::TimedOut)));
        let (held, once) = (world.hold(&[("a", "1")]), world.ask_for(&[("a", "1")], None));
        world.settle().await;
        assert_eq!(ask(&world.polls, Drain, DEADLINE).await, Ok(2));
        for waiting in [held, once] {
            assert_eq!(waiting.await, Ok(PollAnswer::Refused(WatchRefused::Stopping)));
        }
    });
}

#[test]
fn a_panic_drops_every_answer_and_the_next_life_holds_anew() {
    run(100, async |world| {
        let waiting = world.hold(&[("a", "")]);
        world.settle().await;
        world.polls.do_send(Panic);
        assert!(waiting.await.is_err());
        assert_eq!(world.held(), 0);
        let again = world.hold(&[("a", "")]);
        world.settle().await;
        world.publish("a", "1");
        assert_eq!(again.await, Ok(changed(&[0])));
        let report = world.registry.list().into_iter().find(|report| report.kind == "long_poll").unwrap();
        assert_eq!((report.panics, report.restarts), (1, 1));
    });
}

/// A million polls in rounds, on quiet keys: all end quietly at their time, and nothing is kept for them.
#[test]
fn a_million_quiet_polls_expire_and_leave_nothing_behind() {
    const ROUNDS: usize = 4;
    const POLLS: usize = 250_000;
    run(POLLS, async |world| {
        let keys: Vec<ConfigKey> = (0..1_000).map(|n| key(&format!("quiet-{n}"))).collect();
        let client = ClientIdentity::default();
        for _ in 0..ROUNDS {
            let mut waiting = Vec::with_capacity(POLLS);
            for (n, key) in keys.iter().cycle().take(POLLS).enumerate() {
                let (answer, coming) = oneshot::channel();
                let (records, wait) =
                    (vec![Watched { key: key.clone(), held: Holding::Content(None) }], 10_000 + n as u64 % 20_000);
                let wait = Some(Duration::from_millis(wait));
                world.polls.do_send(Hold { records, client: client.clone(), wait, answer });
                waiting.push(coming);
            }
            assert_eq!(world.count("polls").await, POLLS as u64);
            assert_eq!((world.count("keys").await, world.held()), (1_000, POLLS as i64));
            for waiting in waiting {
                assert_eq!(waiting.await, Ok(PollAnswer::Quiet));
            }
            assert_eq!((world.count("polls").await, world.count("capacity").await, world.held()), (0, 0, 0));
        }
    });
}
