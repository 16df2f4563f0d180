//! What a batch writes and what reads back of it.

use std::sync::Arc;
use std::time::Duration;

use callboard_protocol::commit::{Decision, Operation};
use callboard_protocol::config::{
    ConfigType, MAX_APPLICATION, MAX_DATA_KEY, MAX_DESCRIPTION, MAX_SCHEMA, MAX_SHORT_TEXT, MAX_TAG, MAX_TAGS,
    MetadataEdit, Version,
};
use callboard_protocol::content::MAX_CONTENT;
use callboard_protocol::key::{ConfigKey, MAX_DATA_ID, MAX_GROUP, MAX_NAMESPACE};
use callboard_protocol::member::Timeline;
use callboard_protocol::write_request::{
    Condition, Effect, Expected, MAX_NOTE, MAX_ORIGIN_TEXT, MAX_REQUEST_ID, Origin, Refusal, WriteOutcome, WriteRequest,
};

use super::on_every_database;
use super::testbed::{
    Kind, NOON, Testbed, content, done, key, options, origin, put, put_edited, put_if, remove, request, unit, unit_as,
    written,
};
use crate::store::{CommitRequest, open};

on_every_database!(
    contents_come_back_byte_for_byte,
    the_longest_texts_fit,
    keys_are_case_sensitive,
    a_refused_unit_leaves_nothing_and_the_others_go_on,
    the_same_key_twice_in_a_batch_is_ordered,
    a_repeated_request_is_answered_as_the_first_time,
    identical_content_makes_no_version_and_no_history,
    metadata_alone_makes_a_version,
    versions_rise_over_removal_and_recreation,
    a_unit_of_many_keys_takes_one_revision,
    another_timeline_writes_nothing,
    committers_side_by_side_leave_no_gap,
    an_abandoned_commit_leaves_the_connection_usable,
    nothing_is_written_for_an_empty_batch,
);

async fn contents_come_back_byte_for_byte(testbed: Arc<Testbed>) {
    let longest: String = ('!'..='~').cycle().take(MAX_CONTENT).collect();
    for (name, text) in [
        ("nul", "a\0b"),
        ("bom", "\u{feff}key=value"),
        ("lines", "one\r\ntwo\nthree\r"),
        ("wide", "naïve – 配置 😀"),
        ("quotes", r#"'";--\ \' %_ ${x} ?"#),
        ("longest", &longest),
    ] {
        let version = testbed.publish(&key(name), text).await;
        let state = testbed.state(&key(name)).await;
        assert!(state.formal == Some(content(text)), "{name} differs");
        assert_eq!((state.version, state.created_at, state.modified_at), (version, NOON, NOON));
        let entry = testbed.reader.history_entry(&key(name), version).await.unwrap().unwrap();
        assert!(entry.content == Some(content(text)), "{name} differs in the history");
        assert_eq!(entry.size, text.len() as u64);
        assert_eq!(entry.origin, origin());
    }
}

async fn the_longest_texts_fit(testbed: Arc<Testbed>) {
    let wide = |length: usize| "😀".repeat(length);
    let name = |length: usize| "n".repeat(length);
    let key = ConfigKey::new(&name(MAX_NAMESPACE), &name(MAX_GROUP), &name(MAX_DATA_ID)).unwrap();
    let edit = MetadataEdit {
        kind: Some(ConfigType::Properties),
        description: Some(wide(MAX_DESCRIPTION)),
        tags: Some((0..MAX_TAGS).map(|tag| format!("{tag}{}", wide(MAX_TAG - 1))).collect()),
        application: Some(wide(MAX_APPLICATION)),
        usage: Some(wide(MAX_SHORT_TEXT)),
        effect: Some(wide(MAX_SHORT_TEXT)),
        schema: Some(wide(MAX_SCHEMA)),
        encrypted_data_key: Some(wide(MAX_DATA_KEY)),
        is_secret: None,
    };
    let edit = edit.checked().unwrap();
    let long = Origin {
        operator: Some(wide(MAX_ORIGIN_TEXT)),
        source_address: Some(wide(MAX_ORIGIN_TEXT)),
        client_id: Some(wide(MAX_ORIGIN_TEXT)),
        note: Some(wide(MAX_NOTE)),
        ..origin()
    };
    let long = long.checked().unwrap();
    let plain = unit_as(&name(MAX_REQUEST_ID), vec![put_edited(&key, "x", edit.clone())]);
    testbed.commit(vec![Arc::new(WriteRequest { origin: long.clone(), ..WriteRequest::clone(&plain) })]).await;
    let metadata = edit.applied_to(&callboard_protocol::config::Metadata::default(), false);
    assert_eq!(testbed.state(&key).await.metadata, metadata);
    let entry = testbed.reader.history(&key, None, 1).await.unwrap().remove(0);
    assert_eq!((entry.metadata, entry.origin, entry.request_id), (metadata, long, plain.request_id.clone()));
}

async fn keys_are_case_sensitive(testbed: Arc<Testbed>) {
    let names = ["a.b", "A.B", "A.b", "a-b", "a_b", "a:b", "a.b.c", "Z", "z", "0"];
    for (index, name) in names.iter().enumerate() {
        assert_eq!(testbed.publish(&key(name), name).await, Version(index as u64 + 1));
    }
    let mut keys: Vec<ConfigKey> = names.iter().map(|name| key(name)).collect();
    for state in &testbed.reader.fill(&keys).await.unwrap().states {
        assert_eq!(state.formal, Some(content(state.key.data_id())));
    }
    keys.sort();
    let filter = crate::store::ListFilter { namespace: "public".to_owned(), ..Default::default() };
    let listed = testbed.reader.list(&filter, None, 100).await.unwrap();
    assert_eq!(listed.into_iter().map(|summary| summary.key).collect::<Vec<_>>(), keys);
}

async fn a_refused_unit_leaves_nothing_and_the_others_go_on(testbed: Arc<Testbed>) {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let first = testbed.publish(&b, "old").await;
    let stale = Condition::Matches(vec![Expected::Version(Version(99))]);
    let writes = testbed
        .commit(vec![
            unit(vec![put(&a, "1")]),
            unit(vec![put(&c, "never"), put_if(&b, "never", stale)]),
            unit(vec![put_if(&b, "new", Condition::Matches(vec![Expected::Version(first)]))]),
            unit(vec![remove(&key("missing"))]),
        ])
        .await;
    assert_eq!(done(&writes.outcomes[0])[0].version, Version(2));
    let conflict = Refusal::Conflict { key: b.clone(), version: first, md5: Some(content("old").md5()) };
    assert_eq!(writes.outcomes[1], WriteOutcome::Refused(conflict));
    assert_eq!(done(&writes.outcomes[2])[0].version, Version(3));
    assert_eq!(writes.outcomes[3], WriteOutcome::Refused(Refusal::NotFound { key: key("missing") }));
    let filled = testbed.reader.fill(&[a, b, c]).await.unwrap();
    let contents: Vec<_> = filled.states.iter().map(|state| state.formal.clone()).collect();
    assert_eq!(contents, [Some(content("1")), Some(content("new")), None]);
    assert_eq!(filled.revision, Version(3));
}

async fn the_same_key_twice_in_a_batch_is_ordered(testbed: Arc<Testbed>) {
    let a = key("a");
    let batch = vec![
        unit(vec![put_if(&a, "1", Condition::Absent)]),
        unit(vec![put_if(&a, "2", Condition::Matches(vec![Expected::Version(Version(1))]))]),
        unit(vec![put_if(&a, "3", Condition::Absent)]),
        unit(vec![remove(&a)]),
        unit(vec![put(&a, "5")]),
    ];
    let writes = testbed.commit(batch).await;
    assert!(matches!(writes.outcomes[2], WriteOutcome::Refused(Refusal::Conflict { version: Version(2), .. })));
    let state = testbed.state(&a).await;
    assert_eq!((state.version, state.formal.clone()), (Version(4), Some(content("5"))));
    let history = testbed.reader.history(&a, None, 10).await.unwrap();
    let seen: Vec<_> = history.iter().map(|entry| (entry.version.0, entry.operation)).collect();
    let expected = [(4, Operation::Create), (3, Operation::Remove), (2, Operation::Update), (1, Operation::Create)];
    assert_eq!(seen, expected);
}

async fn a_repeated_request_is_answered_as_the_first_time(testbed: Arc<Testbed>) {
    let a = key("a");
    let first = testbed.commit(vec![unit_as("once", vec![put(&a, "1")])]).await;
    testbed.publish(&a, "2").await;
    let commits = testbed.commits_of_nothing().await;
    let again = testbed.commit(vec![unit_as("once", vec![put(&a, "1")]), unit_as("once", vec![put(&a, "x")])]).await;
    // What it tells of as done is durable: where it need not be yet, it is made so.
    assert_eq!(testbed.commits_of_nothing().await - commits, i64::from(testbed.kind == Kind::MySql));
    let replayed = WriteOutcome::Done { items: done(&first.outcomes[0]).to_vec(), replayed: true };
    assert_eq!(again.outcomes[0], replayed);
    assert!(matches!(again.outcomes[1], WriteOutcome::Refused(Refusal::RequestIdReused { .. })));
    assert!(again.is_empty());
    assert_eq!(testbed.state(&a).await.formal, Some(content("2")));
    let twice = testbed.commit(vec![unit_as("two", vec![put(&a, "3")]), unit_as("two", vec![put(&a, "3")])]).await;
    assert!(matches!(twice.outcomes[1], WriteOutcome::Done { replayed: true, .. }));
    assert_eq!(testbed.revision().await, Version(3));
}

async fn identical_content_makes_no_version_and_no_history(testbed: Arc<Testbed>) {
    let a = key("a");
    let version = testbed.publish(&a, "same").await;
    let writes = testbed.commit(vec![unit_as("same-again", vec![put(&a, "same")])]).await;
    let outcome = done(&writes.outcomes[0])[0];
    assert_eq!((outcome.version, outcome.effect), (version, Effect::Unchanged));
    assert_eq!(testbed.revision().await, version);
    assert_eq!(testbed.reader.history(&a, None, 10).await.unwrap().len(), 1);
    let landed = testbed.reader.look(&[super::testbed::request_id("same-again")]).await.unwrap();
    assert_eq!((landed.units.len(), landed.states.len()), (1, 0));
}

async fn metadata_alone_makes_a_version(testbed: Arc<Testbed>) {
    let a = key("a");
    let before = testbed.publish(&a, "same").await;
    let edit = MetadataEdit { description: Some("new".to_owned()), ..MetadataEdit::default() };
    let writes = testbed.commit(vec![unit(vec![put_edited(&a, "same", edit)])]).await;
    assert_eq!(done(&writes.outcomes[0])[0].version, before.next());
    let state = testbed.state(&a).await;
    assert_eq!(state.metadata.description.as_deref(), Some("new"));
    assert_eq!((state.version, state.formal.clone()), (before.next(), Some(content("same"))));
}

async fn versions_rise_over_removal_and_recreation(testbed: Arc<Testbed>) {
    let a = key("a");
    testbed.publish(&a, "1").await;
    let writes = testbed.commit(vec![unit(vec![remove(&a)])]).await;
    assert_eq!(done(&writes.outcomes[0])[0].effect, Effect::Removed);
    let gone = testbed.state(&a).await;
    assert!(gone.is_absent());
    assert_eq!(gone.version, Version(2));
    assert_eq!(testbed.publish(&a, "1").await, Version(3));
    assert_eq!(testbed.state(&a).await.version, Version(3));
}

async fn a_unit_of_many_keys_takes_one_revision(testbed: Arc<Testbed>) {
    let keys: Vec<ConfigKey> = (0..300).map(|index| key(&format!("k{index:03}"))).collect();
    let writes = testbed.commit(vec![unit(keys.iter().map(|key| put(key, key.data_id())).collect())]).await;
    assert_eq!(writes.revision, Version(1));
    let filled = testbed.reader.fill(&keys).await.unwrap();
    assert!(filled.states.iter().all(|state| state.version == Version(1) && !state.is_absent()));
    assert_eq!(filled.states.iter().map(|state| state.key.clone()).collect::<Vec<_>>(), keys);
}

async fn another_timeline_writes_nothing(testbed: Arc<Testbed>) {
    let commit = CommitRequest { timeline: Timeline(7), ..request(vec![unit(vec![put(&key("a"), "1")])]) };
    assert_eq!(testbed.writer.commit(commit).await.unwrap(), Decision::TimelineChanged(Timeline(1)));
    assert_eq!(testbed.revision().await, Version::ZERO);
}

async fn committers_side_by_side_leave_no_gap(testbed: Arc<Testbed>) {
    const EACH: u64 = 40;
    let (other, _) = open(options(&testbed.url)).await.unwrap();
    let publisher = |writer: crate::store::Writer, name: &'static str| {
        tokio::spawn(async move {
            let mut versions = Vec::new();
            for turn in 0..EACH {
                let units = vec![
                    unit(vec![put(&key(name), &turn.to_string())]),
                    unit(vec![put(&key("shared"), &format!("{name}{turn}"))]),
                ];
                let writes = written(writer.commit(request(units)).await.unwrap());
                versions.extend(writes.outcomes.iter().map(|outcome| done(outcome)[0].version));
            }
            versions
        })
    };
    let (left, right) = (publisher(testbed.writer.clone(), "left"), publisher(other.clone(), "right"));
    let mut versions = left.await.unwrap();
    versions.extend(right.await.unwrap());
    versions.sort();
    assert_eq!(versions, (1..=4 * EACH).map(Version).collect::<Vec<_>>());
    assert_eq!(testbed.revision().await, Version(4 * EACH));
    other.close().await;
}

async fn an_abandoned_commit_leaves_the_connection_usable(testbed: Arc<Testbed>) {
    for turn in 0..60_u64 {
        let units = (0..20).map(|index| unit(vec![put(&key(&format!("k{index}")), &turn.to_string())])).collect();
        // Abandoned at another point each time; whether it got as far as the commit does not matter here.
        let patience = Duration::from_micros(50 * turn);
        if let Ok(outcome) = tokio::time::timeout(patience, testbed.writer.commit(request(units))).await {
            outcome.unwrap();
        }
    }
    // Under the lock: a commit that was abandoned while it ran may still come to its end.
    let before = testbed.writer.look_locked(&[]).await.unwrap().revision;
    assert_eq!(testbed.publish(&key("last"), "1").await, before.next());
    assert_eq!(before.0 % 20, 0, "a batch is written as a whole or not at all");
}

async fn nothing_is_written_for_an_empty_batch(testbed: Arc<Testbed>) {
    assert!(testbed.commit(Vec::new()).await.is_empty());
}
