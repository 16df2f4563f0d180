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

struct Testbed {
    stored: Rc<Stored>,
    registry: Registry,
    metrics: Metrics,
    bus: Addr<EventBus>,
    polls: Addr<LongPoll>,
    revision: Cell<u64>,
}

fn run<F: Future<Output = ()>>(max_polls: usize, test: impl FnOnce(Testbed) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Testbed::start(max_polls)).await;
    });
}

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

impl Testbed {
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
    run(10, async |testbed| {
        testbed.store("a", "1");
        assert_eq!(testbed.hold(&[("b", ""), ("a", "0")]).await, Ok(changed(&[1])));
        assert_eq!(testbed.ask_for(&[("a", "1")], None).await, Ok(PollAnswer::Quiet));
        assert_eq!(testbed.ask_for(&[("a", "")], None).await, Ok(changed(&[0])));
        let begun = Instant::now();
        assert_eq!(testbed.hold(&[("a", "1")]).await, Ok(PollAnswer::Quiet));
        let waited = begun.elapsed().as_millis();
        assert!((29_500..29_700).contains(&waited), "{waited}");
        assert_eq!((testbed.held(), testbed.metrics.push.sent.get()), (0, 2));
    });
}

#[test]
fn a_change_wakes_the_listeners_of_its_key_alone() {
    run(10, async |testbed| {
        let mut of_a = testbed.hold(&[("a", ""), ("c", "")]);
        let mut of_b = testbed.hold(&[("b", "")]);
        testbed.settle().await;
        assert_eq!(testbed.held(), 2);
        testbed.publish("a", "1");
        testbed.settle().await;
        assert_eq!(of_a.try_recv(), Ok(changed(&[0])));
        assert!(of_b.try_recv().is_err());
        assert_eq!((testbed.held(), testbed.count("keys").await, testbed.count("timers").await), (1, 1, 1));
    });
}

#[test]
fn a_change_that_leaves_the_digest_equal_wakes_nobody() {
    run(10, async |testbed| {
        testbed.store("a", "1");
        let mut waiting = testbed.hold(&[("a", "1")]);
        testbed.settle().await;
        testbed.publish("a", "1");
        testbed.settle().await;
        assert!(waiting.try_recv().is_err());
        testbed.publish("a", "");
        assert_eq!(waiting.await, Ok(changed(&[0])));
    });
}

#[test]
fn a_publish_between_the_registration_and_the_comparison_is_not_lost() {
    run(10, async |testbed| {
        // What it reads before it has subscribed it reads again then.
        testbed.settle().await;
        testbed.stored.is_slow.set(true);
        let waiting = testbed.hold(&[("a", "")]);
        testbed.settle().await;
        // The read has been taken and is old by now.
        testbed.publish("a", "1");
        testbed.settle().await;
        testbed.stored.go.notify_waiters();
        assert_eq!(waiting.await, Ok(changed(&[0])));
    });
}

#[test]
fn a_change_told_before_the_registration_is_read() {
    run(10, async |testbed| {
        testbed.publish("a", "1");
        assert_eq!(testbed.hold(&[("a", "")]).await, Ok(changed(&[0])));
    });
}

#[test]
fn what_no_event_told_is_found_by_looking_again() {
    run(10_000, async |testbed| {
        let names: Vec<String> = (0..3_000).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| testbed.hold(&[(name, "")])).collect();
        testbed.settle().await;
        assert_eq!(testbed.count("polls").await, 3_000);
        testbed.store("k2999", "1");
        testbed.bus.do_send(Publish(ConfigEvent::Recheck));
        testbed.settle().await;
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        // The bus forgets its subscribers; what is told meanwhile is lost.
        testbed.store("k2998", "1");
        testbed.bus.do_send(Panic);
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        testbed.publish("k2997", "1");
        assert_eq!(waiting.pop().unwrap().await, Ok(changed(&[0])));
        assert!(waiting.iter_mut().all(|waiting| waiting.try_recv().is_err()));
    });
}

#[test]
fn what_the_database_lost_does_not_hide_what_came_in_its_place() {
    run(100, async |testbed| {
        testbed.revision.set(104);
        testbed.store("a", "1");
        let compared = testbed.hold(&[("a", "1")]);
        testbed.settle().await;
        testbed.stored.is_slow.set(true);
        let reading = testbed.hold(&[("a", "1"), ("b", "")]);
        testbed.settle().await;
        // The read under way is of the history that is lost.
        testbed.revision.set(100);
        testbed.store("a", "2");
        testbed.stored.is_slow.set(false);
        testbed.bus.do_send(Publish(ConfigEvent::Recheck));
        testbed.settle().await;
        testbed.stored.go.notify_waiters();
        assert_eq!((compared.await, reading.await), (Ok(changed(&[0])), Ok(changed(&[0]))));
    });
}

#[test]
fn looking_again_goes_on_until_the_database_answers_and_past_a_bad_row() {
    run(100, async |testbed| {
        let names: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| testbed.hold(&[(name, "")])).collect();
        testbed.settle().await;
        testbed.stored.fails.set(true);
        *testbed.stored.broken.borrow_mut() = Some(key("k0"));
        for name in &names {
            testbed.store(name, "1");
        }
        testbed.bus.do_send(Publish(ConfigEvent::Recheck));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(testbed.count("polls").await, 20);
        testbed.stored.fails.set(false);
        for waiting in waiting.drain(1..) {
            assert_eq!(waiting.await, Ok(changed(&[0])));
        }
        assert!(waiting[0].try_recv().is_err());
    });
}

#[test]
fn a_failed_read_is_answered_and_one_bad_row_fails_only_its_own_polls() {
    run(100, async |testbed| {
        *testbed.stored.broken.borrow_mut() = Some(key("k3"));
        let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| testbed.hold(&[(name, "")])).collect();
        let failed = waiting.remove(3).await;
        assert!(matches!(failed, Ok(PollAnswer::Failed(ReadFailure::Broken { .. }))), "{failed:?}");
        assert_eq!((testbed.count("polls").await, testbed.held()), (7, 7));
        testbed.stored.fails.set(true);
        let failed = testbed.hold(&[("other", "")]).await;
        assert!(matches!(failed, Ok(PollAnswer::Failed(ReadFailure::Unavailable { .. }))), "{failed:?}");
        assert_eq!((testbed.count("polls").await, testbed.held()), (7, 7));
    });
}

#[test]
fn polls_that_come_together_share_a_read_and_ten_thousand_are_woken_in_turns() {
    run(10_000, async |testbed| {
        let waiting: Vec<_> = (0..10_000).map(|_| testbed.hold(&[("a", "")])).collect();
        testbed.settle().await;
        assert_eq!(testbed.count("polls").await, 10_000);
        let (reads, keys) = (testbed.stored.reads.get(), testbed.stored.read_keys.get());
        assert!(reads <= 100 && keys == reads, "{reads} reads of {keys} keys");
        testbed.publish("a", "1");
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
        assert_eq!((testbed.held(), testbed.count("capacity").await), (0, 0));
    });
}

#[test]
fn clients_that_went_away_are_forgotten_within_seconds() {
    run(1_000, async |testbed| {
        let mut waiting: Vec<_> = (0..1_000).map(|_| testbed.hold(&[("a", "")])).collect();
        testbed.settle().await;
        waiting.truncate(10);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!((testbed.count("polls").await, testbed.count("timers").await, testbed.held()), (10, 10, 10));
    });
}

#[test]
fn a_full_register_refuses_and_a_short_question_is_still_answered() {
    run(2, async |testbed| {
        let (_first, _second) = (testbed.hold(&[("a", "")]), testbed.hold(&[("a", "")]));
        assert_eq!(testbed.hold(&[("a", "")]).await, Ok(PollAnswer::Refused(WatchRefused::Full)));
        assert_eq!(testbed.ask_for(&[("a", "")], None).await, Ok(PollAnswer::Quiet));
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let records: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let all: Vec<usize> = (0..10_000).collect();
        assert_eq!(testbed.ask_for(&records, None).await, Ok(changed(&all)));
    });
}

#[test]
fn a_drain_answers_every_poll_and_takes_no_new_one() {
    run(100, async |testbed| {
        let waiting: Vec<_> = (0..50).map(|_| testbed.hold(&[("a", "")])).collect();
        testbed.settle().await;
        assert_eq!(ask(&testbed.polls, Drain, DEADLINE).await, Ok(50));
        for mut waiting in waiting {
            assert_eq!(waiting.try_recv(), Ok(PollAnswer::Quiet));
        }
        assert_eq!(testbed.hold(&[("a", "")]).await, Ok(PollAnswer::Refused(WatchRefused::Stopping)));
        assert_eq!((testbed.held(), testbed.count("capacity").await), (0, 0));
    });
}

#[test]
fn a_poll_that_was_never_compared_is_not_told_that_nothing_changed() {
    run(100, async |testbed| {
        testbed.stored.is_slow.set(true);
        testbed.store("a", "2");
        let waiting = testbed.ask_for(&[("a", "1")], Duration::from_secs(10));
        assert_eq!(waiting.await, Ok(PollAnswer::Failed(ReadFailure::TimedOut)));
        let (held, once) = (testbed.hold(&[("a", "1")]), testbed.ask_for(&[("a", "1")], None));
        testbed.settle().await;
        assert_eq!(ask(&testbed.polls, Drain, DEADLINE).await, Ok(2));
        for waiting in [held, once] {
            assert_eq!(waiting.await, Ok(PollAnswer::Refused(WatchRefused::Stopping)));
        }
    });
}

#[test]
fn a_panic_drops_every_answer_and_the_next_life_holds_anew() {
    run(100, async |testbed| {
        let waiting = testbed.hold(&[("a", "")]);
        testbed.settle().await;
        testbed.polls.do_send(Panic);
        assert!(waiting.await.is_err());
        assert_eq!(testbed.held(), 0);
        let again = testbed.hold(&[("a", "")]);
        testbed.settle().await;
        testbed.publish("a", "1");
        assert_eq!(again.await, Ok(changed(&[0])));
        let report = testbed.registry.list().into_iter().find(|report| report.kind == "long_poll").unwrap();
        assert_eq!((report.panics, report.restarts), (1, 1));
    });
}

/// A million polls in rounds, on quiet keys: all end quietly at their time, and nothing is kept for them.
#[test]
fn a_million_quiet_polls_expire_and_leave_nothing_behind() {
    const ROUNDS: usize = 4;
    const POLLS: usize = 250_000;
    run(POLLS, async |testbed| {
        let keys: Vec<ConfigKey> = (0..1_000).map(|n| key(&format!("quiet-{n}"))).collect();
        let client = ClientIdentity::default();
        for _ in 0..ROUNDS {
            let mut waiting = Vec::with_capacity(POLLS);
            for (n, key) in keys.iter().cycle().take(POLLS).enumerate() {
                let (answer, coming) = oneshot::channel();
                let (records, wait) =
                    (vec![Watched { key: key.clone(), held: Holding::Content(None) }], 10_000 + n as u64 % 20_000);
                let wait = Some(Duration::from_millis(wait));
                testbed.polls.do_send(Hold { records, client: client.clone(), wait, answer });
                waiting.push(coming);
            }
            assert_eq!(testbed.count("polls").await, POLLS as u64);
            assert_eq!((testbed.count("keys").await, testbed.held()), (1_000, POLLS as i64));
            for waiting in waiting {
                assert_eq!(waiting.await, Ok(PollAnswer::Quiet));
            }
            assert_eq!((testbed.count("polls").await, testbed.count("capacity").await, testbed.held()), (0, 0, 0));
        }
    });
}
