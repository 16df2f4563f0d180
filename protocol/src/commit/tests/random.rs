//! Random batches, one after the other, on one database: whatever they hold, what is written must fit together.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DATA_IDS: [&str; 3] = ["a", "b", "c"];
const TEXTS: [&str; 2] = ["x", "y"];

fn condition() -> impl Strategy<Value = Condition> {
    let text = || prop::sample::select(&TEXTS[..]);
    prop_oneof![
        6 => Just(Condition::None),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Exists),
        1 => (0..12_u64).prop_map(|version| Condition::Matches(vec![Expected::Version(Version(version))])),
        1 => text().prop_map(|text| Condition::Matches(vec![Expected::Md5(md5(text))])),
        1 => text().prop_map(|text| Condition::NacosCas(md5(text).hex())),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let put = (prop::sample::select(&TEXTS[..]), prop::option::of("[pq]?"));
    prop_oneof![
        4 => put.prop_map(|(text, description)| {
            let edit = Box::new(MetadataEdit { description, ..MetadataEdit::default() });
            Change::Put { content: content(text), edit }
        }),
        1 => Just(Change::Remove),
    ]
}

/// A unit of one to three keys, each once; request ids are few, so that they meet again.
fn any_unit() -> impl Strategy<Value = Arc<WriteRequest>> {
    let data_ids = prop::sample::subsequence(&DATA_IDS[..], 1..=DATA_IDS.len());
    let items = data_ids.prop_flat_map(|data_ids| {
        let items: Vec<_> = data_ids
            .into_iter()
            .map(|data_id| {
                (condition(), change()).prop_map(move |(condition, change)| KeyWrite {
                    key: key(data_id),
                    condition,
                    change,
                })
            })
            .collect();
        items
    });
    (0..30_u8, any::<bool>(), items).prop_map(|(id, may_repeat, items)| {
        let id = format!("r{id}");
        if may_repeat { repeatable(&id, items) } else { unit(&id, items) }
    })
}

/// The tables, written as a store writes them.
#[derive(Default)]
struct Database {
    revision: Version,
    rows: BTreeMap<ConfigKey, SharedState>,
    requests: HashMap<RequestId, Recorded>,
}

impl Database {
    fn read(&self) -> Snapshot {
        let rows = self.rows.values().map(|state| {
            let row = Row {
                version: state.version,
                formal_md5: state.formal.as_ref().map(Content::md5),
                gray: state.gray.clone(),
                metadata: state.metadata.clone(),
                created_at: state.created_at,
            };
            (state.key.clone(), row)
        });
        Snapshot {
            can_seal: false,
            revision: self.revision,
            timeline: TIMELINE,
            nodes: Vec::new(),
            requests: self.requests.clone(),
            rows: rows.collect(),
        }
    }

    fn write(&mut self, writes: &Writes) {
        self.revision = writes.revision;
        for state in &writes.states {
            self.rows.insert(state.key.clone(), Arc::clone(state));
        }
        for row in &writes.requests {
            let before = self.requests.insert(row.request_id.clone(), row.recorded.clone());
            assert_eq!(before, None, "a request id is written once");
        }
    }
}

fn invariant_revisions_have_no_gaps(before: Version, writes: &Writes) {
    let mut expected = before;
    for change in &writes.changes {
        assert!(change.state.version == expected.next() || (expected > before && change.state.version == expected));
        expected = change.state.version;
    }
    assert_eq!(writes.revision, expected);
}

fn invariant_states_are_the_last_of_each_key(writes: &Writes) {
    let last: BTreeMap<&ConfigKey, &SharedState> =
        writes.changes.iter().map(|change| (&change.state.key, &change.state)).collect();
    let states: BTreeMap<&ConfigKey, &SharedState> = writes.states.iter().map(|state| (&state.key, state)).collect();
    assert_eq!(states.len(), writes.states.len(), "one upsert for each key");
    assert_eq!(states, last);
}

/// One change row for each item that had an effect, in order, with the version and digest that the caller is told;
/// one revision for each unit that had any, one request id kept for each answer that may be asked for again.
fn invariant_outcomes_tell_what_is_written(units: &[Arc<WriteRequest>], writes: &Writes) {
    assert_eq!(units.len(), writes.outcomes.len());
    let (mut changes, mut requests) = (writes.changes.iter(), writes.requests.iter());
    for (unit, outcome) in units.iter().zip(&writes.outcomes) {
        let WriteOutcome::Done { items, replayed: false } = outcome else { continue };
        assert_eq!(unit.items.len(), items.len());
        let mut unit_version = None;
        for (item, outcome) in unit.items.iter().zip(items) {
            let operation = match outcome.effect {
                Effect::Created => Operation::Create,
                Effect::Updated => Operation::Update,
                Effect::Removed => Operation::Remove,
                Effect::Unchanged => continue,
            };
            let change = changes.next().unwrap();
            assert_eq!((change.operation, &change.state.key), (operation, &item.key));
            assert_eq!(change.request_id, unit.request_id);
            assert_eq!(change.state.version, outcome.version);
            assert_eq!(change.state.formal.as_ref().map(Content::md5), outcome.md5);
            assert_eq!(change.state.is_absent(), operation == Operation::Remove);
            assert_eq!(*unit_version.get_or_insert(outcome.version), outcome.version);
        }
        if unit.repeatable || unit_version.is_some() {
            let row = requests.next().unwrap();
            assert_eq!((&row.request_id, &row.recorded.items), (&unit.request_id, items));
        }
    }
    assert_eq!(changes.next(), None, "a change that no outcome tells of");
    assert_eq!(requests.next(), None, "a request id kept for no outcome");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_fits_together(batches in prop::collection::vec(prop::collection::vec(any_unit(), 0..6), 1..6)) {
        let mut database = Database::default();
        for units in batches {
            let before = database.read();
            let writes = written(before.clone(), &units);
            invariant_revisions_have_no_gaps(before.revision, &writes);
            invariant_states_are_the_last_of_each_key(&writes);
            invariant_outcomes_tell_what_is_written(&units, &writes);
            database.write(&writes);
        }
    }

    #[test]
    fn one_batch_or_many_come_to_the_same(units in prop::collection::vec(any_unit(), 0..12)) {
        let together = written(Snapshot { rows: HashMap::new(), ..snapshot() }, &units);
        let mut database = Database { revision: snapshot().revision, ..Database::default() };
        let mut outcomes = Vec::new();
        let mut changes = Vec::new();
        for unit in units {
            let writes = written(database.read(), &[unit]);
            database.write(&writes);
            outcomes.extend(writes.outcomes);
            changes.extend(writes.changes);
        }
        prop_assert_eq!(together.outcomes, outcomes);
        prop_assert_eq!(together.changes, changes);
        prop_assert_eq!(together.revision, database.revision);
        let states: BTreeMap<ConfigKey, SharedState> =
            together.states.into_iter().map(|state| (state.key.clone(), state)).collect();
        prop_assert_eq!(states, database.rows);
    }
}
