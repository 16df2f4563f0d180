//! The door for writes over the part of a node below it, on paused time. The writer of the store is a desk: a test
//! decides when a commit is carried out and what is said of it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_protocol::commit::Standing;
use callboard_protocol::receiver;
use callboard_protocol::write_request::Effect as Done;

use super::*;
use crate::event_bus::ConfigEvent;
use crate::runtime::{Observe, Spec, start};
use crate::store::CommitRequest;
use crate::testbed::node::{Node, me};
use crate::testbed::{Desk, Questions, advance, put, query, rebuild, run, settle, text};

struct Testbed {
    node: Node,
    manager: Addr<ConfManager>,
    commits: Questions<WriteBatch>,
}

impl Testbed {
    /// A member that publishes by these bounds.
    async fn start(options: Options) -> Self {
        let node = Node::start(receiver::Options::default()).await;
        let (writer, commits) = Desk::open();
        let (cluster_notify, lease_keeper) = (node.cluster_notify.clone(), node.leases.lease_keeper.clone());
        let deps = Deps { cluster_notify, writer, lease_keeper, audit: Trail::off() };
        let (time, counts) = (node.leases.clock.clone(), node.leases.metrics.publish.clone());
        let manager = start(&Spec::new(&node.leases.registry, "conf_manager").capacity(1_024), move |_| {
            ConfManager::new(options.clone(), deps.clone(), time.clone(), counts.clone())
        });
        node.leases.joined(None).await;
        Self { node, manager, commits }
    }

    fn publish(&self, unit: &Arc<WriteRequest>) -> oneshot::Receiver<PublishOutcome> {
        let (reply, outcome) = oneshot::channel();
        self.manager.do_send(Publish { unit: Arc::clone(unit), reply });
        outcome
    }

    /// Does what the commit asks for.
    async fn carry_out(&self, commit: &WriteBatch) -> Result<callboard_protocol::commit::Decision, CommitError> {
        let (units, acks) = (commit.units.clone(), commit.acks.clone());
        let (timeline, standing, at) = (commit.timeline, commit.standing.clone(), commit.at);
        self.node.leases.database.writer.commit(CommitRequest { units, timeline, standing, acks, at }).await
    }

    /// Carries the next commit out and says so; answers what was in it.
    async fn commit_next(&mut self) -> WriteBatch {
        let (commit, reply) = self.commits.next().await;
        let result = self.carry_out(&commit).await;
        reply.send(result).unwrap();
        commit
    }

    async fn stall(&self) -> Option<String> {
        query(&self.manager, GetStall).await
    }
}

/// The version that a publish made.
fn version(outcome: &PublishOutcome) -> u64 {
    match outcome {
        PublishOutcome::Settled(WriteOutcome::Done { items, .. }) => items[0].version.0,
        other => panic!("{other:?}"),
    }
}

fn aborted(cause: Cause) -> CommitError {
    CommitError::Aborted { cause, reason: "a test".into() }
}

fn unknown() -> CommitError {
    CommitError::Unknown { cause: Cause::Unreachable, reason: "a test".into() }
}

fn contents(commit: &WriteBatch) -> Vec<String> {
    commit.units.iter().map(|unit| unit.items[0].key.data_id().to_owned()).collect()
}

#[test]
fn a_publish_is_committed_on_the_acks_of_the_members_and_answered_when_it_is_durable() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        let unit = put("a", "x");
        let mut outcome = testbed.publish(&unit);
        let (commit, reply) = testbed.commits.next().await;
        assert_eq!(commit.standing, Standing::Member(me()));
        assert_eq!(commit.acks.iter().map(|ack| ack.node.clone()).collect::<Vec<_>>(), [me()]);
        settle().await;
        outcome.try_recv().expect_err("nothing is durable yet");
        let result = testbed.carry_out(&commit).await;
        reply.send(result).unwrap();
        let outcome = outcome.await.unwrap();
        assert_eq!(version(&outcome), 1);
        let PublishOutcome::Settled(WriteOutcome::Done { items, .. }) = outcome else { panic!("done") };
        assert_eq!(items[0].effect, Done::Created);
        assert_eq!(query(&testbed.manager, CountOpen).await, 0);
    });
}

#[test]
fn what_comes_in_during_a_commit_is_one_batch_and_its_callers_are_answered_in_order() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        let first = testbed.publish(&put("first", "x"));
        let (commit, reply) = testbed.commits.next().await;
        let names = ["a", "b", "c"];
        let waiting: Vec<_> = names.iter().map(|name| testbed.publish(&put(name, "x"))).collect();
        testbed.commits.none().await;
        let result = testbed.carry_out(&commit).await;
        reply.send(result).unwrap();
        assert_eq!(version(&first.await.unwrap()), 1);
        assert_eq!(contents(&testbed.commit_next().await), names);
        for (waiting, expected) in waiting.into_iter().zip(2..) {
            assert_eq!(version(&waiting.await.unwrap()), expected);
        }
    });
}

#[test]
fn who_comes_when_too_much_waits_is_turned_away_at_once() {
    run(async || {
        let mut testbed = Testbed::start(Options { max_queued: 2, ..Options::default() }).await;
        let first = testbed.publish(&put("first", "x"));
        let (commit, reply) = testbed.commits.next().await;
        let waiting = [testbed.publish(&put("a", "x")), testbed.publish(&put("b", "x"))];
        let refused = testbed.publish(&put("c", "x"));
        assert_eq!(refused.await.unwrap(), PublishOutcome::Busy);
        assert_eq!(query(&testbed.manager, CountOpen).await, 3);
        let result = testbed.carry_out(&commit).await;
        reply.send(result).unwrap();
        assert_eq!(version(&first.await.unwrap()), 1);
        assert_eq!(contents(&testbed.commit_next().await), ["a", "b"]);
        for waiting in waiting {
            version(&waiting.await.unwrap());
        }
        let later = testbed.publish(&put("c", "x"));
        testbed.commit_next().await;
        assert_eq!(version(&later.await.unwrap()), 4);
    });
}

#[test]
fn a_publish_runs_on_when_its_caller_went_away_and_subscribers_are_told() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        drop(testbed.publish(&put("a", "x")));
        testbed.commit_next().await;
        let is_told = |event: &ConfigEvent| matches!(event, ConfigEvent::Changed(states) if text(&states[0]) == "x");
        testbed.node.told.until(is_told).await;
        assert_eq!(query(&testbed.manager, Observe).await["waiting_callers"], 0);
    });
}

#[test]
fn a_commit_of_unknown_outcome_that_landed_is_answered_as_done() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        let outcome = testbed.publish(&put("a", "x"));
        let (commit, reply) = testbed.commits.next().await;
        testbed.carry_out(&commit).await.unwrap();
        reply.send(Err(unknown())).unwrap();
        assert_eq!(version(&outcome.await.unwrap()), 1);
    });
}

#[test]
fn a_commit_of_unknown_outcome_that_did_not_land_failed_for_certain() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        let outcome = testbed.publish(&put("a", "x"));
        let (commit, reply) = testbed.commits.next().await;
        reply.send(Err(unknown())).unwrap();
        let outcome = outcome.await.unwrap();
        assert!(matches!(outcome, PublishOutcome::Failed { .. }), "{outcome:?}");
        let decided = testbed.carry_out(&commit).await.unwrap();
        assert!(matches!(decided, callboard_protocol::commit::Decision::NeedAcks(_)), "it may land: {decided:?}");
        let next = testbed.publish(&put("a", "y"));
        testbed.commit_next().await;
        assert_eq!(version(&next.await.unwrap()), 1);
    });
}

#[test]
fn a_commit_that_was_undone_is_tried_again_a_few_times_and_then_its_caller_is_told_why() {
    run(async || {
        let options = Options::default();
        let mut testbed = Testbed::start(options.clone()).await;
        let mut outcome = testbed.publish(&put("a", "x"));
        let mut tries = 0;
        let outcome = loop {
            advance(Duration::from_millis(100)).await;
            if let Ok(outcome) = outcome.try_recv() {
                break outcome;
            }
            if let Some((_, reply)) = testbed.commits.try_next() {
                tries += 1;
                reply.send(Err(aborted(Cause::Contention))).unwrap();
            }
        };
        assert_eq!(outcome, PublishOutcome::Failed { reason: Cause::Contention.to_string() });
        assert_eq!(tries, options.commit_retries + 1);
    });
}

#[test]
fn a_unit_that_the_database_refuses_fails_alone() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        let first = testbed.publish(&put("first", "x"));
        let (commit, reply) = testbed.commits.next().await;
        let (good, bad) = (testbed.publish(&put("good", "x")), testbed.publish(&put("bad", "x")));
        let result = testbed.carry_out(&commit).await;
        reply.send(result).unwrap();
        version(&first.await.unwrap());
        let (mut good, mut bad) = (good, bad);
        let (mut done, mut refused) = (None, None);
        while done.is_none() || refused.is_none() {
            advance(Duration::from_millis(10)).await;
            done = done.or_else(|| good.try_recv().ok());
            refused = refused.or_else(|| bad.try_recv().ok());
            if let Some((commit, reply)) = testbed.commits.try_next() {
                let is_refused = contents(&commit).contains(&"bad".to_owned());
                let result = if is_refused { Err(aborted(Cause::Refused)) } else { testbed.carry_out(&commit).await };
                reply.send(result).unwrap();
            }
        }
        assert_eq!(version(&done.unwrap()), 2);
        let refused = refused.unwrap();
        assert_eq!(refused, PublishOutcome::Rejected { reason: Cause::Refused.to_string() });
        assert_eq!(testbed.stall().await, None, "the next one would go through");
    });
}

#[test]
fn why_publishes_do_not_get_to_their_commit_is_news_for_a_while() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        // A member that never acknowledges.
        let row = crate::store::JoinRequest {
            node: callboard_protocol::member::NodeId("n2".into()),
            incarnation: callboard_protocol::member::Incarnation(Uuid::from_u128(2)),
            first_life: callboard_protocol::member::Incarnation(Uuid::from_u128(2)),
            boot_id: "another boot".into(),
            address: "127.0.0.1:2".into(),
            versions: (1, 1),
            is_alone: false,
        };
        testbed.node.leases.database.writer.join(row).await.unwrap();
        let mut outcome = testbed.publish(&put("a", "x"));
        let outcome = loop {
            advance(Duration::from_millis(500)).await;
            if let Ok(outcome) = outcome.try_recv() {
                break outcome;
            }
            if let Some((commit, reply)) = testbed.commits.try_next() {
                let result = testbed.carry_out(&commit).await;
                reply.send(result).unwrap();
            }
        };
        let PublishOutcome::Failed { reason } = outcome else { panic!("{outcome:?}") };
        assert_eq!(testbed.stall().await, Some(reason));
        advance(STALL_IS_NEWS_FOR).await;
        assert_eq!(testbed.stall().await, None);
    });
}

#[test]
fn publishes_go_on_after_those_below_were_rebuilt() {
    run(async || {
        let mut testbed = Testbed::start(Options::default()).await;
        for round in 1..=2 {
            rebuild(&testbed.node.cluster_notify).await;
            rebuild(&testbed.node.leases.lease_keeper).await;
            let mut outcome = testbed.publish(&put("a", &round.to_string()));
            let outcome = loop {
                advance(Duration::from_millis(20)).await;
                if let Ok(outcome) = outcome.try_recv() {
                    break outcome;
                }
                if let Some((commit, reply)) = testbed.commits.try_next() {
                    let result = testbed.carry_out(&commit).await;
                    reply.send(result).unwrap();
                }
            };
            assert_eq!(version(&outcome), round);
        }
    });
}
