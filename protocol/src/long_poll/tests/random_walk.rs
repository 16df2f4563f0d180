//! A random walk: publishers change keys, changes are heard late, twice and out of order, polls come, read, go away
//! and run out of time; a naive list of polls says what each must be answered.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const CONTENTS: [&str; 3] = ["", "x", "y"];

#[derive(Debug, Clone)]
enum Step {
    /// A key gets a content; the change is on its way.
    Publish { key: usize, content: usize },
    /// A change is heard, now or again.
    Hear(usize),
    /// A client asks; a record is a key and a content it holds.
    Insert { records: Vec<(usize, usize)>, wait: Option<u64> },
    /// The keys of a poll are read as they are now.
    Read(usize),
    /// What was read for a poll is compared.
    Compare(usize),
    /// A client goes away.
    Remove(usize),
    /// Clients go away and are found by looking around.
    Sweep { count: usize, every: u32 },
    /// Time passes.
    Wait(u64),
    /// Some who are due are answered.
    Answer(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..KEYS.len(), 0..CONTENTS.len());
    prop_oneof![
        4 => (0..KEYS.len(), 0..CONTENTS.len()).prop_map(|(key, content)| Step::Publish { key, content }),
        6 => any::<usize>().prop_map(Step::Hear),
        6 => (prop::collection::vec(record, 1..5), prop::option::weighted(0.9, 0..500_u64))
            .prop_map(|(records, wait)| Step::Insert { records, wait }),
        6 => any::<usize>().prop_map(Step::Read),
        6 => any::<usize>().prop_map(Step::Compare),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => (0..8_usize, 2..5_u32).prop_map(|(count, every)| Step::Sweep { count, every }),
        2 => (0..200_u64).prop_map(Step::Wait),
        4 => (0..6_usize).prop_map(Step::Answer),
    ]
}

/// A poll as a naive program would keep it.
struct Naive {
    id: PollId,
    records: Vec<(&'static str, &'static str)>,
    /// The newest state seen of each key, by read or by change.
    seen: BTreeMap<&'static str, SharedState>,
    read: Option<Vec<SharedState>>,
    is_compared: bool,
    due: Option<u64>,
}

impl Naive {
    fn observe(&mut self, state: &SharedState) {
        let Some((data_id, _)) = self.records.iter().find(|(data_id, _)| *data_id == state.key.data_id()) else {
            return;
        };
        let seen = self.seen.entry(data_id).or_insert_with(|| Arc::clone(state));
        if state.version >= seen.version {
            *seen = Arc::clone(state);
        }
    }

    fn differing(&self) -> Option<Vec<usize>> {
        let differs = |(data_id, held): &(&str, &str)| {
            let seen = self.seen.get(data_id).and_then(|state| state.formal.as_ref());
            seen.map(Content::md5) != digest(held)
        };
        self.is_compared.then(|| (0..self.records.len()).filter(|record| differs(&self.records[*record])).collect())
    }
}

#[derive(Default)]
struct Testbed {
    polls: Polls<u32>,
    naive: BTreeMap<u32, Naive>,
    now: u64,
    revision: u64,
    present: BTreeMap<&'static str, SharedState>,
    told: Vec<SharedState>,
    next: u32,
}

impl Testbed {
    fn pick(&self, which: usize) -> Option<u32> {
        self.naive.keys().copied().nth(which % self.naive.len().max(1))
    }

    fn present(&self, data_id: &'static str) -> SharedState {
        self.present.get(data_id).cloned().unwrap_or_else(|| state(data_id, 0, ""))
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { key, content } => {
                self.revision += 1;
                let state = state(KEYS[key], self.revision, CONTENTS[content]);
                self.present.insert(KEYS[key], Arc::clone(&state));
                self.told.push(state);
            }
            Step::Hear(which) => {
                let Some(state) = self.told.get(which % self.told.len().max(1)).cloned() else { return };
                self.polls.changed(&state);
                self.naive.values_mut().for_each(|naive| naive.observe(&state));
            }
            Step::Insert { records, wait } => self.insert(&records, wait),
            Step::Read(which) => {
                let Some(waiter) = self.pick(which) else { return };
                let naive = &self.naive[&waiter];
                let keys: Vec<_> = self.polls.keys(naive.id).map(|key| key.data_id().to_owned()).collect();
                assert_eq!(keys, naive.records.iter().map(|(data_id, _)| *data_id).collect::<Vec<_>>());
                let states = naive.records.iter().map(|(data_id, _)| self.present(data_id)).collect();
                self.naive.get_mut(&waiter).unwrap().read.get_or_insert(states);
            }
            Step::Compare(which) => self.compare(which),
            Step::Remove(which) => {
                let Some(waiter) = self.pick(which) else { return };
                let naive = self.naive.remove(&waiter).unwrap();
                assert_eq!((self.polls.remove(naive.id), self.polls.remove(naive.id)), (Some(waiter), None));
            }
            Step::Sweep { count, every } => {
                let mut gone = Vec::new();
                let ended = self.polls.sweep(count, |waiter| {
                    let is_gone = waiter % every == 0;
                    gone.extend(is_gone.then_some(*waiter));
                    is_gone
                });
                assert_eq!(ended, gone.len());
                for waiter in gone {
                    assert!(self.naive.remove(&waiter).is_some());
                }
            }
            Step::Wait(by) => {
                self.now += by;
                self.polls.advance(at(self.now));
            }
            Step::Answer(work) => self.answer(work),
        }
    }

    fn insert(&mut self, records: &[(usize, usize)], wait: Option<u64>) {
        let records: Vec<_> = records.iter().map(|(key, content)| (KEYS[*key], CONTENTS[*content])).collect();
        let (waiter, wait_for) = (self.next, wait.map(Duration::from_millis));
        self.next += 1;
        let id = self.polls.insert(at(self.now), Poll { wait: wait_for, ..poll(&records, 0) }, waiter);
        let due = wait.map(|wait| self.now + wait);
        let naive = Naive { id, records, seen: BTreeMap::new(), read: None, is_compared: false, due };
        self.naive.insert(waiter, naive);
    }

    fn compare(&mut self, which: usize) {
        let Some(waiter) = self.pick(which) else { return };
        let naive = self.naive.get_mut(&waiter).unwrap();
        let Some(states) = naive.read.take() else { return };
        let answer = self.polls.compare(naive.id, &read(&states));
        states.iter().for_each(|state| naive.observe(state));
        naive.is_compared = true;
        let differing = naive.differing();
        if differing == Some(vec![]) && naive.due.is_some() {
            assert_eq!(answer, None);
        } else {
            assert_eq!(answer, Some(Ended { waiter, changed: differing }));
            self.naive.remove(&waiter);
        }
    }

    fn answer(&mut self, work: usize) {
        for Ended { waiter, changed } in self.polls.take_due(work) {
            let naive = self.naive.remove(&waiter).expect("answered twice");
            assert_eq!(changed, naive.differing());
            let differs = changed.is_some_and(|changed| !changed.is_empty());
            assert!(differs || naive.due.is_some_and(|due| due <= self.now), "woken for nothing");
        }
    }

    /// Whoever is not answered when all is heard and answered has nothing to be answered.
    fn finish(mut self) {
        self.polls.advance(at(self.now));
        self.answer(usize::MAX);
        for naive in self.naive.values().filter(|naive| naive.is_compared) {
            assert_eq!(naive.differing(), Some(vec![]), "missed a change");
            assert!(naive.due.is_some_and(|due| due + 50 > self.now), "missed its time");
        }
        self.invariant_counts();
        let mut drained = self.polls.drain();
        drained.sort_unstable_by_key(|ended| ended.waiter);
        let left_over = self.naive.iter().map(|(waiter, naive)| Ended { waiter: *waiter, changed: naive.differing() });
        assert_eq!(drained, left_over.collect::<Vec<_>>());
        assert_eq!(left(&self.polls), (Counts::default(), 0));
    }

    fn invariant_counts(&self) {
        let counts = self.polls.counts();
        let mut watched: Vec<_> =
            self.naive.values().flat_map(|naive| &naive.records).map(|(data_id, _)| *data_id).collect();
        assert_eq!((counts.polls, counts.records), (self.naive.len(), watched.len()));
        watched.sort_unstable();
        watched.dedup();
        assert_eq!(counts.keys, watched.len());
        let timed = self.naive.values().filter(|naive| naive.due.is_some()).count();
        assert!(counts.timers <= timed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_poll_is_answered_what_a_naive_list_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut testbed = Testbed::default();
        for step in steps {
            testbed.step(step);
            testbed.invariant_counts();
        }
        testbed.finish();
    }
}
