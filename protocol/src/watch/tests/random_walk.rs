//! A random walk: publishers commit, live changes arrive late, twice, out of order or never, reads and feed polls
//! happen at any time, and the subscriber loses its connection and comes back with the last event id it saw.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DATA_IDS: [&str; 6] = ["app-a", "app-b", "app-c", "app-d", "other-a", "other-b"];

#[derive(Debug, Clone)]
enum Step {
    /// One unit: a bit for each key that it changes, and a bit for each of them that it removes.
    Commit { changed: u8, removed: u8 },
    /// A live change arrives, now or again.
    Deliver(usize),
    /// The read's snapshot is taken.
    StartRead,
    /// This many rows of it arrive, in version order or from the back.
    Rows { count: usize, backwards: bool },
    /// The rest of the rows arrives and the read is complete.
    FinishRead,
    /// The change feed is read up to the present.
    PollFeed,
    /// This many states reach the client.
    Send(usize),
    /// The connection breaks; what is queued is gone and the client resumes.
    Reconnect,
    /// The node may have lost live changes and reads again on the same connection.
    LoseTrack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..64_u8, any::<u8>()).prop_map(|(changed, removed)| Step::Commit { changed, removed }),
        12 => any::<usize>().prop_map(Step::Deliver),
        2 => Just(Step::StartRead),
        2 => (0..4_usize, any::<bool>()).prop_map(|(count, backwards)| Step::Rows { count, backwards }),
        2 => Just(Step::FinishRead),
        1 => Just(Step::PollFeed),
        6 => (1..5_usize).prop_map(Step::Send),
        1 => Just(Step::Reconnect),
        1 => Just(Step::LoseTrack),
    ]
}

/// How far live changes are complete: revisions have no gaps, so counting the states of each is enough.
struct Sequencer {
    reached: u64,
    seen: BTreeSet<(u64, ConfigKey)>,
}

/// A read under way: its revision and the rows that did not arrive yet, by version.
struct Read {
    revision: u64,
    rows: Vec<SharedState>,
    /// False once rows came out of order: then no page may be called complete.
    in_order: bool,
}

struct Testbed {
    selector: Selector,
    /// Every change, in commit order; the index of a commit is its revision - 1.
    commits: Vec<Vec<SharedState>>,
    outbox: Outbox,
    live: Sequencer,
    read: Option<Read>,
    needs_read: bool,
    client: Client,
}

#[derive(Default)]
struct Client {
    last_event_id: Version,
    /// The last version seen, whatever the key.
    latest: Version,
    holds: BTreeMap<ConfigKey, SharedState>,
    /// The version whose last state did not arrive before the connection broke.
    torn: Option<Version>,
}

impl Client {
    fn receive(&mut self, out: Outgoing) {
        let (id, version, held) =
            (out.event_id(), out.state.version, self.holds.get(&out.state.key).map(|state| state.version));
        assert!(version > self.last_event_id, "resumed at {}, got {version}", self.last_event_id);
        // A unit of which only a part arrived is sent again as a whole, and the client knows what it has of it.
        let again = self.torn == Some(version) && held == Some(version);
        assert!(again || held.is_none_or(|held| version > held), "{} went from {held:?} to {version}", out.state.key);
        assert!(version >= self.latest, "{version} after {}", self.latest);
        self.latest = version;
        self.holds.insert(out.state.key.clone(), out.state);
        assert!(id >= self.last_event_id);
        self.last_event_id = id;
    }
}

impl Testbed {
    fn new() -> Self {
        let mut outbox = Outbox::new(Version::ZERO, DATA_IDS.len());
        assert!(outbox.begin_read());
        Self {
            selector: Selector::prefix("public", Some("g"), "app-").unwrap(),
            commits: Vec::new(),
            outbox,
            live: Sequencer { reached: 0, seen: BTreeSet::new() },
            read: None,
            needs_read: true,
            client: Client::default(),
        }
    }

    fn revision(&self) -> u64 {
        self.commits.len() as u64
    }

    fn commit(&mut self, changed: u8, removed: u8) {
        let version = self.revision() + 1;
        let bits = DATA_IDS.iter().enumerate().filter(|(bit, _)| changed & (1 << bit) != 0);
        let states = bits.map(|(bit, data_id)| {
            if removed & (1 << bit) == 0 {
                state(data_id, version)
            } else {
                Arc::new(ConfigState::absent(key(data_id), Version(version)))
            }
        });
        self.commits.push(states.collect());
    }

    /// The newest state of each matching key as of now, lowest version first.
    fn rows(&self) -> Vec<SharedState> {
        let newest: BTreeMap<&ConfigKey, &SharedState> =
            self.commits.iter().flatten().map(|state| (&state.key, state)).collect();
        let mut rows: Vec<SharedState> =
            newest.into_values().filter(|state| self.selector.matches(&state.key)).cloned().collect();
        rows.sort_by_key(|state| state.version);
        rows
    }

    fn offer(&mut self, state: &SharedState) {
        if self.selector.matches(&state.key) {
            self.outbox.offer(Arc::clone(state));
        }
    }

    fn deliver(&mut self, pick: usize) {
        let states: Vec<SharedState> = self.commits.iter().flatten().cloned().collect();
        let Some(state) = pick.checked_rem(states.len()).and_then(|index| states.get(index)) else { return };
        self.offer(state);
        self.live.seen.insert((state.version.0, state.key.clone()));
        while let Some(commit) = self.commits.get(self.live.reached as usize)
            && commit.iter().all(|state| self.live.seen.contains(&(state.version.0, state.key.clone())))
        {
            self.live.reached += 1;
        }
        self.outbox.advance(Version(self.live.reached));
    }

    fn poll_feed(&mut self) {
        let missed: Vec<SharedState> =
            self.commits.iter().skip(self.live.reached as usize).flatten().cloned().collect();
        for state in &missed {
            self.offer(state);
        }
        self.live.reached = self.revision();
        self.outbox.advance(Version(self.live.reached));
    }

    fn start_read(&mut self) {
        if self.needs_read && self.read.is_none() {
            let after = self.outbox.cursor();
            let rows = self.rows().into_iter().filter(|state| state.version > after).collect();
            self.read = Some(Read { revision: self.revision(), rows, in_order: true });
        }
    }

    fn rows_arrive(&mut self, count: usize, backwards: bool) {
        let Some(read) = &mut self.read else { return };
        let count = count.min(read.rows.len());
        let at = if backwards { read.rows.len() - count } else { 0 };
        read.in_order &= !backwards;
        let arrived: Vec<SharedState> = read.rows.drain(at..at + count).collect();
        // A page is complete below the version of the next row, which may be of the same unit as the last one.
        let complete = read.rows.first().map(|next| Version(next.version.0 - 1)).filter(|_| read.in_order);
        for state in &arrived {
            self.offer(state);
        }
        if let Some(complete) = complete {
            self.outbox.page_read(complete);
        }
    }

    fn finish_read(&mut self) {
        self.rows_arrive(usize::MAX, false);
        let Some(read) = self.read.take() else { return };
        self.needs_read = self.outbox.end_read(Version(read.revision));
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let before = self.outbox.cursor();
            let Some(out) = self.outbox.next() else { return };
            let (version, last) = (out.state.version, out.last_of_version);
            self.client.receive(out);
            assert!(self.outbox.cursor() >= before);
            assert_eq!(self.outbox.cursor() >= version, last, "only a closed version can be resumed after");
        }
    }

    fn reconnect(&mut self) {
        self.client.torn = Some(self.client.latest).filter(|latest| *latest > self.client.last_event_id);
        self.outbox = Outbox::new(self.client.last_event_id, DATA_IDS.len());
        self.read = None;
        self.lose_track();
    }

    /// Live changes count from the present on; a late one from before may still arrive.
    fn lose_track(&mut self) {
        let begins = self.outbox.begin_read();
        assert!(!(begins && self.read.is_some()), "one read at a time");
        self.live = Sequencer { reached: self.revision(), seen: BTreeSet::new() };
        self.needs_read = true;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Commit { changed, removed } => self.commit(changed, removed),
            Step::Deliver(pick) => self.deliver(pick),
            Step::StartRead => self.start_read(),
            Step::Rows { count, backwards } => self.rows_arrive(count, backwards),
            Step::FinishRead => self.finish_read(),
            Step::PollFeed => self.poll_feed(),
            Step::Send(count) => self.send(count),
            Step::Reconnect => self.reconnect(),
            Step::LoseTrack => self.lose_track(),
        }
        self.invariant_nothing_is_lost();
        self.invariant_the_queue_is_bounded();
    }

    /// What the client lacks is queued, or lies above the cursor from where a read or the feed will bring it.
    fn invariant_nothing_is_lost(&self) {
        for row in self.rows() {
            let held = self.client.holds.get(&row.key).map_or(Version::ZERO, |state| state.version);
            assert!(held >= row.version || row.version > self.outbox.cursor(), "{} at {}", row.key, row.version);
        }
    }

    fn invariant_the_queue_is_bounded(&self) {
        assert!(!self.outbox.overflowed());
        assert_eq!(self.outbox.queue.len(), self.outbox.queued.len());
        let weight: usize = self.outbox.queue.values().map(|state| state.weight()).sum();
        assert_eq!(weight, self.outbox.queued_bytes());
    }

    fn invariant_the_client_holds_the_newest(&self) {
        let expected: BTreeMap<ConfigKey, SharedState> =
            self.rows().into_iter().map(|state| (state.key.clone(), state)).collect();
        assert_eq!(self.client.holds, expected);
        assert_eq!(self.outbox.cursor(), Version(self.revision()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_subscriber_misses_nothing_repeats_nothing_and_never_goes_back(steps in prop::collection::vec(step(), 0..120)) {
        let mut testbed = Testbed::new();
        for step in steps {
            testbed.take(step);
        }
        // A read that is under way may have begun before changes were lost; the second one has not.
        let read = [Step::StartRead, Step::FinishRead];
        for step in read.clone().into_iter().chain(read).chain([Step::PollFeed, Step::Send(usize::MAX)]) {
            testbed.take(step);
        }
        testbed.invariant_the_client_holds_the_newest();
    }
}
