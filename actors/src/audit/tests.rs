//! What waits is written within a moment, summed where strangers cause it, and not lost while the database is away.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::access::audit::Outcome;
use callboard_protocol::error_code::ErrorCode;

use super::*;
use crate::runtime::{Registry, Spec, start};
use crate::store::{Cause, CommitError, WriteError};
use crate::testbed::{Desk, Questions, advance, clock, run};

struct Testbed {
    trail: Trail,
    written: Questions<WriteAudit>,
}

impl Testbed {
    /// An actor that has written that it began.
    async fn start() -> Self {
        let (writer, mut written) = Desk::open();
        let (time, metrics) = (clock(), AuditMetrics::default());
        let (inner, counts) = (time.clone(), metrics.clone());
        let spec = Spec::new(&Registry::new(), "audit").capacity(16);
        let actor =
            start(&spec, move |_| Audit::new(NodeId("one".into()), writer.clone(), inner.clone(), counts.clone()));
        advance(MOMENT).await;
        let first = written.answer(|_| Ok(())).await;
        assert_eq!((first.events[0].what, first.sees_others), (What::Started, true));
        Self { trail: Trail::new(actor, time, metrics), written }
    }

    fn note(&self, what: What) {
        self.trail.note(|at| Event::done(at, what, Who::SERVER, Target::default()));
    }

    fn refuse(&self) {
        self.trail.note(|at| {
            let event = Event::done(at, What::LogInRefused, Who::SERVER, Target::default());
            event.ended(Outcome::Refused, Some(ErrorCode::Unauthenticated))
        });
    }
}

fn away() -> Result<(), WriteError> {
    Err(WriteError::Failed(CommitError::Aborted { cause: Cause::Slow, reason: "away".to_owned() }))
}

fn counts(written: &WriteAudit) -> Vec<(What, u64)> {
    written.events.iter().map(|event| (event.what, event.count)).collect()
}

#[test]
fn what_comes_within_a_moment_is_one_record() {
    run(async || {
        let mut testbed = Testbed::start().await;
        testbed.note(What::LogIn);
        advance(MOMENT / 2).await;
        testbed.note(What::LogOut);
        testbed.written.none().await;
        advance(MOMENT / 2).await;
        let written = testbed.written.answer(|_| Ok(())).await;
        assert_eq!(counts(&written), [(What::LogIn, 1), (What::LogOut, 1)]);
        assert!(!written.sees_others);
        advance(LONG_MOMENT).await;
        testbed.written.none().await;
    });
}

#[test]
fn a_flood_is_one_event_in_a_second_and_what_is_lost_is_counted() {
    run(async || {
        let mut testbed = Testbed::start().await;
        for _ in 0..100 {
            testbed.refuse();
        }
        advance(MOMENT).await;
        testbed.written.none().await;
        advance(LONG_MOMENT).await;
        let counts = counts(&testbed.written.answer(|_| Ok(())).await);
        assert_eq!((counts.len(), counts[0].0, counts[1].0), (2, What::LogInRefused, What::LeftOut));
        assert_eq!(counts[0].1 + counts[1].1, 100);
        assert!(counts[1].1 >= 80, "the mailbox has an end: {counts:?}");
    });
}

#[test]
fn what_could_not_be_written_is_written_later_with_what_came_since() {
    run(async || {
        let mut testbed = Testbed::start().await;
        testbed.note(What::LogIn);
        advance(MOMENT).await;
        testbed.written.answer(|_| away()).await;
        testbed.note(What::LogOut);
        advance(LONG_MOMENT).await;
        assert_eq!(counts(&testbed.written.answer(|_| Ok(())).await), [(What::LogIn, 1), (What::LogOut, 1)]);
    });
}

#[test]
fn who_waits_is_told_whether_it_is_durable() {
    run(async || {
        let mut testbed = Testbed::start().await;
        for (answer, told) in [(away(), false), (Ok(()), true)] {
            let trail = testbed.trail.clone();
            let drained = |at| Event::done(at, What::Drained, Who::SERVER, Target::default());
            let waiting = actix_rt::spawn(async move { trail.record(drained).await });
            let written = testbed.written.answer(|_| answer).await;
            assert!(written.events.iter().any(|event| event.what == What::Drained));
            assert_eq!(waiting.await.unwrap(), told);
        }
        // There is nothing left to write.
        assert!(testbed.trail.flush(MOMENT).await.unwrap());
    });
}

#[test]
fn others_are_looked_at_every_hour() {
    run(async || {
        let mut testbed = Testbed::start().await;
        advance(LOOK_AROUND).await;
        advance(MOMENT).await;
        let written = testbed.written.answer(|_| Ok(())).await;
        assert!(written.sees_others && written.events.is_empty());
    });
}
