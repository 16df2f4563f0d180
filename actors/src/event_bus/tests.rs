//! The bus between those who tell and those who listen, some of whom are slow, or gone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::rc::Rc;

use actix::fut::wrap_future;
use actix::{ActorContext as _, ActorFutureExt as _, Addr};
use tokio::sync::oneshot;

use super::*;
use crate::metrics::Metrics;
use crate::runtime::{Observe, Registry, Spec, start};
use crate::testbed::{Witness, advance, query, rebuild, run, settle, state, until};

/// Hears of configurations once it has woken up, and stops when it is told of version 0.
struct Sleeper {
    told: Rc<RefCell<Vec<ConfigEvent>>>,
    wakes: Option<oneshot::Receiver<()>>,
}

impl Actor for Sleeper {
    type Context = actix::Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(wakes) = self.wakes.take() {
            context.wait(wrap_future(wakes).map(|_, _, _| ()));
        }
    }
}

impl Handler<ConfigEvent> for Sleeper {
    type Result = ();

    fn handle(&mut self, event: ConfigEvent, context: &mut Self::Context) {
        if number(&event) == Some(0) {
            context.stop();
        }
        self.told.borrow_mut().push(event);
    }
}

fn start_bus() -> (Addr<EventBus>, PushMetrics) {
    let metrics = Metrics::default().push;
    let counts = metrics.clone();
    (start(&Spec::new(&Registry::new(), "event_bus").capacity(1_024), move |_| EventBus::new(counts.clone())), metrics)
}

fn changed(version: u64) -> Publish {
    Publish(ConfigEvent::Changed(Arc::from([state("a", version, "x")])))
}

fn number(event: &ConfigEvent) -> Option<u64> {
    match event {
        ConfigEvent::Changed(states) => Some(states[0].version.0),
        ConfigEvent::Recheck => None,
    }
}

#[test]
fn who_sleeps_holds_nobody_up_and_is_told_to_look_once_it_fell_too_far_behind() {
    const EVENTS: u64 = 2_000;
    run(async || {
        let (bus, metrics) = start_bus();
        let (wake, wakes) = oneshot::channel();
        let slept = Rc::new(RefCell::new(Vec::new()));
        let sleeper = Sleeper { told: Rc::clone(&slept), wakes: Some(wakes) }.start();
        let (quick, told) = Witness::start();
        let _sleeping = query(&bus, Subscribe(sleeper.recipient())).await;
        let _quick = query(&bus, Subscribe(quick)).await;
        for version in 1..=EVENTS {
            bus.do_send(changed(version));
            query(&bus, Observe).await;
            tokio::task::yield_now().await;
        }
        settle().await;
        let told: Vec<_> = told.take().iter().map(number).collect();
        assert_eq!(told, (1..=EVENTS).map(Some).collect::<Vec<_>>(), "in order, while another one sleeps");

        assert!(slept.borrow().is_empty());
        wake.send(()).unwrap();
        while slept.borrow().last().and_then(number) != Some(EVENTS) {
            advance(RETRY).await;
        }
        let told: Vec<_> = slept.borrow().iter().map(number).collect();
        let rechecks: Vec<_> = (0..told.len()).filter(|at| told[*at].is_none()).collect();
        let [recheck] = rechecks[..] else { panic!("told to look at {rechecks:?}") };
        let (before, after) = (&told[..recheck], &told[recheck + 1..]);
        assert_eq!(before, (1..=recheck as u64).map(Some).collect::<Vec<_>>());
        assert_eq!(after, (EVENTS + 1 - after.len() as u64..=EVENTS).map(Some).collect::<Vec<_>>());
        assert!(after.len() <= MAX_WAITING && told.len() < EVENTS as usize, "its queue is bounded");
        assert_eq!(metrics.lagged.get(), 1);
    });
}

#[test]
fn who_is_gone_is_forgotten_and_learns_it() {
    run(async || {
        let (bus, _) = start_bus();
        let sleeper = Sleeper { told: Rc::default(), wakes: None }.start();
        let held = query(&bus, Subscribe(sleeper.clone().recipient())).await;
        bus.do_send(changed(0));
        until("its end", || (!sleeper.connected()).then_some(())).await;
        assert_eq!(query(&bus, Observe).await["subscribers"], 1, "nobody has noticed yet");
        bus.do_send(changed(1));
        held.lost().await;
        assert_eq!(query(&bus, Observe).await["subscribers"], 0);
    });
}

#[test]
fn who_listens_learns_that_the_bus_was_rebuilt() {
    run(async || {
        let (bus, _) = start_bus();
        let (recipient, told) = Witness::start();
        let held = query(&bus, Subscribe(recipient)).await;
        rebuild(&bus).await;
        held.lost().await;
        bus.do_send(changed(1));
        settle().await;
        assert!(told.take().is_empty(), "it has to subscribe anew");
    });
}

#[test]
fn each_kind_of_event_has_an_audience_of_its_own() {
    run(async || {
        let (bus, _) = start_bus();
        let ((configs, of_configs), (pushes, of_pushes)) = (Witness::start(), Witness::start());
        let _configs = query(&bus, Subscribe(configs)).await;
        let _pushes = query(&bus, SubscribePushes(pushes)).await;
        bus.do_send(PublishPushes(PushNews::Missed));
        assert_eq!(of_pushes.next().await, PushNews::Missed);
        bus.do_send(changed(7));
        assert_eq!(number(&of_configs.next().await), Some(7));
        settle().await;
        assert!(of_pushes.take().is_empty() && of_configs.take().is_empty());
    });
}
