//! What a batch writes: every condition on every kind of row, repeated requests, acknowledgements, and random batches
//! whose writes must always fit together.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;

use super::*;
use crate::config::{ConfigType, MetadataEdit};
use crate::content::Content;
use crate::member::{AckNo, Incarnation};
use crate::write_request::{Fingerprint, Source};

mod membership;
mod random;
mod requests;
mod secrets;

const AT: WallMillis = WallMillis(5_000);
const TIMELINE: Timeline = Timeline(1);

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn content(text: &str) -> Content {
    Content::new(Bytes::from(text.to_owned())).unwrap()
}

fn md5(text: &str) -> Md5 {
    Md5::of(text.as_bytes())
}

fn put(data_id: &str, text: &str) -> KeyWrite {
    let edit = Box::new(MetadataEdit::default());
    KeyWrite { key: key(data_id), condition: Condition::None, change: Change::Put { content: content(text), edit } }
}

fn put_described(data_id: &str, text: &str, description: &str) -> KeyWrite {
    let edit = MetadataEdit { description: Some(description.to_owned()), ..MetadataEdit::default() };
    let change = Change::Put { content: content(text), edit: Box::new(edit) };
    KeyWrite { key: key(data_id), condition: Condition::None, change }
}

fn remove(data_id: &str) -> KeyWrite {
    KeyWrite { key: key(data_id), condition: Condition::None, change: Change::Remove }
}

fn on(condition: Condition, item: KeyWrite) -> KeyWrite {
    KeyWrite { condition, ..item }
}

fn origin() -> Origin {
    Origin { channel: Source::Rest, operator: None, source_address: None, client_id: None, note: None }
}

fn unit(id: &str, items: Vec<KeyWrite>) -> Arc<WriteRequest> {
    let fingerprint = Fingerprint(Md5::of(format!("{items:?}").as_bytes()));
    let request_id = RequestId::new(id).unwrap();
    Arc::new(WriteRequest { request_id, repeatable: false, fingerprint, items, origin: origin() })
}

fn repeatable(id: &str, items: Vec<KeyWrite>) -> Arc<WriteRequest> {
    Arc::new(WriteRequest { repeatable: true, ..WriteRequest::clone(&unit(id, items)) })
}

/// A database at revision 10 with `there` (content "old", version 7) and `gone` (removed by version 8).
fn snapshot() -> Snapshot {
    let there = Row {
        version: Version(7),
        formal_md5: Some(md5("old")),
        gray: GrayRules::default(),
        metadata: Metadata { kind: ConfigType::Yaml, description: Some("stored".into()), ..Metadata::default() },
        created_at: WallMillis(1_000),
    };
    let gone = Row {
        version: Version(8),
        formal_md5: None,
        gray: GrayRules::default(),
        metadata: Metadata::default(),
        created_at: WallMillis::default(),
    };
    Snapshot {
        can_seal: false,
        revision: Version(10),
        timeline: TIMELINE,
        nodes: Vec::new(),
        requests: HashMap::new(),
        rows: HashMap::from([(key("there"), there), (key("gone"), gone)]),
    }
}

fn written(snapshot: Snapshot, units: &[Arc<WriteRequest>]) -> Writes {
    match decide(snapshot, units, TIMELINE, &Standing::Direct, &[], AT) {
        Decision::Write(writes) => writes,
        other => panic!("{other:?}"),
    }
}

fn done(items: &[KeyOutcome]) -> WriteOutcome {
    WriteOutcome::Done { items: items.to_vec(), replayed: false }
}

fn outcome(version: u64, text: Option<&str>, effect: Effect) -> KeyOutcome {
    KeyOutcome { version: Version(version), md5: text.map(md5), effect }
}

fn conflict(data_id: &str, version: u64, text: Option<&str>) -> WriteOutcome {
    WriteOutcome::Refused(Refusal::Conflict { key: key(data_id), version: Version(version), md5: text.map(md5) })
}

#[test]
fn every_condition_on_every_kind_of_row() {
    let version = |number| Expected::Version(Version(number));
    // Condition, and whether it holds for: a key that never was, one that is there, one that is gone.
    let table = [
        (Condition::None, [true, true, true]),
        (Condition::Absent, [true, false, true]),
        (Condition::Exists, [false, true, false]),
        (Condition::Matches(vec![version(7)]), [false, true, false]),
        (Condition::Matches(vec![version(8)]), [false, false, false]),
        (Condition::Matches(vec![version(0)]), [false, false, false]),
        (Condition::Matches(vec![Expected::Md5(md5("old"))]), [false, true, false]),
        (Condition::Matches(vec![Expected::Md5(md5("other"))]), [false, false, false]),
        (Condition::Matches(vec![version(1), Expected::Md5(md5("old"))]), [false, true, false]),
        (Condition::Matches(vec![]), [false, false, false]),
        (Condition::NacosCas(md5("old").hex()), [true, true, true]),
        (Condition::NacosCas(md5("old").hex().to_uppercase()), [true, true, true]),
        (Condition::NacosCas(md5("other").hex()), [true, false, true]),
        (Condition::NacosCas("no digest".into()), [true, false, true]),
    ];
    let keys = [("never", 0, None), ("there", 7, Some("old")), ("gone", 8, None)];
    for (condition, holds) in table {
        for ((data_id, present, old), holds) in keys.into_iter().zip(holds) {
            let writes = written(snapshot(), &[unit("r", vec![on(condition.clone(), put(data_id, "new"))])]);
            let effect = if old.is_some() { Effect::Updated } else { Effect::Created };
            let expected =
                if holds { done(&[outcome(11, Some("new"), effect)]) } else { conflict(data_id, present, old) };
            assert_eq!(writes.outcomes, [expected], "{condition:?} on {data_id}");
            assert_eq!(writes.is_empty(), !holds, "{condition:?} on {data_id}");

            let writes = written(snapshot(), &[unit("r", vec![on(condition.clone(), remove(data_id))])]);
            let expected = match (holds, old) {
                (true, Some(_)) => done(&[outcome(11, None, Effect::Removed)]),
                (true, None) => WriteOutcome::Refused(Refusal::NotFound { key: key(data_id) }),
                (false, _) => conflict(data_id, present, old),
            };
            assert_eq!(writes.outcomes, [expected], "removing {data_id} on {condition:?}");
        }
    }
}

#[test]
fn the_same_again_changes_nothing() {
    let writes = written(snapshot(), &[unit("r", vec![put("there", "old")])]);
    assert_eq!(writes.outcomes, [done(&[outcome(7, Some("old"), Effect::Unchanged)])]);
    assert!(writes.is_empty());
    assert_eq!((writes.revision, writes.states.len()), (Version(10), 0));
    let writes = written(snapshot(), &[unit("r", vec![put_described("there", "old", "stored")])]);
    assert!(writes.is_empty());
}

#[test]
fn other_metadata_is_a_change_and_keeps_the_rest() {
    let writes = written(snapshot(), &[unit("r", vec![put_described("there", "old", "new words")])]);
    assert_eq!(writes.outcomes, [done(&[outcome(11, Some("old"), Effect::Updated)])]);
    let [state] = &writes.states[..] else { panic!("{:?}", writes.states) };
    assert_eq!(state.metadata.description.as_deref(), Some("new words"));
    assert_eq!(state.metadata.kind, ConfigType::Yaml);
    assert_eq!((state.created_at, state.modified_at), (WallMillis(1_000), AT));
}

#[test]
fn other_content_keeps_metadata_and_creation_time() {
    let writes = written(snapshot(), &[unit("r", vec![put("there", "new")])]);
    let [change] = &writes.changes[..] else { panic!("{:?}", writes.changes) };
    assert_eq!(change.operation, Operation::Update);
    assert_eq!(change.state.formal, Some(content("new")));
    assert_eq!(change.state.metadata.description.as_deref(), Some("stored"));
    assert_eq!((change.state.created_at, change.state.modified_at), (WallMillis(1_000), AT));
    assert_eq!(writes.states, [Arc::clone(&change.state)]);
    assert_eq!((writes.revision, writes.at), (Version(11), AT));
}

#[test]
fn a_removed_key_begins_anew() {
    let units = [unit("r1", vec![remove("there")]), unit("r2", vec![put("there", "old")])];
    let writes = written(snapshot(), &units);
    let operations: Vec<Operation> = writes.changes.iter().map(|change| change.operation).collect();
    assert_eq!(operations, [Operation::Remove, Operation::Create]);
    let [removed, created] = [0, 1].map(|at: usize| &writes.changes[at].state);
    assert!(removed.is_absent());
    assert_eq!((removed.version, removed.modified_at), (Version(11), AT));
    assert_eq!((created.version, created.created_at), (Version(12), AT));
    assert_eq!(created.metadata, Metadata::default());
    assert_eq!(writes.states, [Arc::clone(created)]);

    let writes = written(snapshot(), &[unit("r", vec![put("gone", "back")])]);
    assert_eq!(writes.outcomes, [done(&[outcome(11, Some("back"), Effect::Created)])]);
    assert_eq!(writes.states[0].created_at, AT);
}

#[test]
fn a_unit_sees_what_the_units_before_it_made() {
    let units = [
        unit("r1", vec![on(Condition::Absent, put("k", "1"))]),
        unit("r2", vec![on(Condition::Absent, put("k", "2"))]),
        unit("r3", vec![on(Condition::Matches(vec![Expected::Version(Version(11))]), put("k", "3"))]),
        unit("r4", vec![put("k", "3")]),
        unit("r5", vec![remove("k")]),
        unit("r6", vec![remove("k")]),
    ];
    let writes = written(snapshot(), &units);
    let expected = [
        done(&[outcome(11, Some("1"), Effect::Created)]),
        conflict("k", 11, Some("1")),
        done(&[outcome(12, Some("3"), Effect::Updated)]),
        done(&[outcome(12, Some("3"), Effect::Unchanged)]),
        done(&[outcome(13, None, Effect::Removed)]),
        WriteOutcome::Refused(Refusal::NotFound { key: key("k") }),
    ];
    assert_eq!(writes.outcomes, expected);
    assert_eq!(writes.changes.len(), 3);
    assert_eq!(writes.states, [Arc::clone(&writes.changes[2].state)]);
    assert_eq!(writes.revision, Version(13));
}

#[test]
fn a_unit_takes_one_revision_and_is_refused_as_a_whole() {
    let units = [
        unit("r1", vec![put("a", "1"), put("there", "old"), put("b", "1")]),
        unit("r2", vec![put("a", "2"), on(Condition::Absent, put("b", "2"))]),
        unit("r3", vec![put("c", "3"), remove("never")]),
        unit("r4", vec![on(Condition::Absent, put("c", "4"))]),
    ];
    let writes = written(snapshot(), &units);
    let expected = [
        done(&[
            outcome(11, Some("1"), Effect::Created),
            outcome(7, Some("old"), Effect::Unchanged),
            outcome(11, Some("1"), Effect::Created),
        ]),
        conflict("b", 11, Some("1")),
        WriteOutcome::Refused(Refusal::NotFound { key: key("never") }),
        done(&[outcome(12, Some("4"), Effect::Created)]),
    ];
    assert_eq!(writes.outcomes, expected);
    let changed: Vec<(&str, u64)> =
        writes.changes.iter().map(|change| (change.state.key.data_id(), change.state.version.0)).collect();
    assert_eq!(changed, [("a", 11), ("b", 11), ("c", 12)]);
    let ids: Vec<&str> = writes.requests.iter().map(|row| row.request_id.as_str()).collect();
    assert_eq!(ids, ["r1", "r4"]);
}

#[test]
fn an_empty_batch_writes_nothing() {
    let writes = written(snapshot(), &[]);
    assert!(writes.is_empty() && writes.outcomes.is_empty());
    assert_eq!(writes.revision, Version(10));
}
