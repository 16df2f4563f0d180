//! A client as Go's SDK 2.3.2 is: while it asks what changed it takes notices in and forgets them, as it then counts
//! all as current that the answer does not name.

use std::collections::BTreeSet;

use super::*;

/// How long a request of the client takes, in milliseconds.
const ROUND_TRIP: u64 = 2;

#[derive(Debug)]
enum Doing {
    Nothing,
    /// Asks which of these changed, and is answered so at this time.
    Listening {
        changed: BTreeSet<ConfigKey>,
        until: u64,
    },
    /// Fetches these, one after the other; the next one comes at this time.
    Fetching {
        named: BTreeSet<ConfigKey>,
        left: Vec<ConfigKey>,
        until: u64,
    },
}

struct Forgetful {
    listens: Listens,
    outbox: Outbox,
    states: HashMap<ConfigKey, SharedState>,
    has: HashMap<ConfigKey, Option<Md5>>,
    suspected: BTreeSet<ConfigKey>,
    doing: Doing,
}

fn state_of(key: &ConfigKey, version: u64, text: &str) -> SharedState {
    SharedState::new(ConfigState { key: key.clone(), ..(*state(version, Some(text))).clone() })
}

impl Forgetful {
    /// Has the first content of each of so many configurations.
    fn of(count: usize) -> Self {
        let keys = (0..count).map(|number| ConfigKey::new("public", "g", &format!("k{number:03}")).expect("legal"));
        let Scene { mut listens, outbox, .. } = Scene::new();
        let states: HashMap<_, _> = keys.map(|key| (key.clone(), state_of(&key, 1, "old"))).collect();
        for key in states.keys() {
            listens.listen(key, "", digest("old"));
        }
        let has = states.keys().map(|key| (key.clone(), Some(Md5::of(b"old")))).collect();
        let mut client = Self { listens, outbox, states, has, suspected: BTreeSet::new(), doing: Doing::Nothing };
        let all: Vec<ConfigKey> = client.has.keys().cloned().collect();
        for key in &all {
            assert!(!client.reports(0, key));
        }
        client
    }

    /// Says what it has of a configuration: has that changed?
    fn reports(&mut self, now: u64, key: &ConfigKey) -> bool {
        let held = self.has.get(key).copied().flatten();
        self.listens.listen(key, "", Reported::Content(held));
        let began = self.listens.moment();
        self.listens.compare(at(now), &mut self.outbox, &self.states[key], began)
    }

    fn published(&mut self, now: u64, key: &ConfigKey) {
        let state = state_of(key, 2, "new");
        self.listens.changed(at(now), &mut self.outbox, &state);
        self.states.insert(key.clone(), state);
    }

    /// Takes in what is told. How many notices that were.
    fn hears(&mut self, now: u64) -> usize {
        let mut count = 0;
        while let Some(Sending { number, subject, .. }) = self.outbox.next(at(now)) {
            let Subject::Config(key) = subject else { panic!("{subject:?}") };
            self.listens.sending(&key);
            let done = self.outbox.acknowledge(at(now), number, true).expect("it was sent");
            if !done.again {
                self.listens.acknowledged(at(now), &mut self.outbox, &key, done.tries);
            }
            self.suspected.insert(key);
            count += 1;
        }
        count
    }

    fn goes_on(&mut self, now: u64) {
        match &mut self.doing {
            Doing::Nothing if self.suspected.is_empty() => {}
            Doing::Nothing => {
                let asked = self.suspected.clone();
                let changed = asked.into_iter().filter(|key| self.reports(now, key)).collect();
                self.doing = Doing::Listening { changed, until: now + ROUND_TRIP };
            }
            Doing::Listening { changed, until } if *until <= now => {
                // Here it forgets.
                self.suspected.clear();
                let named = std::mem::take(changed);
                let left = named.iter().cloned().collect();
                self.doing = Doing::Fetching { named, left, until: now + ROUND_TRIP };
            }
            Doing::Fetching { named, left, until } if *until <= now => match left.pop() {
                Some(key) => {
                    *until = now + ROUND_TRIP;
                    let began = self.listens.moment();
                    let state = &self.states[&key];
                    self.listens.given(at(now), &mut self.outbox, state, began);
                    self.has.insert(key, state.formal.as_ref().map(Content::md5));
                }
                None => {
                    self.suspected.append(named);
                    self.doing = Doing::Nothing;
                }
            },
            Doing::Listening { .. } | Doing::Fetching { .. } => {}
        }
    }
}

#[test]
fn a_client_that_forgets_notices_while_it_asks_has_all_of_a_burst_within_four_seconds() {
    let mut client = Forgetful::of(200);
    let mut unpublished: Vec<ConfigKey> = client.has.keys().cloned().collect();
    unpublished.sort_unstable();
    let (mut notices, mut had) = (0, None);
    for now in 0..30_000 {
        for key in unpublished.split_off(unpublished.len().saturating_sub(4)) {
            client.published(now, &key);
        }
        notices += client.hears(now);
        client.goes_on(now);
        if had.is_none() && client.has.values().all(|md5| *md5 == Some(Md5::of(b"new"))) {
            had = Some(now);
        }
    }
    assert!(had.is_some_and(|had| had < 4_000), "it has all after {had:?} ms");
    assert!(notices <= 2 * 200, "{notices} notices of 200 changes");
}
