//! What is written down, on every database: with what it tells of or not at all, in a chain that holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use callboard_protocol::access::audit::chain::{Head, Record, Seen, Walk};
use callboard_protocol::access::audit::{Claims, Event, Pruned, Target, What, Who};
use callboard_protocol::access::change::Change;
use callboard_protocol::member::{NodeId, Timeline};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::Source;
use serde_json::Value;

use super::on_every_database;
use super::testbed::{NOON, Testbed, key, options, put, request, unit, unit_as};
use crate::store::{AuditFilter, AuditPlace, CommitRequest, Namespace, Writer, open};

on_every_database!(
    every_write_is_in_the_record_of_its_transaction,
    a_commit_that_fails_leaves_neither,
    what_changes_nothing_is_in_no_record,
    a_chain_goes_on_after_a_restart,
    nodes_at_once_keep_their_own_chains_and_see_each_other,
    old_records_go_and_the_chain_holds,
    pages_are_read_newest_first,
    where_nothing_is_written_down_nothing_is,
);

fn audited(testbed: &Testbed, node: &str) -> Writer {
    testbed.writer.clone().audited(&NodeId(node.into()))
}

fn ann() -> Who {
    Who { user: Some("ann".to_owned()), address: Some("192.0.2.7".to_owned()), door: Source::Rest }
}

fn log_in(at: i64) -> Event {
    Event::done(WallMillis(at), What::LogIn, ann(), Target::default())
}

async fn records(testbed: &Testbed, node: &str) -> Vec<Record> {
    testbed.reader.audit_records(node, 0, 1_000).await.unwrap()
}

fn events(records: &[Record]) -> Vec<Value> {
    let bodies = records.iter().map(|record| serde_json::from_str::<Value>(&record.body).unwrap());
    bodies.flat_map(|body| body["events"].as_array().unwrap().clone()).collect()
}

fn whats(records: &[Record]) -> Vec<String> {
    events(records).iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

fn claims(records: &[Record]) -> Vec<Claims> {
    records.iter().map(|record| serde_json::from_str(&record.body).unwrap()).collect()
}

#[track_caller]
fn holds(records: &[Record], pruned: &[Pruned]) {
    let mut walk = Walk::default();
    records.iter().for_each(|record| walk.take(record));
    assert_eq!(walk.end(pruned, false), None);
}

async fn every_write_is_in_the_record_of_its_transaction(testbed: Arc<Testbed>) {
    let writer = audited(&testbed, "one");
    let units = vec![unit_as("r-1", vec![put(&key("a"), "a text")]), unit_as("r-2", vec![put(&key("b"), "a text")])];
    writer.commit(request(units)).await.unwrap();
    let add =
        Change::AddUser { name: "bob".to_owned(), password_hash: Some("hash".to_owned()), roles: BTreeSet::new() };
    writer.change_access(add, NOON, ann()).await.unwrap();
    let namespace = Namespace { id: "dev".to_owned(), name: "a text".to_owned(), description: None };
    writer.create_namespace(&namespace, NOON, ann()).await.unwrap();
    writer.edit_namespace(&namespace, NOON, ann()).await.unwrap();
    writer.delete_namespace("dev", NOON, ann()).await.unwrap();
    writer.write_down(&[log_in(NOON.0), log_in(NOON.0)], NOON, false).await.unwrap();
    writer.declare_restored(None, NOON).await.unwrap();
    let records = records(&testbed, "one").await;
    holds(&records, &[]);
    assert_eq!(records.len(), 7, "one for each transaction");
    let made = [
        "publish",
        "publish",
        "user_made",
        "namespace_made",
        "namespace_changed",
        "namespace_removed",
        "log_in",
        "log_in",
        "restored",
    ];
    assert_eq!(whats(&records), made);
    let told = events(&records);
    assert_eq!((&told[0]["target"]["dataId"], &told[0]["target"]["version"]), (&"a".into(), &1.into()));
    assert_eq!(
        (&told[0]["user"], &told[0]["address"], &told[0]["request"]),
        (&"ann".into(), &"192.0.2.7".into(), &"r-1".into())
    );
    assert_eq!(told[8]["target"]["timeline"], 2);
    let all: String = records.iter().map(|record| record.body.as_str()).collect();
    assert!(!all.contains("a text") && !all.contains("hash") && !all.contains("why"), "{all}");
}

async fn a_commit_that_fails_leaves_neither(testbed: Arc<Testbed>) {
    let writer = audited(&testbed, "one");
    writer.commit(request(vec![unit(vec![put(&key("a"), "1")])])).await.unwrap();
    // Somebody else has the number that comes next.
    let take = "INSERT INTO cc_audit (node, seq, at, hash, body) VALUES ('one', 2, 0, '', '{}')";
    testbed.administer(take).await;
    writer.commit(request(vec![unit(vec![put(&key("a"), "2")])])).await.unwrap_err();
    assert_eq!(testbed.state(&key("a")).await.version.0, 1);
    assert_eq!(records(&testbed, "one").await.len(), 2);
    testbed.administer("DELETE FROM cc_audit WHERE seq = 2").await;
    // And a batch that can't be written writes no record.
    let wrong = CommitRequest { timeline: Timeline(7), ..request(vec![unit(vec![put(&key("a"), "3")])]) };
    writer.commit(wrong).await.unwrap();
    writer.commit(request(vec![unit(vec![put(&key("a"), "4")])])).await.unwrap();
    let records = records(&testbed, "one").await;
    holds(&records, &[]);
    assert_eq!(records.len(), 2);
}

async fn what_changes_nothing_is_in_no_record(testbed: Arc<Testbed>) {
    let writer = audited(&testbed, "one");
    for _ in 0..2 {
        writer.commit(request(vec![unit(vec![put(&key("a"), "1")])])).await.unwrap();
    }
    writer.write_down(&[], NOON, true).await.unwrap();
    let remove = Change::RemoveUser { name: "nobody".to_owned() };
    writer.change_access(remove, NOON, ann()).await.unwrap_err();
    assert_eq!(records(&testbed, "one").await.len(), 1);
}

async fn a_chain_goes_on_after_a_restart(testbed: Arc<Testbed>) {
    for turn in 0..3 {
        let (writer, reader) = open(options(&testbed.url)).await.unwrap();
        let writer = writer.audited(&NodeId("one".into()));
        for part in 0..2 {
            let text = format!("{turn} {part}");
            writer.commit(request(vec![unit(vec![put(&key("a"), &text)])])).await.unwrap();
        }
        reader.close().await;
        writer.close().await;
    }
    let records = records(&testbed, "one").await;
    holds(&records, &[]);
    assert_eq!(records.len(), 6);
}

async fn nodes_at_once_keep_their_own_chains_and_see_each_other(testbed: Arc<Testbed>) {
    let nodes = ["one", "two"].map(|node| {
        let (testbed, writer) = (Arc::clone(&testbed), audited(&testbed, node));
        tokio::spawn(async move {
            for turn in 0..10 {
                let one =
                    writer.commit(request(vec![unit(vec![put(&key(node_key(turn)), &format!("{node} {turn}"))])]));
                let other = log_in(turn);
                let (one, other) = tokio::join!(one, writer.write_down(std::slice::from_ref(&other), NOON, true));
                one.unwrap();
                other.unwrap();
            }
            drop(testbed);
        })
    });
    for node in nodes {
        node.await.unwrap();
    }
    let chains = [records(&testbed, "one").await, records(&testbed, "two").await];
    let mut seen = Vec::new();
    for (records, by) in chains.iter().zip(["one", "two"]) {
        holds(records, &[]);
        assert_eq!(records.len(), 20);
        let heads = claims(records).into_iter().flat_map(|claims| claims.heads);
        seen.extend(heads.map(|(node, head)| Seen { by: by.to_owned(), node, head }));
    }
    assert!(seen.len() >= 10, "{seen:?}");
    for seen in seen {
        assert_ne!(seen.by, seen.node);
        let found = testbed.reader.audit_hash(&seen.node, seen.head.seq).await.unwrap();
        assert_eq!(seen.compare(found, &[]), None);
    }
    let heads = testbed.reader.audit_heads().await.unwrap();
    let last = |records: &[Record]| records.last().map(|last| Head { seq: last.seq, hash: last.hash }).unwrap();
    assert_eq!(heads.into_values().collect::<Vec<_>>(), [last(&chains[0]), last(&chains[1])]);
}

fn node_key(turn: i64) -> &'static str {
    if turn % 2 == 0 { "a" } else { "b" }
}

async fn old_records_go_and_the_chain_holds(testbed: Arc<Testbed>) {
    let (one, gone) = (audited(&testbed, "one"), audited(&testbed, "gone"));
    for at in 0..6 {
        one.write_down(&[log_in(at)], WallMillis(at), false).await.unwrap();
        gone.write_down(&[log_in(at)], WallMillis(at), false).await.unwrap();
    }
    // Two of each, and a record for each chain; then what is left of those that are old.
    assert_eq!(one.prune_audit(WallMillis(4), NOON, 2).await.unwrap(), 4);
    assert_eq!(one.prune_audit(WallMillis(4), NOON, 100).await.unwrap(), 4);
    assert_eq!(one.prune_audit(WallMillis(4), NOON, 100).await.unwrap(), 0);
    // The last record of a chain stays, so that it goes on.
    assert_eq!(one.prune_audit(WallMillis(100), NOON, 100).await.unwrap(), 3);
    let (ours, theirs) = (records(&testbed, "one").await, records(&testbed, "gone").await);
    assert_eq!((ours.first().unwrap().seq, theirs.iter().map(|record| record.seq).collect::<Vec<_>>()), (7, vec![6]));
    let pruned: Vec<Pruned> = claims(&ours).into_iter().filter_map(|claims| claims.pruned).collect();
    holds(&ours, &pruned);
    holds(&theirs, &pruned);
    gone.write_down(&[log_in(7)], NOON, false).await.unwrap();
    holds(&records(&testbed, "gone").await, &pruned);
    // Whoever takes away more is found out.
    testbed.administer("DELETE FROM cc_audit WHERE node = 'one' AND seq = 7").await;
    let mut walk = Walk::default();
    records(&testbed, "one").await.iter().for_each(|record| walk.take(record));
    assert!(walk.end(&pruned, false).is_some());
}

async fn pages_are_read_newest_first(testbed: Arc<Testbed>) {
    let (one, two) = (audited(&testbed, "one"), audited(&testbed, "two"));
    for at in [1, 2, 2, 3] {
        one.write_down(&[log_in(at)], WallMillis(at), false).await.unwrap();
        two.write_down(&[log_in(at)], WallMillis(at), false).await.unwrap();
    }
    let read = async |filter: AuditFilter| {
        let (mut all, mut after): (Vec<(i64, String, u64)>, Option<AuditPlace>) = (Vec::new(), None);
        loop {
            let page = testbed.reader.audit_page(&filter, after.as_ref(), 3).await.unwrap();
            all.extend(page.iter().map(|record| (record.at.0, record.node.clone(), record.seq)));
            let Some(last) = page.last() else { return all };
            after = Some(AuditPlace { at: last.at, node: last.node.clone(), seq: last.seq });
        }
    };
    let place = |at: i64, node: &str, seq: u64| (at, node.to_owned(), seq);
    let all = read(AuditFilter::default()).await;
    assert_eq!(all.len(), 8);
    assert_eq!(all[..4], [place(3, "one", 4), place(3, "two", 4), place(2, "one", 3), place(2, "one", 2)]);
    let filter = AuditFilter { node: Some("two".to_owned()), from: Some(WallMillis(2)), to: Some(WallMillis(3)) };
    assert_eq!(read(filter).await, [place(2, "two", 3), place(2, "two", 2)]);
    assert_eq!(testbed.reader.audit_first_since("one", WallMillis(2)).await.unwrap(), Some(2));
    assert_eq!(testbed.reader.audit_first_since("one", WallMillis(9)).await.unwrap(), None);
}

async fn where_nothing_is_written_down_nothing_is(testbed: Arc<Testbed>) {
    testbed.publish(&key("a"), "1").await;
    testbed.writer.write_down(&[log_in(1)], NOON, true).await.unwrap();
    assert!(testbed.reader.audit_heads().await.unwrap().is_empty());
}
