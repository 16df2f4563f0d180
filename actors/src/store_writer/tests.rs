//! Commits through the actor on a database of its own, and what it says of the database's health on paused time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use actix::Addr;
use callboard_protocol::write_request::WriteOutcome;
use uuid::Uuid;

use super::*;
use crate::metrics::Metrics;
use crate::runtime::{Observe, Registry, Spec, start};
use crate::store::Cause;
use crate::testbed::{Database, advance, clock, key, put, query, run, settle, text};

struct Testbed {
    database: Database,
    writer: Addr<StoreWriter>,
    metrics: StoreMetrics,
}

impl Testbed {
    async fn start() -> Self {
        let (database, metrics) = (Database::create().await, Metrics::default().store);
        let (writes, counts, time) = (database.writer.clone(), metrics.clone(), clock());
        let writer = start(&Spec::new(&Registry::new(), "store_writer"), move |_| {
            StoreWriter::new(writes.clone(), counts.clone(), time.clone())
        });
        Self { database, writer, metrics }
    }

    fn failures(&self, kind: &'static str) -> u64 {
        self.metrics.failures.get_or_create(&FailureLabel { kind }).get()
    }

    async fn trouble(&self) -> serde_json::Value {
        query(&self.writer, Observe).await["trouble"].clone()
    }
}

fn commit(units: &[Arc<WriteRequest>]) -> WriteBatch {
    WriteBatch {
        units: units.to_vec(),
        timeline: Timeline(1),
        standing: Standing::Direct,
        acks: Vec::new(),
        at: WallMillis(1),
    }
}

#[test]
fn the_units_of_a_commit_are_durable_in_their_order_when_it_is_answered() {
    run(async || {
        let testbed = Testbed::start().await;
        let units = [put("a", "1"), put("b", "2")];
        let Ok(Decision::Write(writes)) = query(&testbed.writer, commit(&units)).await else { panic!("not written") };
        assert_eq!(writes.revision, Version(2));
        assert!(matches!(&writes.outcomes[..], [WriteOutcome::Done { .. }, WriteOutcome::Done { .. }]));
        let filled = testbed.database.reader.fill(&["a", "b"].map(key)).await.unwrap();
        assert_eq!(filled.states.iter().map(|state| text(state)).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(testbed.trouble().await, serde_json::Value::Null);
    });
}

#[test]
fn a_commit_runs_to_its_end_when_who_asked_for_it_went_away() {
    run(async || {
        let testbed = Testbed::start().await;
        let unit = put("a", "1");
        let asking = testbed.writer.send(commit(std::slice::from_ref(&unit)));
        while query(&testbed.writer, Observe).await.is_null() {}
        drop(asking);
        while testbed.database.reader.look(std::slice::from_ref(&unit.request_id)).await.unwrap().units.is_empty() {
            settle().await;
        }
    });
}

#[test]
fn a_commit_that_fails_is_told_with_its_cause_and_whoever_asks_learns_that_commits_do_not_go_through() {
    run(async || {
        let testbed = Testbed::start().await;
        testbed.database.writer.close().await;
        let error = query(&testbed.writer, commit(&[put("a", "1")])).await.unwrap_err();
        let CommitError::Aborted { cause: Cause::Unreachable, .. } = error else { panic!("{error:?}") };
        assert_eq!((testbed.failures("aborted"), testbed.failures("unknown")), (1, 0));
        assert_eq!(testbed.metrics.writable.get(), 0);
        let why = query(&testbed.writer, ProveWritable).await.unwrap_err();
        assert!(why.starts_with(&Cause::Unreachable.to_string()), "{why}");
        assert_eq!(testbed.trouble().await, Cause::Unreachable.to_string());
    });
}

#[test]
fn a_batch_that_writes_nothing_says_nothing_of_the_database() {
    run(async || {
        let testbed = Testbed::start().await;
        let standing = Standing::Member(NodeId("n1".into()));
        let decided = query(&testbed.writer, WriteBatch { standing, ..commit(&[put("a", "1")]) }).await.unwrap();
        assert_eq!(decided, Decision::NotMember);
        assert_eq!((testbed.metrics.writable.get(), testbed.failures("aborted")), (1, 0));
        // So it has to be tried.
        testbed.database.writer.close().await;
        query(&testbed.writer, ProveWritable).await.unwrap_err();
    });
}

#[test]
fn a_commit_that_went_through_proves_for_a_while_that_others_would() {
    run(async || {
        let testbed = Testbed::start().await;
        query(&testbed.writer, commit(&[put("a", "1")])).await.unwrap();
        testbed.database.writer.close().await;
        assert_eq!(query(&testbed.writer, ProveWritable).await, Ok(()), "nothing is tried");
        advance(Duration::from_secs(6)).await;
        query(&testbed.writer, ProveWritable).await.unwrap_err();
    });
}

#[test]
fn all_who_ask_for_a_proof_are_answered_by_one_try() {
    run(async || {
        let testbed = Testbed::start().await;
        let asking = [testbed.writer.send(ProveWritable), testbed.writer.send(ProveWritable)];
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Ok(()));
        }
        assert_eq!(testbed.database.reader.fill(&[key("a")]).await.unwrap().revision, Version::ZERO, "nobody sees it");
    });
}

#[test]
fn a_node_without_a_row_can_take_no_ack_back() {
    run(async || {
        let testbed = Testbed::start().await;
        let (incarnation, unit) = (Incarnation(Uuid::from_u128(1)), put("a", "1"));
        query(&testbed.writer, commit(std::slice::from_ref(&unit))).await.unwrap();
        let request_ids = vec![unit.request_id.clone()];
        let raise =
            RaiseFloor { node: NodeId("n1".into()), incarnation, above: AckNo(3), request_ids: request_ids.clone() };
        assert_eq!(query(&testbed.writer, raise).await.unwrap(), None);
        let landed = query(&testbed.writer, FindRequestsLocked { request_ids }).await.unwrap();
        assert_eq!(landed.units.len(), 1);
    });
}

#[test]
fn a_namespace_is_made_once_and_not_deleted_while_it_is_used() {
    run(async || {
        let testbed = Testbed::start().await;
        let namespace = || Namespace { id: "ns".into(), name: "A name".into(), description: None };
        let create = || CreateNamespace { namespace: namespace(), at: WallMillis(1), by: Who::SERVER };
        query(&testbed.writer, create()).await.unwrap();
        let again = query(&testbed.writer, create()).await.unwrap_err();
        assert!(matches!(again, WriteError::NamespaceExists { .. }), "{again:?}");
        query(&testbed.writer, EditNamespace { namespace: namespace(), at: WallMillis(2), by: Who::SERVER })
            .await
            .unwrap();
        query(&testbed.writer, DeleteNamespace { id: "ns".into(), at: WallMillis(1), by: Who::SERVER }).await.unwrap();
        let gone = query(&testbed.writer, DeleteNamespace { id: "ns".into(), at: WallMillis(1), by: Who::SERVER })
            .await
            .unwrap_err();
        assert!(matches!(gone, WriteError::NamespaceMissing { .. }), "{gone:?}");
    });
}
