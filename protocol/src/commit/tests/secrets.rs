//! What is a secret stays one until somebody says otherwise, is not written without a key, and its digest is told to
//! nobody.

use super::*;

fn put_as(data_id: &str, text: &str, is_secret: Option<bool>) -> KeyWrite {
    let edit = MetadataEdit { is_secret, ..MetadataEdit::default() };
    let change = Change::Put { content: content(text), edit: Box::new(edit) };
    KeyWrite { key: key(data_id), condition: Condition::None, change }
}

/// The database with `there` as a secret.
fn with_secret(can_seal: bool) -> Snapshot {
    let mut snapshot = Snapshot { can_seal, ..snapshot() };
    snapshot.rows.get_mut(&key("there")).unwrap().metadata.is_secret = true;
    snapshot
}

fn no_key(data_id: &str) -> WriteOutcome {
    WriteOutcome::Refused(Refusal::NoKey { key: key(data_id) })
}

fn are_secret(writes: &Writes) -> Vec<bool> {
    writes.changes.iter().map(|change| change.state.metadata.is_secret).collect()
}

#[test]
fn a_secret_stays_one_until_it_is_said_otherwise() {
    let units = [
        unit("a", vec![put("there", "1")]),
        unit("b", vec![put_as("there", "2", Some(false))]),
        unit("c", vec![put("there", "3")]),
        unit("d", vec![put_as("there", "3", Some(true))]),
        unit("e", vec![put("k", "4")]),
    ];
    let writes = written(with_secret(true), &units);
    assert_eq!(are_secret(&writes), [true, false, false, true, false]);
    let tell: Vec<bool> = writes.requests.iter().map(|row| row.is_secret).collect();
    assert_eq!(tell, [true, false, false, true, false]);
}

#[test]
fn without_a_key_no_secret_is_written_and_anything_else_is() {
    let units = [
        unit("a", vec![put("there", "1")]),
        unit("b", vec![put("k", "1"), put_as("l", "2", Some(true))]),
        unit("c", vec![put("k", "3")]),
        unit("d", vec![put_as("there", "4", Some(false))]),
    ];
    let writes = written(with_secret(false), &units);
    let created = done(&[outcome(11, Some("3"), Effect::Created)]);
    let updated = done(&[outcome(12, Some("4"), Effect::Updated)]);
    assert_eq!(writes.outcomes, [no_key("there"), no_key("l"), created, updated]);
}

#[test]
fn a_secret_that_was_removed_is_forgotten() {
    let units = [unit("a", vec![remove("there")]), unit("b", vec![put("there", "1")])];
    assert_eq!(are_secret(&written(with_secret(false), &units)), [false, false]);
}

#[test]
fn who_guesses_the_digest_of_a_secret_is_not_told_it() {
    let units = [unit("a", vec![on(Condition::Absent, put("there", "1"))])];
    assert_eq!(written(with_secret(true), &units).outcomes, [conflict("there", 7, None)]);
}
