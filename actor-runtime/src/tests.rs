//! Tests of the runtime: what is counted, and that actors survive their panics.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    sync::mpsc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, MailboxError, Message, ResponseActFuture, Running,
    WrapFuture,
};
use prometheus_client::encoding::text;
use serde_json::json;

use super::*;

const SOON: Duration = Duration::from_secs(1);

/// Runs a test on an actix system whose clock jumps ahead when nobody is busy.
fn paused(test: impl Future<Output = ()>) {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test);
}

/// Adds numbers and fails on request.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl Actor for Adder {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        assert_ne!(self.sum, 13, "thirteen is no good sum to stop with");
        Running::Stop
    }
}

impl Observable for Adder {
    fn observe(&self) -> serde_json::Value {
        json!({ "sum": self.sum })
    }
}

monitored!(Adder, "test_adder");

struct Add(u64);

impl Message for Add {
    type Result = u64;
}

impl Handler<Add> for Adder {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Self::Context) -> u64 {
        self.sum += number;
        self.sum
    }
}

struct Divide(u64);

impl Message for Divide {
    type Result = u64;
}

impl Handler<Divide> for Adder {
    type Result = u64;

    fn handle(&mut self, Divide(by): Divide, _: &mut Self::Context) -> u64 {
        self.sum / by
    }
}

/// Runs the closure in the handler, with all that a handler has.
struct Run(Work);

type Work = Box<dyn FnOnce(&mut Adder, &mut Context<Adder>) + Send>;

impl Run {
    fn new(work: impl FnOnce(&mut Adder, &mut Context<Adder>) + Send + 'static) -> Self {
        Self(Box::new(work))
    }
}

impl Message for Run {
    type Result = ();
}

impl Handler<Run> for Adder {
    type Result = ();

    fn handle(&mut self, Run(work): Run, context: &mut Self::Context) {
        work(self, context);
    }
}

/// Never answers.
struct Ignore;

impl Message for Ignore {
    type Result = ();
}

impl Handler<Ignore> for Adder {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Ignore, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending().into_actor(self))
    }
}

fn adder(registry: &Registry) -> actix::Addr<Adder> {
    start(&Spec::new(registry, "adder"), |_| Adder::default())
}

fn count_of(report: &ActorReport, message: &str) -> u64 {
    let mut messages = report.messages.iter();
    messages.find(|each| each.message == message).map_or(0, |each| each.count)
}

#[test]
fn messages_are_counted_by_type() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        addr.do_send(Add(1));
        assert_eq!(ask(&addr, Add(2), SOON).await, Ok(3));
        assert_eq!(ask(&addr.recipient(), Divide(3), SOON).await, Ok(1));

        let report = registry.get("adder").unwrap();
        assert_eq!(report.kind, "test_adder");
        assert_eq!(report.arbiter, "main");
        assert_eq!(report.live, 1);
        assert_eq!(count_of(&report, "Add"), 2);
        assert_eq!(count_of(&report, "Divide"), 1);
        let add = report.messages.first().unwrap();
        assert!(add.queue.p50_us <= add.queue.p99_us && add.queue.p99_us <= add.queue.max_us);
        assert!(add.handle.max_us > 0);
    });
}

#[test]
fn messages_to_oneself_are_counted_too() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let work = Run::new(|_, context| {
            context.notify(Add(1));
            context.notify_later(Add(2), Duration::from_secs(5));
        });
        ask(&addr, work, SOON).await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(ask(&addr, Add(0), SOON).await, Ok(3));
        assert_eq!(count_of(&registry.get("adder").unwrap(), "Add"), 3);
    });
}

/// Its own kind, since the gauge is shared by all actors of a kind.
struct Sleeper;

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Observable for Sleeper {
    fn observe(&self) -> serde_json::Value {
        json!(null)
    }
}

monitored!(Sleeper, "test_sleeper");

struct Block {
    begun: mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
}

impl Message for Block {
    type Result = ();
}

impl Handler<Block> for Sleeper {
    type Result = ();

    fn handle(&mut self, block: Block, _: &mut Self::Context) {
        block.begun.send(()).unwrap();
        block.release.recv().unwrap();
    }
}

#[test]
fn depth_rises_while_a_handler_blocks_and_falls_to_zero() {
    actix_rt::System::new().block_on(async {
        let registry = Registry::new();
        let depth = || registry.get("sleeper").unwrap().mailbox_depth;
        let arbiter = actix_rt::Arbiter::new();
        let spec = Spec::new(&registry, "sleeper").arbiter("side");
        // Built on the arbiter, so it may hold what is not `Send`.
        let addr = start_in(&arbiter.handle(), &spec, |_| Sleeper);

        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        addr.do_send(Block { begun, release: released });
        has_begun.recv().unwrap();
        assert_eq!(depth(), 0);
        for _ in 0..3 {
            addr.do_send(Observe);
        }
        assert_eq!(depth(), 3);
        assert!(addr.try_send(Observe).is_ok());
        release.send(()).unwrap();
        ask(&addr, Observe, Duration::from_secs(60)).await.unwrap();
        assert_eq!(depth(), 0);

        let report = registry.get("sleeper").unwrap();
        assert_eq!(report.arbiter, "side");
        assert_eq!(count_of(&report, "Observe"), 5);
        arbiter.stop();
        arbiter.join().unwrap();
        // What nobody handles any more does not wait either.
        addr.do_send(Observe);
        assert_eq!(Sleeper::mailbox_depth().get(), 0);
    });
}

#[test]
fn panic_in_a_handler_costs_one_message_and_the_state() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let recipient = addr.clone().recipient::<Add>();
        addr.do_send(Add(5));
        let failed = addr.send(Divide(0));
        let queued = addr.send(Add(7));
        assert!(matches!(failed.await, Err(MailboxError::Closed)));
        assert_eq!(queued.await, Ok(7));
        assert!(addr.connected());
        assert_eq!(ask(&recipient, Add(1), SOON).await, Ok(8));

        let report = registry.get("adder").unwrap();
        assert_eq!((report.panics, report.restarts), (1, 1));
        assert_eq!(count_of(&report, "Add"), 3);
        assert_eq!(count_of(&report, "Divide"), 0);
    });
}

#[test]
fn panic_in_an_interval_or_a_future_restarts_the_actor() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        for round in 1..=2 {
            let interval = round == 1;
            let work = Run::new(move |adder, context| {
                adder.sum = 100;
                if interval {
                    context.run_interval(SOON, |adder, _| assert_eq!(adder.sum, 0));
                } else {
                    let nap = tokio::time::sleep(SOON).into_actor(adder);
                    context.spawn(nap.map(|(), adder, _| assert_eq!(adder.sum, 0)));
                }
            });
            addr.do_send(work);
            tokio::time::sleep(SOON * 3).await;
            assert_eq!(ask(&addr, Add(1), SOON).await, Ok(1));
            let report = registry.get("adder").unwrap();
            assert_eq!((report.panics, report.restarts), (round, round));
        }
    });
}

#[test]
fn a_restart_leaves_nothing_of_the_life_before() {
    paused(async {
        let registry = Registry::new();
        let addr = start(&Spec::new(&registry, "adder"), |context| {
            context.run_interval(SOON, |adder: &mut Adder, _| adder.sum += 1);
            Adder::default()
        });
        // Cancels the interval and fails before the cancellation is carried out: it must not
        // hit the interval of the next life.
        let work = Run::new(|_, context| {
            let handle = context.run_interval(SOON, |adder, _| adder.sum += 1_000);
            for handle in 0..=handle.into_usize() {
                // Handles are counted from one; this cancels all of them.
                let same = (0..handle).fold(actix::SpawnHandle::default(), |h, _| h.next());
                context.cancel_future(same);
            }
            panic!("after cancelling");
        });
        addr.do_send(work);
        tokio::time::sleep(SOON * 10 + SOON / 2).await;
        assert_eq!(ask(&addr, Add(0), SOON).await, Ok(10));
    });
}

#[test]
fn a_failing_factory_is_tried_again_with_pauses() {
    paused(async {
        let registry = Registry::new();
        let tries = Rc::new(Cell::new(0));
        let begun = tokio::time::Instant::now();
        let addr = start(&Spec::new(&registry, "adder"), move |_| {
            tries.set(tries.get() + 1);
            assert!(tries.get() > 5, "not yet");
            Adder::default()
        });
        assert_eq!(ask(&addr, Add(1), SOON).await, Ok(1));
        // 0 + 10 + 20 + 40 + 80 ms.
        assert!(begun.elapsed() >= Duration::from_millis(150));
        assert!(begun.elapsed() < Duration::from_millis(200));
        let report = registry.get("adder").unwrap();
        assert_eq!((report.panics, report.restarts), (5, 1));
    });
}

#[test]
fn panic_while_stopping_ends_the_actor() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        addr.do_send(Add(13));
        addr.do_send(Run::new(|_, context| context.stop()));
        assert_eq!(ask(&addr, Add(0), SOON).await, Err(AskError::Closed));
        assert!(registry.list().is_empty());
        assert_eq!(registry.totals().first().unwrap().tally.panics, 1);
    });
}

#[test]
fn an_actor_with_one_life_ends_with_its_panic() {
    paused(async {
        let registry = Registry::new();
        let irreplaceable = Adder { sum: 5 };
        let addr = start_once(&Spec::new(&registry, "adder"), |_| irreplaceable);
        assert_eq!(ask(&addr, Add(1), SOON).await, Ok(6));
        assert_eq!(ask(&addr, Divide(0), SOON).await, Err(AskError::Closed));
        assert_eq!(ask(&addr, Add(1), SOON).await, Err(AskError::Closed));
        assert!(registry.list().is_empty());
        let total = registry.totals().into_iter().next().unwrap();
        assert_eq!((total.tally.panics, total.tally.restarts), (1, 0));
    });
}

#[test]
fn an_actor_for_a_stopped_arbiter_is_closed() {
    actix_rt::System::new().block_on(async {
        let registry = Registry::new();
        let arbiter = actix_rt::Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        arbiter.join().unwrap();
        let addr = start_in(&handle, &Spec::new(&registry, "late"), |_| Adder::default());
        assert_eq!(ask(&addr, Add(1), SOON).await, Err(AskError::Closed));
        assert!(registry.list().is_empty());
    });
}

#[test]
fn a_message_without_asker_is_skipped_and_counted() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        drop(addr.send(Add(5)));
        assert_eq!(ask(&addr, Add(1), SOON).await, Ok(1));
        let report = registry.get("adder").unwrap();
        assert_eq!(report.cancelled, 1);
        assert_eq!(report.messages.first().unwrap().cancelled, 1);
        assert_eq!(count_of(&report, "Add"), 1);
    });
}

#[test]
fn an_ask_ends_at_its_deadline() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&addr, Ignore, SOON).await, Err(AskError::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 1);
    });
}

#[test]
fn an_actor_without_addresses_stops_but_its_figures_stay_in_the_total() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let second = adder(&registry);
        let names: Vec<_> = registry.list().into_iter().map(|each| each.name).collect();
        assert_eq!(names, ["adder", "adder#2"]);
        assert_eq!(ask(&second, Add(1), SOON).await, Ok(1));
        drop(second);
        assert_eq!(ask(&addr, Add(1), SOON).await, Ok(1));
        assert!(registry.get("adder#2").is_none());
        let total = registry.totals().into_iter().next().unwrap();
        assert_eq!(total.live, 1);
        assert_eq!(total.tally.messages.get("Add").unwrap().handle.count(), 2);
    });
}

#[test]
fn an_actor_kept_by_its_timer_can_hand_out_its_address_again() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let (out, mut addresses) = tokio::sync::mpsc::unbounded_channel();
        let work = Run::new(move |_, context| {
            context.run_interval(SOON * 60, move |_, context| {
                out.send(context.address()).unwrap();
            });
        });
        addr.do_send(work);
        drop(addr);
        for round in 1..4 {
            let addr = addresses.recv().await.unwrap();
            assert_eq!(ask(&addr, Add(1), SOON).await, Ok(round));
        }
        assert!(registry.panic_in("adder"));
        tokio::time::sleep(SOON).await;
        assert!(registry.list().is_empty(), "no address and no timer left");
    });
}

#[test]
fn an_alarm_rings_once_for_the_moment_that_was_set_last() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let begun = tokio::time::Instant::now();
        let set = |alarm: &Rc<Alarm<u32>>, next: Option<u32>, adds: u64, context: &mut Context<Adder>| {
            let again = Rc::clone(alarm);
            alarm.set(
                next,
                |at| SOON * at,
                context,
                move |adder: &mut Adder, context| {
                    adder.sum += adds;
                    // Nothing is pending any more: the same moment can be set again.
                    again.set(
                        next.filter(|_| adds == 100),
                        |at| SOON * at,
                        context,
                        |adder: &mut Adder, _| adder.sum += 1_000,
                    );
                },
            );
        };
        addr.do_send(Run::new(move |_, context| {
            let [kept, moved, cancelled, repeated] = std::array::from_fn(|_| Rc::new(Alarm::default()));
            set(&kept, Some(2), 1, context);
            set(&kept, Some(2), 7, context);
            set(&moved, Some(1), 7, context);
            set(&moved, Some(3), 10, context);
            set(&cancelled, Some(1), 7, context);
            set(&cancelled, None, 7, context);
            set(&repeated, Some(4), 100, context);
        }));
        for (seconds, sum) in [(1, 0), (2, 1), (3, 11), (4, 111), (7, 111), (8, 1_111), (60, 1_111)] {
            tokio::time::sleep_until(begun + SOON * seconds + SOON / 2).await;
            assert_eq!(ask(&addr, Add(0), SOON).await, Ok(sum), "after {seconds} s");
        }
    });
}

#[test]
fn aggregated_actors_share_one_entry() {
    paused(async {
        let registry = Registry::new();
        let spec = Spec::new(&registry, "session").aggregate();
        let mut sessions: Vec<_> = (0..5).map(|_| start(&spec, |_| Adder::default())).collect();
        for session in &sessions {
            assert_eq!(ask(session, Add(1), SOON).await, Ok(1));
        }
        let report = registry.get("session").unwrap();
        assert_eq!((report.live, count_of(&report, "Add")), (5, 5));
        assert_eq!(registry.list().len(), 1);

        sessions.truncate(2);
        tokio::time::sleep(SOON).await;
        let report = registry.get("session").unwrap();
        assert_eq!((report.live, count_of(&report, "Add")), (2, 5));
        let observation = registry.observe("session", SOON).await.unwrap();
        assert!(observation.snapshot_missing.is_some());
    });
}

#[test]
fn an_observation_holds_the_snapshot_or_says_why_not() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        assert_eq!(ask(&addr, Add(4), SOON).await, Ok(4));
        let observation = registry.observe("adder", SOON).await.unwrap();
        assert_eq!(observation.snapshot, Some(json!({ "sum": 4 })));
        let text = serde_json::to_value(&observation).unwrap();
        assert_eq!(text["kind"], "test_adder");
        assert_eq!(text["messages"][0]["message"], "Add");

        let work = Run::new(|adder, context| {
            context.wait(std::future::pending().into_actor(adder));
        });
        addr.do_send(work);
        let observation = registry.observe("adder", SOON).await.unwrap();
        assert_eq!(observation.snapshot_missing.as_deref(), Some("not answered within 1000 ms"));
        assert!(registry.observe("nobody", SOON).await.is_none());
    });
}

#[test]
fn every_actor_can_be_made_to_panic_by_name() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        addr.do_send(Add(4));
        assert!(registry.panic_in("adder"));
        assert!(!registry.panic_in("nobody"));
        assert_eq!(ask(&addr, Add(1), SOON).await, Ok(1));
        assert_eq!(registry.get("adder").unwrap().panics, 1);
    });
}

#[test]
fn a_busy_actor_lets_others_run() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        for _ in 0..1_000 {
            addr.do_send(Add(1));
        }
        let other = actix_rt::spawn(async move { count_of(&registry.get("adder").unwrap(), "Add") });
        let handled = other.await.unwrap();
        assert!(handled > 0 && handled < 1_000, "{handled}");
        assert_eq!(ask(&addr, Add(0), SOON).await, Ok(1_000));
    });
}

#[test]
fn prometheus_gets_all_families() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        ask(&addr, Add(1), SOON).await.unwrap();
        ask(&addr, Divide(0), SOON).await.unwrap_err();
        ask(&addr, Add(1), SOON).await.unwrap();

        let mut metrics = prometheus_client::registry::Registry::default();
        metrics.register_collector(Box::new(registry.clone()));
        let mut out = String::new();
        text::encode(&mut out, &metrics).unwrap();
        for line in [
            "# TYPE callboard_actor_messages counter",
            "# TYPE callboard_actor_queue_seconds histogram",
            "callboard_actor_messages_total{actor=\"test_adder\",message=\"Add\"} 2",
            "callboard_actor_mailbox_depth{actor=\"test_adder\"} ",
            "callboard_actor_queue_seconds_count{actor=\"test_adder\"} 2",
            "callboard_actor_handle_seconds_bucket{le=\"+Inf\",actor=\"test_adder\"} 2",
            "callboard_actor_restarts_total{actor=\"test_adder\"} 1",
            "callboard_actor_panics_total{actor=\"test_adder\"} 1",
            "callboard_actor_live{actor=\"test_adder\"} 1",
        ] {
            assert!(out.contains(line), "{line} is missing in\n{out}");
        }
    });
}

#[test]
fn times_are_measured() {
    paused(async {
        let registry = Registry::new();
        let addr = adder(&registry);
        let begun = Instant::now();
        let work = Run::new(|_, _| std::thread::sleep(Duration::from_millis(3)));
        addr.do_send(work);
        ask(&addr, Add(1), SOON).await.unwrap();
        let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
        let report = registry.get("adder").unwrap();
        let run = report.messages.iter().find(|m| m.message == "Run").unwrap();
        let add = report.messages.iter().find(|m| m.message == "Add").unwrap();
        assert!(run.handle.max_us >= 3_000 && run.handle.p99_us <= whole + 1);
        assert!(add.queue.max_us >= 3_000, "it waited for the other: {add:?}");
    });
}
