//! Others have their turn between two steps, and turns are given in the order in which they were asked for.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::rc::Rc;

use actix::fut::wrap_future;
use actix::{AsyncContext as _, Context};

use super::*;
use crate::testbed::{run, until};

/// Works in a hundred steps from its start.
struct Worker(Rc<Cell<usize>>);

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.spawn(in_steps(|worker: &mut Self, _| {
            worker.0.set(worker.0.get() + 1);
            (worker.0.get() == 100).then_some(())
        }));
        // What it does besides goes on.
        context.spawn(wrap_future(std::future::ready(())));
    }
}

#[test]
fn others_have_their_turn_between_two_steps() {
    run(async || {
        let done = Rc::new(Cell::new(0));
        Worker(Rc::clone(&done)).start();
        let mut seen = vec![0];
        until("the last step", || {
            if seen.last() != Some(&done.get()) {
                seen.push(done.get());
            }
            (done.get() == 100).then_some(())
        })
        .await;
        assert!(seen.len() > 50, "{seen:?}");
    });
}

#[test]
fn turns_are_given_in_the_order_in_which_they_were_asked_for() {
    let mut turns = Turns::default();
    assert!(turns.take().is_none());
    let (mut second, third, mut fourth) = (turns.take().unwrap(), turns.take().unwrap(), turns.take().unwrap());
    assert!(second.try_recv().is_err());
    turns.end();
    assert!(second.try_recv().is_ok() && fourth.try_recv().is_err());
    drop(third);
    turns.end();
    assert!(fourth.try_recv().is_ok(), "one that does not wait any more is passed over");
    turns.end();
    assert!(turns.take().is_none());
}
