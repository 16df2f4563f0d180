//! A property: whatever the order of changes, reads and losses, the client ends at what the database holds, and goes
//! back only where the database lost commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{absent, client, exact, key, prefix, state_of};
use crate::config::{SharedState, Version};
use crate::key::ConfigKey;
use crate::session::pushes::{Pushes, Read};

const NAMES: [&str; 3] = ["a", "ab", "b"];

#[derive(Debug, Clone, Copy)]
enum Move {
    Publish(usize),
    Remove(usize),
    /// The change is told late, in order.
    Tell,
    /// What was to be told is lost; a recheck follows some time.
    LoseTold,
    BeginRead,
    EndRead,
    FailRead,
    Send,
    Recheck,
    /// The database falls back by so many commits, on a new timeline.
    Restore(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..NAMES.len()).prop_map(Move::Publish),
        2 => (0..NAMES.len()).prop_map(Move::Remove),
        5 => Just(Move::Tell),
        1 => Just(Move::LoseTold),
        4 => Just(Move::BeginRead),
        4 => Just(Move::EndRead),
        1 => Just(Move::FailRead),
        4 => Just(Move::Send),
        1 => Just(Move::Recheck),
        1 => (1_usize..5).prop_map(Move::Restore),
    ];
    proptest::collection::vec(one, 0..80)
}

struct Testbed {
    pushes: Pushes,
    line: u64,
    log: Vec<SharedState>,
    untold: Vec<SharedState>,
    must_recheck: bool,
    reading: Option<(Read, Vec<SharedState>, Version)>,
    /// What the client has, by key.
    client: BTreeMap<ConfigKey, SharedState>,
    lost_commits: bool,
}

impl Testbed {
    fn new() -> Self {
        let mut pushes = Pushes::new(client(), 100);
        pushes.watch(1, &[exact("b")], false);
        pushes.watch(1, &[prefix("a")], true);
        let (log, untold) = (Vec::new(), Vec::new());
        let client = BTreeMap::new();
        Self { pushes, line: 0, log, untold, must_recheck: false, reading: None, client, lost_commits: false }
    }

    fn present(&self, key: &ConfigKey) -> SharedState {
        let last = self.log.iter().rev().find(|state| state.key == *key);
        last.cloned().unwrap_or_else(|| absent(key.data_id(), 0))
    }

    fn revision(&self) -> u64 {
        self.log.last().map_or(0, |state| state.version.0)
    }

    fn commit(&mut self, state: SharedState) {
        self.untold.push(Arc::clone(&state));
        self.log.push(state);
    }

    fn begin_read(&mut self) {
        let Some(read) = self.pushes.next_read() else { return };
        let states = match &read {
            Read::Keys(keys) => keys.iter().map(|key| self.present(key)).collect(),
            Read::Prefix(selector) => NAMES
                .iter()
                .map(|name| self.present(&key(name)))
                .filter(|state| selector.matches(&state.key) && !state.is_absent())
                .collect(),
        };
        self.reading = Some((read, states, Version(self.revision())));
    }

    fn end_read(&mut self) {
        match self.reading.take() {
            None => {}
            Some((Read::Keys(_), states, _)) => self.pushes.read_keys(&states),
            Some((Read::Prefix(_), states, revision)) => self.pushes.read_prefix(revision, &states),
        }
    }

    fn send(&mut self) -> Result<(), TestCaseError> {
        while let Some(outgoing) = self.pushes.next() {
            let before = self.client.insert(outgoing.state.key.clone(), Arc::clone(&outgoing.state));
            let rises = before.as_ref().is_none_or(|before| before.version < outgoing.state.version);
            prop_assert!(rises || outgoing.reset, "{:?} after {:?}", outgoing.state, before);
            prop_assert!(self.lost_commits || !outgoing.reset, "it is told to go back although nothing was lost");
        }
        Ok(())
    }

    fn step(&mut self, step: Move) -> Result<(), TestCaseError> {
        let next = self.revision() + 1;
        match step {
            Move::Publish(name) => self.commit(state_of(NAMES[name], next, self.line)),
            Move::Remove(name) if !self.present(&key(NAMES[name])).is_absent() => {
                self.commit(absent(NAMES[name], next));
            }
            Move::Remove(_) => {}
            Move::Tell if !self.untold.is_empty() => {
                let state = self.untold.remove(0);
                self.pushes.offer(&state);
            }
            Move::Tell => {}
            Move::LoseTold if !self.untold.is_empty() => {
                self.untold.remove(0);
                self.must_recheck = true;
            }
            Move::LoseTold => {}
            Move::BeginRead => self.begin_read(),
            Move::EndRead => self.end_read(),
            Move::FailRead => {
                if self.reading.take().is_some() {
                    self.pushes.read_failed();
                }
            }
            Move::Send => self.send()?,
            Move::Recheck => self.recheck(),
            Move::Restore(commits) => {
                self.log.truncate(self.log.len().saturating_sub(commits));
                self.line += 1;
                (self.lost_commits, self.must_recheck) = (true, true);
                // What was lost is not told any more; a recheck comes before what is new.
                self.untold.clear();
                self.recheck();
            }
        }
        Ok(())
    }

    fn recheck(&mut self) {
        self.pushes.recheck();
        self.must_recheck = false;
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        for state in std::mem::take(&mut self.untold) {
            self.pushes.offer(&state);
        }
        if self.must_recheck {
            self.recheck();
        }
        for _ in 0..20 {
            self.end_read();
            self.begin_read();
        }
        prop_assert!(self.reading.is_none(), "reads come to an end");
        self.send()?;
        prop_assert_eq!(self.pushes.take_watching().len(), 1);
        for name in NAMES {
            let (has, is) = (self.client.get(&key(name)), self.present(&key(name)));
            let content = |state: &SharedState| state.formal.clone();
            prop_assert_eq!(has.and_then(content), content(&is), "the client ends at what is there of {}", name);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_client_ends_at_what_is_there_and_goes_back_only_after_a_loss(moves in moves()) {
        let mut testbed = Testbed::new();
        for step in moves {
            testbed.step(step)?;
        }
        testbed.settle()?;
    }
}
