//! Namespaces and pruning.

use std::sync::Arc;

use callboard_protocol::access::audit::Who;
use callboard_protocol::config::Version;
use callboard_protocol::key::{ConfigKey, MAX_NAMESPACE};
use callboard_protocol::time::WallMillis;

use super::on_every_database;
use super::testbed::{NOON, Testbed, key, put, remove, request, request_id, unit, unit_as, written};
use crate::store::{CommitRequest, MAX_NAMESPACE_TEXT, Namespace, REQUESTS_KEPT, WriteError};
use callboard_protocol::watch::Selector;

on_every_database!(
    namespaces_are_made_named_and_removed,
    the_longest_namespace_texts_fit,
    a_namespace_in_use_stays,
    pruning_keeps_the_newest_change_of_each_key,
    request_ids_are_kept_for_a_day,
);

/// Every revision there is.
const ALL: Version = Version(i64::MAX as u64);

fn named(id: &str, name: &str) -> Namespace {
    Namespace { id: id.to_owned(), name: name.to_owned(), description: Some("für alle".to_owned()) }
}

async fn namespaces_are_made_named_and_removed(testbed: Arc<Testbed>) {
    let (writer, id) = (&testbed.writer, "dev".to_owned());
    let missing = Err(WriteError::NamespaceMissing { id: id.clone() });
    assert_eq!(writer.edit_namespace(&named("dev", "x"), NOON, Who::SERVER).await, missing);
    assert_eq!(writer.delete_namespace("dev", NOON, Who::SERVER).await, missing);
    writer.create_namespace(&named("dev", "Development"), NOON, Who::SERVER).await.unwrap();
    let twice = writer.create_namespace(&named("dev", "Other"), NOON, Who::SERVER).await;
    assert_eq!(twice, Err(WriteError::NamespaceExists { id }));
    writer.edit_namespace(&named("dev", "Developers"), NOON, Who::SERVER).await.unwrap();
    writer.edit_namespace(&named("dev", "Developers"), NOON, Who::SERVER).await.unwrap();
    testbed.publish(&ConfigKey::new("Dev", "g", "a").unwrap(), "1").await;
    let seen: Vec<_> =
        testbed.reader.namespaces().await.unwrap().into_iter().map(|n| (n.id, n.name, n.configs)).collect();
    let expect = |id: &str, name: &str, configs| (id.to_owned(), name.to_owned(), configs);
    assert_eq!(seen, [expect("public", "public", 0), expect("Dev", "Dev", 1), expect("dev", "Developers", 0)]);
    writer.delete_namespace("dev", NOON, Who::SERVER).await.unwrap();
    for refused in [
        writer.create_namespace(&named("public", "x"), NOON, Who::SERVER).await,
        writer.edit_namespace(&named("public", "x"), NOON, Who::SERVER).await,
        writer.delete_namespace("public", NOON, Who::SERVER).await,
    ] {
        assert!(matches!(refused, Err(WriteError::NamespaceBuiltIn { .. })));
    }
}

async fn the_longest_namespace_texts_fit(testbed: Arc<Testbed>) {
    let wide = "😀".repeat(MAX_NAMESPACE_TEXT);
    let id = "n".repeat(MAX_NAMESPACE);
    let namespace = Namespace { id: id.clone(), name: wide.clone(), description: Some(wide) };
    testbed.writer.create_namespace(&namespace, NOON, Who::SERVER).await.unwrap();
    let listed = testbed.reader.namespaces().await.unwrap().remove(1);
    assert_eq!((listed.id, listed.name, listed.description), (id, namespace.name, namespace.description));
}

async fn a_namespace_in_use_stays(testbed: Arc<Testbed>) {
    let a = ConfigKey::new("dev", "g", "a").unwrap();
    testbed.publish(&a, "1").await;
    testbed.writer.edit_namespace(&named("dev", "Named later"), NOON, Who::SERVER).await.unwrap();
    let in_use = WriteError::NamespaceInUse { id: "dev".to_owned(), configs: 1 };
    assert_eq!(testbed.writer.delete_namespace("dev", NOON, Who::SERVER).await, Err(in_use));
    testbed.commit(vec![unit(vec![remove(&a)])]).await;
    testbed.writer.delete_namespace("dev", NOON, Who::SERVER).await.unwrap();
    assert_eq!(testbed.reader.namespaces().await.unwrap().len(), 1);
}

async fn pruning_keeps_the_newest_change_of_each_key(testbed: Arc<Testbed>) {
    for turn in 0..3 {
        testbed.publish(&key("a"), &turn.to_string()).await;
    }
    testbed.publish(&key("gone"), "1").await;
    testbed.commit(vec![unit(vec![remove(&key("gone"))])]).await;
    testbed.publish(&key("b"), "1").await;
    let later = WallMillis(NOON.0 + 1);
    let recent = CommitRequest { at: later, ..request(vec![unit(vec![put(&key("b"), "2")])]) };
    written(testbed.writer.commit(recent).await.unwrap());
    assert_eq!(testbed.writer.prune(NOON, later, ALL, 100).await.unwrap(), 0);
    // Revisions 1, 2 (of a), 4 (of gone) and 6 (of b) were followed by newer ones.
    assert_eq!(testbed.writer.prune(later, later, ALL, 2).await.unwrap(), 2);
    let all = Selector::prefix("public", None, "").unwrap();
    assert_eq!(testbed.reader.feed(Version::ZERO, Some(&all), 100).await.unwrap().floor, Version(2));
    assert_eq!(testbed.writer.prune(later, later, ALL, 100).await.unwrap(), 2);
    assert_eq!(testbed.writer.prune(later, later, ALL, 100).await.unwrap(), 0);
    let feed = testbed.reader.feed(Version::ZERO, Some(&all), 100).await.unwrap();
    let left: Vec<_> = feed.changes.iter().map(|change| change.state.version.0).collect();
    assert_eq!((left, feed.floor, feed.revision), (vec![3, 5, 7], Version(6), Version(7)));
    assert_eq!(testbed.reader.history(&key("a"), None, 10).await.unwrap().len(), 1);
    assert_eq!(testbed.publish(&key("a"), "new").await, Version(8));
}

async fn request_ids_are_kept_for_a_day(testbed: Arc<Testbed>) {
    testbed.commit(vec![unit_as("old", vec![put(&key("a"), "1")])]).await;
    testbed.commit(vec![unit_as("young", vec![put(&key("b"), "1")])]).await;
    let day_later = WallMillis(NOON.0 + i64::try_from(REQUESTS_KEPT.as_millis()).unwrap());
    let after = WallMillis(day_later.0 + 1);
    // One whose own clock says that the row is young keeps it, whatever the wall clocks say.
    for (now, through, left) in [(day_later, ALL, 1), (after, Version::ZERO, 1), (after, Version(1), 0)] {
        testbed.writer.prune(WallMillis(0), now, through, 100).await.unwrap();
        assert_eq!(testbed.reader.look(&[request_id("old")]).await.unwrap().units.len(), left);
    }
    assert_eq!(testbed.reader.look(&[request_id("young")]).await.unwrap().units.len(), 1);
    testbed.writer.prune(WallMillis(0), after, ALL, 100).await.unwrap();
    assert_eq!(testbed.reader.look(&[request_id("young")]).await.unwrap().units.len(), 0);
    assert_eq!(testbed.reader.history(&key("a"), None, 10).await.unwrap().len(), 1);
}
