//! Request ids: what is kept, what a repetition is answered, what may not share an id.

use super::*;

fn replayed(items: &[KeyOutcome]) -> WriteOutcome {
    WriteOutcome::Done { items: items.to_vec(), replayed: true }
}

fn reused(id: &str) -> WriteOutcome {
    WriteOutcome::Refused(Refusal::RequestIdReused { request_id: RequestId::new(id).unwrap() })
}

/// The database after `writes`, as far as requests go.
fn with_requests(writes: &Writes) -> Snapshot {
    let requests = writes.requests.iter().map(|row| (row.request_id.clone(), row.recorded.clone())).collect();
    Snapshot { requests, revision: writes.revision, ..snapshot() }
}

#[test]
fn a_repetition_gets_the_first_answer_and_writes_nothing() {
    let asked = unit("r", vec![on(Condition::Absent, put("k", "1")), put("there", "new")]);
    let first = written(snapshot(), &[Arc::clone(&asked)]);
    let items = [outcome(11, Some("1"), Effect::Created), outcome(11, Some("new"), Effect::Updated)];
    assert_eq!(first.outcomes, [done(&items)]);
    let [row] = &first.requests[..] else { panic!("{:?}", first.requests) };
    assert_eq!(row.revision, Version(11));
    assert_eq!(row.recorded, Recorded { fingerprint: asked.fingerprint, items: items.to_vec() });

    let again = written(with_requests(&first), &[asked]);
    assert_eq!(again.outcomes, [replayed(&items)]);
    assert!(again.is_empty());
    assert_eq!(again.revision, Version(11));
}

#[test]
fn a_removal_can_be_repeated() {
    let asked = unit("r", vec![remove("there")]);
    let first = written(snapshot(), &[Arc::clone(&asked)]);
    let again = written(with_requests(&first), &[asked]);
    assert_eq!(again.outcomes, [replayed(&[outcome(11, None, Effect::Removed)])]);
}

#[test]
fn another_request_under_a_used_id_is_refused() {
    let first = written(snapshot(), &[unit("r", vec![put("k", "1")])]);
    let other = written(with_requests(&first), &[unit("r", vec![put("k", "2")]), unit("s", vec![put("k", "3")])]);
    assert_eq!(other.outcomes, [reused("r"), done(&[outcome(12, Some("3"), Effect::Created)])]);
}

#[test]
fn a_request_id_counts_within_its_batch() {
    let asked = unit("r", vec![put("k", "1")]);
    let units = [Arc::clone(&asked), asked, unit("r", vec![put("k", "2")])];
    let writes = written(snapshot(), &units);
    let item = outcome(11, Some("1"), Effect::Created);
    assert_eq!(writes.outcomes, [done(&[item]), replayed(&[item]), reused("r")]);
    assert_eq!((writes.changes.len(), writes.requests.len()), (1, 1));
}

#[test]
fn an_answer_that_changed_nothing_is_kept_only_when_it_may_be_asked_again() {
    let units = [
        unit("w", vec![put("k", "1")]),
        repeatable("r", vec![put("there", "old")]),
        unit("s", vec![put("there", "old")]),
    ];
    let writes = written(snapshot(), &units);
    let rows: Vec<(&str, u64)> = writes.requests.iter().map(|row| (row.request_id.as_str(), row.revision.0)).collect();
    assert_eq!(rows, [("w", 11), ("r", 11)]);

    let alone = written(snapshot(), &[repeatable("r", vec![put("there", "old")])]);
    assert!(!alone.is_empty() && alone.changes.is_empty());
    assert_eq!((alone.revision, alone.requests[0].revision), (Version(10), Version(10)));
    // The key has changed since; the repetition still hears what was true for the first.
    let mut later = with_requests(&alone);
    later.rows.remove(&key("there"));
    let again = written(later, &[repeatable("r", vec![put("there", "old")])]);
    assert_eq!(again.outcomes, [replayed(&[outcome(7, Some("old"), Effect::Unchanged)])]);
}

#[test]
fn a_refusal_is_not_kept() {
    let asked = repeatable("r", vec![on(Condition::Exists, put("k", "1"))]);
    let units = [Arc::clone(&asked), unit("s", vec![put("k", "0")]), asked];
    let writes = written(snapshot(), &units);
    let expected = [
        conflict("k", 0, None),
        done(&[outcome(11, Some("0"), Effect::Created)]),
        done(&[outcome(12, Some("1"), Effect::Updated)]),
    ];
    assert_eq!(writes.outcomes, expected);
}

#[test]
fn a_change_carries_who_asked() {
    let origin = Origin { operator: Some("ann".into()), note: Some("why".into()), ..origin() };
    let asked =
        Arc::new(WriteRequest { origin: origin.clone(), ..WriteRequest::clone(&unit("r", vec![put("k", "1")])) });
    let writes = written(snapshot(), &[asked]);
    assert_eq!(writes.changes[0].origin, origin);
    assert_eq!(writes.changes[0].request_id.as_str(), "r");
}
