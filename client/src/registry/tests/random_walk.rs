//! A node, a client and a network that cuts, at random: whatever happens, a watch is given rising versions, and in the
//! end the newest one; the node is told of each version at most what the watch made of it.

use std::task::{Context, Poll, Waker};
use std::time::UNIX_EPOCH;

use callboard_proto::session as wire;
use proptest::prelude::*;

use crate::config::Config;
use crate::held::Fetched;
use crate::key::ConfigKey;
use crate::registry::{Outgoing, Registry};

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody publishes; with a content that is too long to be pushed, or not.
    Publish { long: bool },
    /// The node pushes the newest version, though it may have done so before.
    Push,
    /// The node pushes an older one, out of turn.
    PushOld(u64),
    /// What the client said arrives, and is answered.
    Answer,
    /// The connection is cut, and another one begins.
    Reconnect,
    /// The watch takes what is there.
    Take,
    /// The database falls back, to a version that was not there before.
    Restore(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(|long| Step::Publish { long }),
        Just(Step::Push),
        (1..5_u64).prop_map(Step::PushOld),
        Just(Step::Answer),
        Just(Step::Reconnect),
        Just(Step::Take),
        (1..4_u64).prop_map(Step::Restore),
    ]
}

struct Testbed {
    registry: Registry,
    watch: u64,
    version: u64,
    long: bool,
    /// What the node told the client last in this session, or was told that it holds.
    told: Option<u64>,
    /// The newest that the client was given in this session because it asked.
    given: Option<u64>,
    /// Versions above it rise; a restore lowers it.
    floor: u64,
    restored: bool,
    taken: Option<u64>,
    /// Contents that are to be asked for again.
    later: Vec<Outgoing>,
}

fn key() -> ConfigKey {
    ConfigKey::public("shop", "a")
}

impl Testbed {
    fn new() -> Self {
        let mut registry = Registry::new();
        let watch = registry.add_watch(&key().into());
        let mut testbed = Self {
            registry,
            watch,
            version: 0,
            long: false,
            told: None,
            given: None,
            floor: 0,
            restored: false,
            taken: None,
            later: Vec::new(),
        };
        testbed.reconnect();
        testbed
    }

    fn reconnect(&mut self) {
        self.registry.disconnected(UNIX_EPOCH);
        self.told = self.registry.compose_hello().first().map(|held| held.version);
        self.registry.connected();
        self.given = None;
        self.later.clear();
    }

    fn push(&mut self, version: u64, reset: bool) {
        let content = (!self.long).then(|| version.to_string());
        let push = wire::Push { key: Some(key().to_wire()), version, content, reset, ..wire::Push::default() };
        self.registry.pushed(push);
    }

    /// As the node has it: only what is newer, or what was lost.
    fn push_newest(&mut self) {
        // What it was given when it asked, the client may hold or not.
        let has_more = self.given > Some(self.version);
        if self.version > 0 && (has_more || self.told != Some(self.version)) {
            let reset = has_more || self.told.is_some_and(|told| self.version <= told);
            self.push(self.version, reset);
            self.told = Some(self.version);
            self.given = None;
        }
    }

    fn answer(&mut self) {
        let again = std::mem::take(&mut self.later);
        for outgoing in again.into_iter().chain(self.registry.take_outgoing()) {
            match outgoing {
                Outgoing::Watch { targets, number } => {
                    self.push_newest();
                    self.registry.watching(&targets, number);
                }
                Outgoing::Fetch { number, .. } => {
                    let content = Some(self.version.to_string().into());
                    let config = Config { version: self.version, content, ..Config::missing(key(), 0) };
                    self.given = self.given.max(Some(self.version));
                    let fetched = self.registry.fetched(number, config);
                    if fetched == Fetched::TooOld {
                        assert!(self.restored, "the node answered with an older version");
                        self.later.push(Outgoing::Fetch { key: key(), number });
                    }
                }
                Outgoing::Acknowledge { version, outcome, .. } => {
                    assert_eq!(outcome, Ok(()));
                    assert!(self.restored || version <= self.version);
                }
                Outgoing::Hold(_) => panic!("one key has room in a hello"),
                Outgoing::Unwatch(_) => panic!("nothing was taken back"),
            }
        }
    }

    fn take(&mut self) {
        while let Poll::Ready(Some(state)) =
            self.registry.poll_watch(self.watch, &mut Context::from_waker(Waker::noop()))
        {
            let version = state.config.version;
            assert!(self.restored || self.taken < Some(version), "{version} after {:?}", self.taken);
            self.taken = Some(version);
            self.registry.acknowledge(self.watch, &key(), version, Ok(()));
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Publish { long } => {
                self.version = self.version.max(self.floor) + 1;
                self.floor = self.version;
                self.long = long;
            }
            Step::Push => self.push_newest(),
            // Out of turn are only versions that the client holds, or has been told of.
            Step::PushOld(back) => {
                if let Some(old) = self.told.and_then(|told| told.checked_sub(back)).filter(|old| *old > 0) {
                    self.push(old, false);
                }
            }
            Step::Answer => self.answer(),
            Step::Reconnect => self.reconnect(),
            Step::Take => self.take(),
            Step::Restore(back) => {
                if self.version > back {
                    self.version -= back;
                    self.floor = self.version;
                    self.restored = true;
                }
            }
        }
    }

    /// The node tells everything, and the client takes it.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.push_newest();
            self.answer();
            self.take();
        }
    }
}

proptest! {
    #[test]
    fn invariant_a_watch_rises_and_ends_at_the_newest(steps in prop::collection::vec(step(), 0..60)) {
        let mut testbed = Testbed::new();
        for step in steps {
            testbed.act(step);
        }
        testbed.settle();
        prop_assert_eq!(testbed.taken, Some(testbed.version));
    }
}
