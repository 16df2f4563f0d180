//! The whole node in one process: publish, read, hear of it; and the same while every kind of actor panics.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod testbed;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use callboard_protocol::config::Version;
use callboard_protocol::content::Md5;
use callboard_protocol::content::Reported;
use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::watch::Selector;
use callboard_protocol::write_request::{Condition, Effect, Refusal, WriteOutcome};

use testbed::{Testbed, text};
use tokio::sync::mpsc;

use crate::coordinator::SessionEvent;
use crate::long_poll::PollAnswer;
use crate::runtime::ask;
use crate::session::grpc::message::{Enter, Entered, InboundMessage, Listen, Listening, Notice, Query, StreamMessage};
use crate::session::stream::Frame;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Testbed) -> F) {
    System::new().block_on(async {
        let testbed = Testbed::start().await;
        test(testbed).await;
    });
}

#[test]
fn a_publish_is_read_by_every_worker_once_it_returned() {
    run(async |testbed| {
        for round in 1..=20 {
            let outcome = testbed.put("a", &round.to_string()).await;
            let PublishOutcome::Settled(WriteOutcome::Done { items, .. }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(items[0].version, Version(round));
            for worker in 0..testbed.workers.len() {
                let state = testbed.get_at(worker, "a").await;
                assert_eq!((state.version, text(&state)), (Version(round), Some(round.to_string())));
            }
        }
        assert!(testbed.node.metrics.cache.hits.get() > 0, "memory never answered");
    });
}

#[test]
fn a_removed_key_reads_as_absent_with_the_version_of_its_removal() {
    run(async |testbed| {
        testbed.put("a", "x").await;
        let outcome = testbed.remove("a").await;
        let PublishOutcome::Settled(WriteOutcome::Done { items, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!((items[0].version, items[0].effect), (Version(2), Effect::Removed));
        let state = testbed.get("a").await;
        assert!(state.is_absent());
        assert_eq!(state.version, Version(2));
        let outcome = testbed.remove("a").await;
        assert!(matches!(outcome, PublishOutcome::Settled(WriteOutcome::Refused(Refusal::NotFound { .. }))));
    });
}

#[test]
fn concurrent_creates_of_one_key_have_one_winner() {
    run(async |testbed| {
        let testbed = Rc::new(testbed);
        let tasks: Vec<_> = (0..32)
            .map(|n| {
                let testbed = Rc::clone(&testbed);
                actix_rt::spawn(async move { testbed.put_if("a", &n.to_string(), Condition::Absent).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                PublishOutcome::Settled(WriteOutcome::Done { .. }) => won += 1,
                PublishOutcome::Settled(WriteOutcome::Refused(Refusal::Conflict { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn a_wait_ends_when_the_key_differs_and_at_its_time() {
    run(async |testbed| {
        testbed.put("a", "1").await;
        let waiting = testbed.wait("a", Version(1), Duration::from_secs(30));
        testbed.put("other", "x").await;
        testbed.put("a", "2").await;
        assert_eq!(waiting.await, Ok(PollAnswer::Changed(vec![0])));
        assert_eq!(testbed.get("a").await.version, Version(3));
        let quiet = testbed.wait("a", Version(3), Duration::from_millis(50));
        assert_eq!(quiet.await, Ok(PollAnswer::Quiet));
    });
}

#[test]
fn a_stream_begins_anew_when_the_database_has_lost_commits() {
    run(async |testbed| {
        testbed.put("a", "1").await;
        let mut frames = testbed.stream(Selector::prefix("public", Some("g"), "a").unwrap(), None);
        assert_eq!(testbed::next_state(&mut frames).await, ("a".to_owned(), Version(1), Some("1".to_owned())));
        testbed.lose_history().await;
        let next = tokio::time::timeout(Duration::from_secs(20), frames.recv()).await.expect("nothing was said");
        assert!(matches!(next, Some(Frame::Reset)), "{next:?}");
        let lifted = Version(1_000_006);
        assert_eq!(testbed::next_state(&mut frames).await, ("a".to_owned(), lifted, Some("1".to_owned())));
    });
}

#[test]
fn a_long_poll_ends_when_its_key_differs_and_at_its_time() {
    run(async |testbed| {
        testbed.put("a", "1").await;
        let digest = |content: &str| Some(Md5::of(content.as_bytes()));
        let answer = testbed.poll("a", None, Duration::from_secs(30)).await;
        assert_eq!(answer, Ok(PollAnswer::Changed(vec![0])));
        let waiting = testbed.poll("a", digest("1"), Duration::from_secs(30));
        testbed.put("other", "x").await;
        testbed.put("a", "2").await;
        assert_eq!(waiting.await, Ok(PollAnswer::Changed(vec![0])));
        let removed = testbed.poll("a", digest("2"), Duration::from_secs(30));
        testbed.remove("a").await;
        assert_eq!(removed.await, Ok(PollAnswer::Changed(vec![0])));
        assert_eq!(testbed.poll("a", None, Duration::from_millis(60)).await, Ok(PollAnswer::Quiet));
    });
}

#[test]
fn a_stream_begins_with_what_is_there_and_goes_on_with_each_change() {
    run(async |testbed| {
        testbed.put("a1", "1").await;
        testbed.put("b", "1").await;
        let mut frames = testbed.stream(Selector::prefix("public", Some("g"), "a").unwrap(), None);
        assert_eq!(testbed::next_state(&mut frames).await, ("a1".to_owned(), Version(1), Some("1".to_owned())));
        testbed.put("a2", "2").await;
        testbed.remove("a1").await;
        assert_eq!(testbed::next_state(&mut frames).await, ("a2".to_owned(), Version(3), Some("2".to_owned())));
        assert_eq!(testbed::next_state(&mut frames).await, ("a1".to_owned(), Version(4), None));
        drop(frames);
        let mut resumed = testbed.stream(Selector::prefix("public", Some("g"), "a").unwrap(), Some(Version(3)));
        assert_eq!(testbed::next_state(&mut resumed).await, ("a1".to_owned(), Version(4), None));
    });
}

/// The kinds of actors that a node which is alone must live without for a moment.
const BREAKABLE: [&str; 14] = [
    "cache",
    "cache_refresh",
    "change_feed",
    "cluster_notify",
    "conf_manager",
    "coordinator",
    "event_bus",
    "lease_keeper",
    "long_poll",
    "reader",
    "retention",
    "store_reader",
    "store_writer",
    "stream_session",
];

/// Follows a stream until `keys` keys are there and all of them end on "end"; no key may go back.
async fn follow_to_the_end(mut frames: mpsc::Receiver<Frame>, keys: usize) {
    let mut newest: BTreeMap<String, (Version, Option<String>)> = BTreeMap::new();
    while let Some(frame) = frames.recv().await {
        let Frame::State { state, .. } = frame else { continue };
        let before = newest.insert(state.key.data_id().to_owned(), (state.version, text(&state)));
        assert!(before.is_none_or(|(version, _)| version < state.version), "{} went back", state.key);
        if newest.len() == keys && newest.values().all(|(_, text)| text.as_deref() == Some("end")) {
            return;
        }
    }
    panic!("the stream ended");
}

/// Every kind was broken, and every actor that panicked was started again.
fn assert_rebuilt(testbed: &Testbed, broken: &[String]) {
    let kinds: BTreeSet<&str> = broken.iter().map(String::as_str).collect();
    for kind in BREAKABLE {
        assert!(kinds.contains(kind), "{kind} was not broken");
    }
    for report in testbed.node.registry.list() {
        if kinds.contains(report.kind) {
            assert!(report.panics > 0 && report.restarts == report.panics, "{report:?}");
        }
    }
}

/// Those whom a Nacos client's session talks to panic, one after the other, with a publish after each: the client is
/// told each time, on the same connection, by a notice that it may get more than once.
#[test]
fn a_nacos_client_hears_whatever_breaks_around_its_session() {
    run(async |testbed| {
        let deadline = Duration::from_secs(20);
        let (session, mut notices, _closed) = testbed.nacos_client().await;
        let enter = || Enter { class: "test", bytes: 0, needs_setup: true };
        let query = async || {
            let found = ask(
                &session,
                Entered {
                    enter: enter(),
                    asks: Query {
                        key: testbed::key("a"),
                        is_for_all: true,
                        secrets: callboard_protocol::gray::Secrets::Hidden,
                    },
                },
                deadline,
            )
            .await
            .unwrap();
            text(&found.expect("it is set up").unwrap().state)
        };
        let listening =
            Listening { key: Some(testbed::key("a")), tenant: String::new(), reported: Reported::Content(None) };
        let listen = Entered { enter: enter(), asks: Listen(vec![listening]) };
        assert_eq!(ask(&session, listen, deadline).await.unwrap().unwrap().unwrap(), [false]);
        let names = ["coordinator-1", "reader-1", "event_bus", "change_feed", "cluster_notify", "coordinator-1"];
        for (round, broken) in names.into_iter().enumerate() {
            assert!(testbed.node.registry.panic_in(broken), "{broken} can't be broken");
            let content = format!("{round} after {broken}");
            testbed.settle("a", &content).await;
            let heard = async {
                loop {
                    let notice = notices.recv().await.expect("the stream goes on");
                    let Notice::Changed { number, .. } = *notice else { panic!("{notice:?}") };
                    session.do_send(InboundMessage {
                        stream: 1,
                        bytes: 0,
                        message: StreamMessage::Acknowledged(number, true),
                    });
                    if query().await.as_ref() == Some(&content) {
                        break;
                    }
                }
            };
            tokio::time::timeout(deadline, heard).await.unwrap_or_else(|_| panic!("nothing was heard after {broken}"));
        }
        assert!(session.connected());
    });
}

#[test]
fn a_node_that_stops_completes_the_stream_of_a_nacos_client_and_answers_what_it_asked() {
    run(async |testbed| {
        testbed.put("a", "1").await;
        let deadline = Duration::from_secs(20);
        let (session, mut notices, closed) = testbed.nacos_client().await;
        let query = || {
            let enter = Enter { class: "test", bytes: 0, needs_setup: true };
            Entered {
                enter,
                asks: Query {
                    key: testbed::key("a"),
                    is_for_all: true,
                    secrets: callboard_protocol::gray::Secrets::Hidden,
                },
            }
        };
        assert!(ask(&session, query(), deadline).await.unwrap().is_some(), "it is set up");
        let under_way = session.send(query());
        session.do_send(SessionEvent::Drain(Arc::default()));
        let coming = session.send(query());
        assert!(notices.recv().await.is_none(), "nothing is said");
        assert!(closed.await.is_err(), "its transport closes the connection");
        for answer in [under_way.await, coming.await] {
            let found = answer.unwrap().expect("it is set up").unwrap();
            assert_eq!(text(&found.state).as_deref(), Some("1"));
        }
    });
}

/// Each kind of actor panics in turn, several times, while publishers, a stream and long polls go on: publishers get
/// every value in, nobody reads an older value after a newer one, and the stream and the polls end on the newest of
/// every key.
#[test]
fn every_actor_may_panic_while_publishes_go_on() {
    const KEYS: usize = 4;
    run(async |testbed| {
        let testbed = Rc::new(testbed);
        let frames = testbed.stream(Selector::prefix("public", Some("g"), "").unwrap(), None);
        let stop = Rc::new(std::cell::Cell::new(false));
        let publishers: Vec<_> = (0..KEYS)
            .map(|n| actix_rt::spawn(testbed::publish_until(Rc::clone(&testbed), format!("k{n}"), Rc::clone(&stop))))
            .collect();
        let seen = actix_rt::spawn(follow_to_the_end(frames, KEYS));
        let polled: Vec<_> = (0..KEYS)
            .map(|n| actix_rt::spawn(testbed::poll_until(Rc::clone(&testbed), format!("k{n}"), "end")))
            .collect();
        testbed.until_published(KEYS * 3).await;

        let broken = testbed.break_every_actor().await;
        stop.set(true);
        for publisher in publishers {
            publisher.await.unwrap();
        }
        for n in 0..KEYS {
            testbed.settle(&format!("k{n}"), "end").await;
        }
        for n in 0..KEYS {
            for worker in 0..testbed.workers.len() {
                assert_eq!(text(&*testbed.get_at(worker, &format!("k{n}")).await).as_deref(), Some("end"));
            }
        }
        tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap().unwrap();
        for polled in polled {
            tokio::time::timeout(Duration::from_secs(20), polled).await.unwrap().unwrap();
        }
        assert_rebuilt(&testbed, &broken);
    });
}
