//! Long polls: requests that are held until one of the configurations they name differs from what their client
//! holds, or until their time is over. Owns who waits for which key, when each wait ends, and what it is answered.
//! Reads no clock and answers nobody: each poll carries the handle by which whoever drives this answers it.
//!
//! # Driving [`Polls`]
//! 1. [`Polls::insert`] first, so that every change from here on is heard; then read the keys of the poll
//!    ([`Polls::keys`]), linearizably, and [`Polls::compare`] what was read. What it gives back is the answer.
//! 2. For each change: [`Polls::changed`]. Every tick: [`Polls::advance`]. Both only note who has to be answered;
//!    take and answer them with [`Polls::take_due`], as many at a time as the thread may be kept busy for.
//! 3. Now and then [`Polls::sweep`], so that polls whose clients went away don't wait for their time.
//! 4. When changes may have been missed, or lost by the database after they were heard: [`Polls::forget_versions`],
//!    then read every one of [`Polls::watched`] and treat each as a change. Reads begun before that are not compared.
//!
//! However a poll ends, its place, its entries in the index and its timer go at once.
//!
//! # Late and early changes
//! What was read and what is heard arrive in any order. Each record keeps the newest version it has seen and whether
//! that one differs; an older one says nothing. Before its first comparison a poll is not answered because of a
//! change: the change may be an old one that arrives late, and only the read tells. One that ends before it says so:
//! that nothing differs would be a read that nobody made.

mod slots;
mod wheel;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::config::{ConfigState, SharedState, Version};
use crate::content::Md5;
use crate::gray::{ClientIdentity, select};
use crate::key::ConfigKey;
use crate::time::Mono;
use crate::wire::condition::ReadCondition;
use crate::write_request::Expected;

use slots::Slots;
pub use wheel::TICK;
use wheel::{Moved, Place, Wheel};

/// Room for this many entries is not worth giving back.
const SMALL: usize = 64;

/// One record of a poll: a key, and what the client holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Which key.
    pub key: ConfigKey,
    /// What the client holds.
    pub held: Holding,
}

/// What a client holds of a key, as it says: the value that each state is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// The content of this digest; `None` for no content.
    Content(Option<Md5>),
    /// One of the states that meet this condition. Boxed: few polls have one, and every record has room for it.
    Condition(Box<ReadCondition>),
}

impl Holding {
    /// True when the client holds the state of this version, of which it gets the content of this digest.
    #[must_use]
    pub fn is(&self, version: Version, md5: Option<Md5>) -> bool {
        match self {
            Self::Content(held) => *held == md5,
            Self::Condition(condition) => condition.is_held(version, md5),
        }
    }

    /// The version and the digest that the client names, where it names them.
    #[must_use]
    pub fn named(&self) -> (Option<Version>, Option<Md5>) {
        match self {
            Self::Content(md5) => (None, *md5),
            Self::Condition(condition) => match &**condition {
                ReadCondition::OneOf(tags) => (
                    tags.iter()
                        .find_map(|tag| if let Expected::Version(version) = tag { Some(*version) } else { None }),
                    tags.iter().find_map(|tag| if let Expected::Md5(md5) = tag { Some(*md5) } else { None }),
                ),
                ReadCondition::Nothing | ReadCondition::Anything => (None, None),
            },
        }
    }
}

impl From<Option<Md5>> for Holding {
    fn from(md5: Option<Md5>) -> Self {
        Self::Content(md5)
    }
}

impl From<ReadCondition> for Holding {
    fn from(condition: ReadCondition) -> Self {
        Self::Condition(Box::new(condition))
    }
}

/// What a client asks.
#[derive(Debug, Clone)]
pub struct Poll {
    /// What it watches.
    pub records: Vec<Watched>,
    /// Who it is.
    pub client: ClientIdentity,
    /// For how long it waits; `None` is answered by its first comparison, whatever that finds.
    pub wait: Option<Duration>,
}

/// Names a poll; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PollId {
    slot: u32,
    serial: u64,
}

impl PollId {
    /// The number, for people; never given twice by one register.
    #[must_use]
    pub fn serial(self) -> u64 {
        self.serial
    }
}

/// A poll that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<W> {
    /// Whom to answer.
    pub waiter: W,
    /// The records that differ, by their place in [`Poll::records`], rising. Empty when nothing does; `None` when the
    /// poll ended before its comparison, so that nothing is known.
    pub changed: Option<Vec<usize>>,
}

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Polls.
    pub polls: usize,
    /// Records of all polls.
    pub records: usize,
    /// Keys in the index.
    pub keys: usize,
    /// Timers.
    pub timers: usize,
    /// Polls noted as due, those that ended meanwhile included.
    pub due: usize,
}

#[derive(Debug)]
struct Record {
    key: ConfigKey,
    held: Holding,
    /// The newest version seen.
    seen: Version,
    /// Its place among the listeners of the key.
    at: u32,
    /// What the version seen says.
    differs: bool,
}

#[derive(Debug)]
enum Timer {
    Set(Place),
    /// The poll ends with its first comparison.
    None,
    /// The time is over; the poll is due.
    Passed,
}

#[derive(Debug)]
struct Entry<W> {
    serial: u64,
    records: Box<[Record]>,
    client: ClientIdentity,
    waiter: W,
    timer: Timer,
    is_compared: bool,
    is_due: bool,
}

/// A record of a poll, as the index names it.
#[derive(Debug, Clone, Copy)]
struct Listener {
    slot: u32,
    record: u32,
}

/// The register of polls; `W` is the handle by which a poll is answered.
#[derive(Debug)]
pub struct Polls<W> {
    polls: Slots<Entry<W>>,
    index: HashMap<ConfigKey, Vec<Listener>>,
    wheel: Wheel,
    due: VecDeque<PollId>,
    records: usize,
    serial: u64,
    /// How far [`Polls::sweep`] has come.
    hand: usize,
}

impl Record {
    fn observe(&mut self, state: &ConfigState, client: &ClientIdentity) {
        if state.version >= self.seen {
            self.seen = state.version;
            let md5 = select(state, client).map(|(_, content)| content.md5());
            self.differs = !self.held.is(state.version, md5);
        }
    }
}

impl<W> Entry<W> {
    /// The records that differ; `None` before the comparison.
    fn differing(&self) -> Option<Vec<usize>> {
        let differing = self.records.iter().enumerate().filter(|(_, record)| record.differs);
        self.is_compared.then(|| differing.map(|(place, _)| place).collect())
    }
}

impl<W> Default for Polls<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Polls<W> {
    /// An empty register.
    #[must_use]
    pub fn new() -> Self {
        Self {
            polls: Slots::new(),
            index: HashMap::new(),
            wheel: Wheel::new(),
            due: VecDeque::new(),
            records: 0,
            serial: 0,
            hand: 0,
        }
    }

    /// How many polls are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.polls.len()
    }

    /// True when none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The polls that are held: their numbers, who asks, and what they watch.
    pub fn held(&self) -> impl Iterator<Item = (PollId, &ClientIdentity, impl Iterator<Item = Watched>)> {
        let places = 0..u32::try_from(self.polls.places()).unwrap_or(u32::MAX);
        places.filter_map(|slot| {
            let entry = self.polls.get(slot)?;
            let watched = |record: &Record| Watched { key: record.key.clone(), held: record.held.clone() };
            let watched = entry.records.iter().map(watched);
            Some((PollId { slot, serial: entry.serial }, &entry.client, watched))
        })
    }

    /// How many records the polls have in all.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// What is held.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            polls: self.len(),
            records: self.records,
            keys: self.index.len(),
            timers: self.wheel.len(),
            due: self.due.len(),
        }
    }

    /// The room that is kept for all of [`Polls::counts`], in entries. Costs time: it looks everywhere.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let listeners: usize = self.index.values().map(Vec::capacity).sum();
        self.polls.capacity() + self.index.capacity() + listeners + self.wheel.capacity() + self.due.capacity()
    }

    /// Holds a poll, for its whole wait at most. It hears of every change from here on.
    pub fn insert(&mut self, now: Mono, poll: Poll, waiter: W) -> PollId {
        self.serial += 1;
        let serial = self.serial;
        let Poll { records, client, wait } = poll;
        let records: Box<[Record]> = records
            .into_iter()
            .map(|Watched { key, held }| Record { key, held, seen: Version::ZERO, at: 0, differs: false })
            .collect();
        self.records += records.len();
        let timer = Timer::None;
        let slot =
            self.polls.insert(Entry { serial, records, client, waiter, timer, is_compared: false, is_due: false });
        if let Some(entry) = self.polls.get_mut(slot) {
            for (place, record) in entry.records.iter_mut().enumerate() {
                let listeners = self.index.entry(record.key.clone()).or_default();
                record.at = listeners.len() as u32;
                listeners.push(Listener { slot, record: place as u32 });
            }
            if let Some(wait) = wait {
                entry.timer = Timer::Set(self.wheel.set(now, now.after(wait), slot));
            }
        }
        PollId { slot, serial }
    }

    /// True until the poll has ended.
    #[must_use]
    pub fn is_held(&self, id: PollId) -> bool {
        self.entry(id).is_some()
    }

    /// The keys of a poll; none once it has ended.
    pub fn keys(&self, id: PollId) -> impl Iterator<Item = &ConfigKey> {
        self.entry(id).into_iter().flat_map(|entry| &entry.records).map(|record| &record.key)
    }

    /// Every key that is watched.
    pub fn watched(&self) -> impl Iterator<Item = &ConfigKey> {
        self.index.keys()
    }

    /// True when somebody watches `key`.
    #[must_use]
    pub fn watches(&self, key: &ConfigKey) -> bool {
        self.index.contains_key(key)
    }

    /// Compares a poll with what was read after it was inserted. The answer, if it has one by now: something
    /// differs, or the poll does not wait.
    pub fn compare(&mut self, id: PollId, read: &HashMap<ConfigKey, SharedState>) -> Option<Ended<W>> {
        let entry = self.polls.get_mut(id.slot).filter(|entry| entry.serial == id.serial)?;
        for record in &mut entry.records {
            if let Some(state) = read.get(&record.key) {
                record.observe(state, &entry.client);
            }
        }
        entry.is_compared = true;
        let is_over = matches!(entry.timer, Timer::None) || entry.records.iter().any(|record| record.differs);
        if is_over { self.end(id) } else { None }
    }

    /// Hears of a state, newest or not, and notes as due every poll that it makes differ.
    pub fn changed(&mut self, state: &ConfigState) {
        let Some(listeners) = self.index.get(&state.key) else { return };
        for Listener { slot, record } in listeners {
            let Some(entry) = self.polls.get_mut(*slot) else { continue };
            let Some(record) = entry.records.get_mut(*record as usize) else { continue };
            record.observe(state, &entry.client);
            if record.differs && entry.is_compared && !entry.is_due {
                entry.is_due = true;
                self.due.push_back(PollId { slot: *slot, serial: entry.serial });
            }
        }
    }

    /// Forgets how new what was seen is, so that an older state counts when it comes: the database may have lost the
    /// newer one. What was seen holds until then.
    pub fn forget_versions(&mut self) {
        for slot in 0..self.polls.places() as u32 {
            let Some(entry) = self.polls.get_mut(slot) else { continue };
            entry.records.iter_mut().for_each(|record| record.seen = Version::ZERO);
        }
    }

    /// Notes as due every poll whose time is over.
    pub fn advance(&mut self, now: Mono) {
        let Self { polls, wheel, due, .. } = self;
        let mut passed = Vec::new();
        wheel.advance(now, |slot| passed.push(slot), |moved| follow(polls, &moved));
        for slot in passed {
            let Some(entry) = polls.get_mut(slot) else { continue };
            entry.timer = Timer::Passed;
            if !entry.is_due {
                entry.is_due = true;
                due.push_back(PollId { slot, serial: entry.serial });
            }
        }
    }

    /// True when polls wait to be taken as due.
    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes polls that are due, the longest noted first, until they had `work` records in all or none is left.
    pub fn take_due(&mut self, work: usize) -> Vec<Ended<W>> {
        let mut ended = Vec::new();
        let mut done = 0;
        while done < work
            && let Some(id) = self.due.pop_front()
        {
            let Some(entry) = self.polls.get_mut(id.slot).filter(|entry| entry.serial == id.serial) else { continue };
            done += entry.records.len().max(1);
            entry.is_due = false;
            let is_over = matches!(entry.timer, Timer::Passed) || entry.records.iter().any(|record| record.differs);
            // What made it due may have been taken back meanwhile: then it waits on.
            if is_over {
                ended.extend(self.end(id));
            }
        }
        if self.due.is_empty() {
            self.due = VecDeque::new();
        }
        ended
    }

    /// Ends a poll without an answer; `None` when it has ended before.
    pub fn remove(&mut self, id: PollId) -> Option<W> {
        self.end(id).map(|ended| ended.waiter)
    }

    /// Looks at the next `count` places and ends the polls there that are `gone`. Answers how many those were. Calls
    /// that add up to as many places as there are look at every poll once.
    pub fn sweep(&mut self, count: usize, mut gone: impl FnMut(&W) -> bool) -> usize {
        let mut ended = 0;
        for _ in 0..count.min(self.polls.places()) {
            if self.hand >= self.polls.places() {
                self.hand = 0;
            }
            let slot = self.hand as u32;
            self.hand += 1;
            if let Some(entry) = self.polls.get(slot).filter(|entry| gone(&entry.waiter)) {
                let id = PollId { slot, serial: entry.serial };
                ended += usize::from(self.end(id).is_some());
            }
        }
        ended
    }

    /// How many places [`Polls::sweep`] has to look at to see every poll.
    #[must_use]
    pub fn places(&self) -> usize {
        self.polls.places()
    }

    /// Ends every poll, in the order of their places.
    pub fn drain(&mut self) -> Vec<Ended<W>> {
        let slots = 0..self.polls.places() as u32;
        let ids: Vec<PollId> =
            slots.filter_map(|slot| Some(PollId { slot, serial: self.polls.get(slot)?.serial })).collect();
        self.due = VecDeque::new();
        ids.into_iter().filter_map(|id| self.end(id)).collect()
    }

    fn entry(&self, id: PollId) -> Option<&Entry<W>> {
        self.polls.get(id.slot).filter(|entry| entry.serial == id.serial)
    }

    /// The one way out: the place, the index entries and the timer of a poll go together.
    fn end(&mut self, id: PollId) -> Option<Ended<W>> {
        let records = self.entry(id)?.records.len();
        for record in 0..records {
            self.unlisten(id.slot, record);
        }
        self.records -= records;
        let entry = self.polls.remove(id.slot)?;
        if let Timer::Set(place) = entry.timer
            && let Some(moved) = self.wheel.cancel(place)
        {
            follow(&mut self.polls, &moved);
        }
        if self.polls.len() == 0 {
            self.index = HashMap::new();
            self.due = VecDeque::new();
        } else if self.index.capacity() > SMALL && self.index.len() < self.index.capacity() / 8 {
            self.index.shrink_to(self.index.len() * 2);
        }
        Some(Ended { changed: entry.differing(), waiter: entry.waiter })
    }

    /// Takes one record out of the index; the listener that is put in its place is told.
    fn unlisten(&mut self, slot: u32, record: usize) {
        let Self { polls, index, .. } = self;
        let Some(record) = polls.get(slot).and_then(|entry| entry.records.get(record)) else { return };
        let (key, at) = (&record.key, record.at);
        let Some(listeners) = index.get_mut(key) else { return };
        listeners.swap_remove(at as usize);
        if listeners.is_empty() {
            index.remove(key);
            return;
        }
        if listeners.capacity() > SMALL && listeners.len() < listeners.capacity() / 4 {
            listeners.shrink_to(listeners.len() * 2);
        }
        let moved = listeners.get(at as usize).copied();
        let moved = moved.and_then(|moved| polls.get_mut(moved.slot)?.records.get_mut(moved.record as usize));
        if let Some(moved) = moved {
            moved.at = at;
        }
    }
}

/// A timer is in another place: its poll must know.
fn follow<W>(polls: &mut Slots<Entry<W>>, moved: &Moved) {
    if let Some(entry) = polls.get_mut(moved.carried) {
        entry.timer = Timer::Set(moved.place);
    }
}

#[cfg(test)]
mod tests;
