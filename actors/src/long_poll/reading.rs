//! The reads of long polls: what a poll is compared with after it is registered, and what is read again when changes
//! may have been missed. Owns how many keys are asked for at a time; polls that came together share a read, so that
//! ten thousand which wait for one key read it once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Handler, Message};
use callboard_protocol::config::SharedState;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::long_poll::PollId;

use super::{LongPoll, PollAnswer};
use crate::cache::ReadFailure;
use crate::cache::reader::GetMany;
use crate::runtime::{AskError, Context, ask};

/// How long the reader may take.
const ASK_DEADLINE: Duration = Duration::from_secs(12);
/// How soon keys that could not be read again are tried once more.
const RETRY: Duration = Duration::from_millis(250);
/// Reads under way at a time: a slow one does not hold up the others at once.
const LANES: usize = 4;
/// Records of the polls that share a read; a poll with more has one to itself.
const READ_AT_ONCE: usize = 2_048;
/// Keys read again at a time.
const RECHECKED_AT_ONCE: usize = 1_024;

/// Reads for those that were registered since.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ReadTick;

/// Goes on reading again what could not be read.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct RecheckTick;

/// The keys that are to be read again.
#[derive(Debug)]
pub(super) struct Recheck {
    keys: VecDeque<ConfigKey>,
    /// One read is under way, or waits to be tried again.
    is_running: bool,
    /// How many keys the next read asks for.
    at_once: usize,
}

impl Default for Recheck {
    fn default() -> Self {
        Self { keys: VecDeque::new(), is_running: false, at_once: RECHECKED_AT_ONCE }
    }
}

type Read = Result<HashMap<ConfigKey, SharedState>, ReadFailure>;

impl LongPoll {
    /// Begins as many reads as there is leave for.
    fn read_on(&mut self, context: &mut Context<Self>) {
        while self.reads < LANES && !self.unread.is_empty() {
            let (mut together, mut records) = (Vec::new(), 0);
            while let Some(id) = self.unread.front().copied() {
                let more = self.polls.keys(id).count();
                if records > 0 && records + more > READ_AT_ONCE {
                    break;
                }
                records += more;
                self.unread.pop_front();
                // One that ended meanwhile is not read for.
                if self.polls.is_held(id) {
                    together.push(id);
                }
            }
            self.read_for(together, context);
        }
        if self.unread.is_empty() {
            self.unread = VecDeque::new();
        }
    }

    fn read_for(&mut self, together: Vec<PollId>, context: &mut Context<Self>) {
        if together.is_empty() {
            return;
        }
        self.reads += 1;
        let keys: HashSet<ConfigKey> = together.iter().flat_map(|id| self.polls.keys(*id)).cloned().collect();
        let reading = self.get(keys.into_iter().collect());
        let round = self.round;
        context.spawn(wrap_future(reading).map(move |read, polls: &mut Self, context| {
            polls.reads -= 1;
            if round == polls.round || read.is_err() {
                polls.compare(together, read, context);
            } else {
                let held = together.into_iter().filter(|id| polls.polls.is_held(*id)).collect();
                polls.read_for(held, context);
            }
            polls.read_on(context);
        }));
    }

    fn get(&self, keys: Vec<ConfigKey>) -> impl Future<Output = Read> + 'static {
        let reader = self.reader.clone();
        async move {
            match ask(&reader, GetMany { keys }, ASK_DEADLINE).await {
                Ok(read) => Ok(read?.into_iter().map(|state| (state.key.clone(), state)).collect()),
                Err(AskError::TimedOut) => Err(ReadFailure::TimedOut),
                Err(AskError::Closed) => {
                    Err(ReadFailure::Unavailable { reason: "the reader is restarting".to_owned() })
                }
            }
        }
    }

    fn compare(&mut self, mut together: Vec<PollId>, read: Read, context: &mut Context<Self>) {
        match read {
            Ok(states) => {
                for id in together {
                    if let Some(ended) = self.polls.compare(id, &states) {
                        self.answer(ended);
                    }
                }
            }
            // One bad row fails the whole read; the polls that do not ask for it must not suffer.
            Err(ReadFailure::Broken { .. }) if together.len() > 1 => {
                let others = together.split_off(together.len() / 2);
                self.read_for(together, context);
                self.read_for(others, context);
            }
            Err(failure) => {
                for waiter in together.into_iter().filter_map(|id| self.polls.remove(id)) {
                    waiter.answer(PollAnswer::Failed(failure.clone()));
                }
            }
        }
    }

    /// Changes may have been missed, or lost by the database after they were told: reads every key that is watched, and
    /// takes what is there even where it is older. What is registered from here on reads for itself.
    pub(super) fn recheck_all(&mut self, context: &mut Context<Self>) {
        self.round += 1;
        self.polls.forget_versions();
        self.recheck.keys = self.polls.watched().cloned().collect();
        if !self.recheck.is_running {
            self.recheck_on(context);
        }
    }

    fn recheck_on(&mut self, context: &mut Context<Self>) {
        let mut keys = Vec::new();
        while keys.len() < self.recheck.at_once
            && let Some(key) = self.recheck.keys.pop_front()
        {
            if self.polls.watches(&key) {
                keys.push(key);
            }
        }
        self.recheck.is_running = !keys.is_empty();
        if keys.is_empty() {
            self.recheck.keys = VecDeque::new();
            return;
        }
        let (reading, round) = (self.get(keys.clone()), self.round);
        context.spawn(wrap_future(reading).map(move |read, polls: &mut Self, context| {
            if round == polls.round || read.is_err() {
                polls.rechecked(keys, read, context);
            } else {
                // All of these wait to be read again.
                polls.recheck_on(context);
            }
        }));
    }

    fn rechecked(&mut self, keys: Vec<ConfigKey>, read: Read, context: &mut Context<Self>) {
        match read {
            Ok(states) => {
                self.recheck.at_once = RECHECKED_AT_ONCE.min(self.recheck.at_once * 2);
                for state in states.values() {
                    self.polls.changed(state);
                }
                self.answer_due(context);
                self.recheck_on(context);
            }
            Err(ReadFailure::Broken { what }) if keys.len() == 1 => {
                tracing::warn!(what, "a watched configuration can't be read");
                self.recheck_on(context);
            }
            Err(failure) => {
                if matches!(failure, ReadFailure::Broken { .. }) {
                    // Halved until the bad row is alone.
                    self.recheck.at_once = keys.len() / 2;
                }
                self.recheck.keys.extend(keys);
                context.notify_later(RecheckTick, RETRY);
            }
        }
    }
}

impl Handler<ReadTick> for LongPoll {
    type Result = ();

    fn handle(&mut self, ReadTick: ReadTick, context: &mut Context<Self>) {
        self.scheduled.read = false;
        self.read_on(context);
    }
}

impl Handler<RecheckTick> for LongPoll {
    type Result = ();

    fn handle(&mut self, RecheckTick: RecheckTick, context: &mut Context<Self>) {
        self.recheck_on(context);
    }
}
