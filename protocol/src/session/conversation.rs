//! The conversation of a native session: hello first, then requests, watches and pushes, until one side ends it. Owns
//! in which state it is, what may be said in it, what the client is owed, and what ends it. Opens nothing, asks nobody
//! and knows no form of a message; `A` is an answer as its driver sends it, `W` the handle of a registered watch.
//!
//! # Driving [`Conversation`]
//! 1. While [`Conversation::may_read`], read a message, [`Conversation::judge`] it and do what the verdict says.
//! 2. To greet: [`Conversation::greet`], connect the client to the coordinator, then [`Conversation::connected`]; again
//!    when the coordinator forgot it.
//! 3. To serve what takes time: [`Conversation::begin`], later [`Conversation::settle`]. Anything else that is said:
//!    [`Conversation::owe`].
//! 4. To watch: [`Conversation::begin_watch`], register what it names; if none was refused,
//!    [`Conversation::registered`] and [`Pushes::watch`], all at once or in parts; in any case
//!    [`Conversation::end_change`]. To stop watching: [`Conversation::begin_unwatch`], [`Conversation::unwatch`], all
//!    at once or in parts, [`Conversation::end_change`]. What is read and pushed is [`Pushes`], of
//!    [`Conversation::pushes`].
//! 5. Whenever the connection takes something, send [`Conversation::next_outbound`]. When there are none in an ended
//!    conversation, close the connection.
//! 6. When the node stops: [`Conversation::send_away`]. After it, and after [`Conversation::end`], call
//!    [`Conversation::linger`] from time to time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::client::Client;
use super::position::{Mark, content_for};
use super::pushes::{Outgoing, Pushes};
use crate::config::ConfigState;
use crate::content::Content;
use crate::key::ConfigKey;
use crate::link::Versions;
use crate::watch::Selector;

/// Pushes that are handed to the connection at once.
const MAX_BATCH: usize = 64;
/// Bytes of them.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Answers that wait for the connection, in bytes: beyond, nothing more is read until some are gone.
const MAX_OWED_BYTES: usize = 1024 * 1024;

/// What a client may do.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The versions of the protocol that are spoken.
    pub versions: Versions,
    /// Configurations that it may hear of.
    pub keys: usize,
    /// Keys and prefixes that it may watch.
    pub watches: usize,
    /// Requests under way at a time.
    pub requests: usize,
}

/// The first message of a client.
#[derive(Debug)]
pub struct Hello {
    /// Who it is.
    pub client: Client,
    /// The versions of the protocol that it speaks.
    pub versions: Versions,
    /// What it holds.
    pub held: Vec<(ConfigKey, Mark)>,
}

/// A message that came, as far as it decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Who the client is.
    Hello,
    /// Anything else that can be read.
    Request,
    /// It has not the form of a message.
    Malformed,
    /// It has the form, and breaks a rule or is of a kind that nobody knows.
    Unusable,
}

/// What is done about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is a hello: [`Conversation::greet`].
    Greet,
    /// It is answered as it asks.
    Serve,
    /// It is answered with what is wrong with it, or with this; the conversation goes on.
    Refuse(Option<Breach>),
    /// Nothing: it has no answer.
    Skip,
    /// The conversation ends with what is wrong with it, or with this.
    End(Option<Breach>),
}

/// A rule of the conversation that the client broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// Something else than hello came first.
    HelloExpected,
    /// No hello came in time.
    HelloLate,
    /// Hello was said already.
    HelloAgain,
    /// The client speaks none of these versions.
    Versions(Versions),
    /// It would have to know of more configurations than these.
    TooManyKeys(usize),
    /// It watches as many as it may.
    TooManyWatches(usize),
}

/// What the client is told next.
#[derive(Debug, PartialEq, Eq)]
pub enum Outbound<A> {
    /// A configuration changed: this is what the client gets of it.
    Push(Outgoing, Option<Content>),
    /// The watch of this number is complete.
    Watching(u64),
    /// An answer.
    Answer(A),
}

/// What becomes of a conversation whose client was told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// It waits for answers that are under way: linger again.
    Wait,
    /// The client has all that it is owed, and is let go in good order. It counts as drained; linger again.
    Close,
    /// The client does not take its last word: close the connection.
    Stop,
}

/// One conversation.
#[derive(Debug)]
pub struct Conversation<A, W> {
    rules: Rules,
    state: State<W>,
    /// Answers that wait for the connection.
    owed: VecDeque<A>,
    owed_bytes: usize,
    /// Requests whose answers are not known yet.
    under_way: usize,
}

#[derive(Debug)]
enum State<W> {
    /// Nothing was said yet.
    Greeting,
    /// The client said hello, in the request of this number, and is about to be connected.
    Registering(u64, Box<Known<W>>),
    /// The client is known to be here.
    Open(Box<Known<W>>),
    /// The last word is on its way, or was said.
    Ending(Option<Box<Known<W>>>),
}

/// What is known of a client that has said who it is.
#[derive(Debug)]
struct Known<W> {
    client: Arc<Client>,
    version: u16,
    pushes: Pushes,
    watches: HashMap<Selector, W>,
    /// What is watched is being changed.
    is_changing: bool,
    stay: Stay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Welcome,
    /// The client was told to go.
    SentAway,
    /// It had time to go: nothing more is read.
    Unheard,
}

impl<A, W> Conversation<A, W> {
    /// A conversation in which nothing was said.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: State::Greeting, owed: VecDeque::new(), owed_bytes: 0, under_way: 0 }
    }

    /// True when another message may be read. What is said while what is watched is being changed would overtake it.
    #[must_use]
    pub fn may_read(&self) -> bool {
        let may_be_asked = match &self.state {
            State::Greeting => true,
            State::Open(known) => !known.is_changing && known.stay != Stay::Unheard,
            State::Registering(..) | State::Ending(_) => false,
        };
        may_be_asked && self.under_way < self.rules.requests && self.owed_bytes < MAX_OWED_BYTES
    }

    /// What is done about a message; one that `is_numbered` has an answer. One that is not is skipped when it can't be
    /// used, unless it has no form: that is a last word, for an error without a number is one.
    #[must_use]
    pub fn judge(&self, message: Message, is_numbered: bool) -> Verdict {
        match (&self.state, message) {
            (State::Greeting, Message::Hello) => Verdict::Greet,
            (State::Greeting, Message::Request) => Verdict::End(Some(Breach::HelloExpected)),
            (State::Greeting, Message::Malformed | Message::Unusable) => Verdict::End(None),
            (State::Open(_), Message::Request) => Verdict::Serve,
            (State::Open(_), Message::Malformed) if !is_numbered => Verdict::End(None),
            (State::Open(_), Message::Hello | Message::Unusable) if !is_numbered => Verdict::Skip,
            (State::Open(_), Message::Hello) => Verdict::Refuse(Some(Breach::HelloAgain)),
            (State::Open(_), Message::Malformed | Message::Unusable) => Verdict::Refuse(None),
            (State::Registering(..) | State::Ending(_), _) => Verdict::Skip,
        }
    }

    /// The client says who it is, in the request of this number.
    ///
    /// # Errors
    /// Why the conversation has to end instead; nothing has changed.
    pub fn greet(&mut self, id: u64, hello: Hello) -> Result<(), Breach> {
        let Hello { client, versions, held } = hello;
        let Some(version) = self.rules.versions.common(versions) else {
            return Err(Breach::Versions(self.rules.versions));
        };
        if held.len() > self.rules.keys {
            return Err(Breach::TooManyKeys(self.rules.keys));
        }
        let client = Arc::new(client);
        let mut pushes = Pushes::new(Arc::clone(&client), self.rules.keys);
        for (key, mark) in held {
            pushes.hold(key, mark);
        }
        let (watches, is_changing, stay) = (HashMap::new(), false, Stay::Welcome);
        self.state = State::Registering(id, Box::new(Known { client, version, pushes, watches, is_changing, stay }));
        Ok(())
    }

    /// The client holds this besides what its hello named.
    ///
    /// # Errors
    /// It may not hear of so much; the conversation has to end.
    pub fn hold(&mut self, held: Vec<(ConfigKey, Mark)>) -> Result<(), Breach> {
        let most = self.rules.keys;
        let Some(known) = self.known_mut() else { return Ok(()) };
        for (key, mark) in held {
            known.pushes.hold(key, mark);
        }
        if known.pushes.overflowed() { Err(Breach::TooManyKeys(most)) } else { Ok(()) }
    }

    /// The time for a hello is over: why the conversation has to end, if it has.
    #[must_use]
    pub fn hello_is_late(&self) -> Option<Breach> {
        matches!(self.state, State::Greeting).then_some(Breach::HelloLate)
    }

    /// The coordinator knows the client. The number of its hello and the version that is spoken, to welcome it; `None`
    /// when it was welcomed before, and has to register its watches anew ([`Conversation::begin_watch_again`]).
    pub fn connected(&mut self) -> Option<(u64, u16)> {
        match std::mem::replace(&mut self.state, State::Greeting) {
            State::Registering(id, known) => {
                let version = known.version;
                self.state = State::Open(known);
                Some((id, version))
            }
            state @ (State::Greeting | State::Open(_) | State::Ending(_)) => {
                self.state = state;
                None
            }
        }
    }

    /// Who the client is, from its hello until the end.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.known().map(|known| &known.client)
    }

    /// What the client is pushed, from its hello until the end.
    #[must_use]
    pub fn pushes(&self) -> Option<&Pushes> {
        self.known().map(|known| &known.pushes)
    }

    /// As [`Conversation::pushes`].
    #[must_use]
    pub fn pushes_mut(&mut self) -> Option<&mut Pushes> {
        self.known_mut().map(|known| &mut known.pushes)
    }

    /// True when the client is known to be here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// True once the last word is said or on its way.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    /// True when the client was told to go.
    #[must_use]
    pub fn is_sent_away(&self) -> bool {
        self.known().is_some_and(|known| known.stay != Stay::Welcome)
    }

    /// A request is under way.
    pub fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A request that was under way is answered.
    pub fn settle(&mut self, answer: A, bytes: usize) {
        self.under_way = self.under_way.saturating_sub(1);
        self.owe(answer, bytes);
    }

    /// Owes the client this, of about so many bytes. Nothing follows a last word.
    pub fn owe(&mut self, answer: A, bytes: usize) {
        if !self.is_ending() {
            self.owed_bytes += bytes;
            self.owed.push_back(answer);
        }
    }

    /// The client wants to watch these: those of them that have to be registered, each once. A request is under way
    /// then.
    ///
    /// # Errors
    /// [`Breach::TooManyWatches`]; nothing has changed.
    pub fn begin_watch(&mut self, selectors: &[Selector]) -> Result<Vec<Selector>, Breach> {
        let most = self.rules.watches;
        let Some(known) = self.known_mut() else { return Ok(Vec::new()) };
        let new: HashSet<&Selector> =
            selectors.iter().filter(|selector| !known.watches.contains_key(selector)).collect();
        if known.watches.len() + new.len() > most {
            return Err(Breach::TooManyWatches(most));
        }
        known.is_changing = true;
        self.under_way += 1;
        Ok(new.into_iter().cloned().collect())
    }

    /// The coordinator forgot the connection and every watch with it: all of them have to be registered anew.
    pub fn begin_watch_again(&mut self) -> Vec<Selector> {
        let Some(known) = self.known_mut() else { return Vec::new() };
        known.is_changing = true;
        known.watches.drain().map(|(selector, _)| selector).collect()
    }

    /// Watches that were registered, all or some of them. Answers those to take back.
    pub fn registered(&mut self, watches: impl IntoIterator<Item = (Selector, W)>) -> Vec<W> {
        let watches = watches.into_iter();
        let Some(known) = self.known_mut() else { return watches.map(|(_, watch)| watch).collect() };
        watches.filter_map(|(selector, watch)| known.watches.insert(selector, watch)).collect()
    }

    /// The client does not want to watch some of what it does. A request is under way then.
    pub fn begin_unwatch(&mut self) {
        if let Some(known) = self.known_mut() {
            known.is_changing = true;
            self.under_way += 1;
        }
    }

    /// These are not watched any longer. Answers the watches to take back.
    pub fn unwatch(&mut self, selectors: &[Selector]) -> Vec<W> {
        let Some(known) = self.known_mut() else { return Vec::new() };
        known.pushes.unwatch(selectors);
        selectors.iter().filter_map(|selector| known.watches.remove(selector)).collect()
    }

    /// What is watched has been changed: the next message may be read.
    pub fn end_change(&mut self) {
        if let Some(known) = self.known_mut() {
            known.is_changing = false;
        }
    }

    /// The client asked for this state and is given it. Answers the content that it gets.
    pub fn give(&mut self, state: &ConfigState) -> Option<Content> {
        let known = self.known_mut()?;
        known.pushes.give(&state.key, state.version);
        content_for(state, &known.client).cloned()
    }

    /// What is said next. Pushes come before answers, so that a watch is complete when it is said to be.
    pub fn next_outbound(&mut self) -> Vec<Outbound<A>> {
        let (mut outbound, mut bytes) = (Vec::new(), 0);
        if let State::Open(known) = &mut self.state {
            while outbound.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
                let Some(outgoing) = known.pushes.next() else { break };
                let content = content_for(&outgoing.state, &known.client).cloned();
                bytes += content.as_ref().map_or(0, |content| content.bytes().len());
                outbound.push(Outbound::Push(outgoing, content));
            }
            let complete = known.pushes.take_watching();
            self.under_way = self.under_way.saturating_sub(complete.len());
            outbound.extend(complete.into_iter().map(Outbound::Watching));
        }
        // Nothing is kept for the next answer: most sessions are quiet.
        outbound.extend(std::mem::take(&mut self.owed).into_iter().map(Outbound::Answer));
        self.owed_bytes = 0;
        outbound
    }

    /// Ends the conversation with a last word; what is owed is not said any more. False when it has ended before.
    pub fn end(&mut self, last: A) -> bool {
        if !self.close() {
            return false;
        }
        self.owed = VecDeque::from([last]);
        true
    }

    /// The client is gone: what that counts as, `reason` unless it was sent away. `None` when the conversation had
    /// ended.
    pub fn gone(&mut self, reason: &'static str) -> Option<&'static str> {
        let reason = if self.is_sent_away() { DRAINED } else { reason };
        self.close().then_some(reason)
    }

    /// The client is to go, and is told so by this. False when it was told before, or the conversation has ended.
    pub fn send_away(&mut self, word: A) -> bool {
        let Some(known) = self.known_mut().filter(|known| known.stay == Stay::Welcome) else { return false };
        known.stay = Stay::SentAway;
        self.owe(word, 0);
        true
    }

    /// The client had time to go. From now on it is not read from, and is let go once it has its answers.
    pub fn linger(&mut self) -> Linger {
        if self.is_ending() {
            return Linger::Stop;
        }
        if let Some(known) = self.known_mut() {
            known.stay = Stay::Unheard;
        }
        if self.under_way > 0 || !self.owed.is_empty() {
            return Linger::Wait;
        }
        self.close();
        Linger::Close
    }

    /// The client that is to be disconnected, and its pushes: what is unanswered among them is lost.
    #[must_use]
    pub fn lost(&self) -> Option<(&Arc<Client>, &Pushes)> {
        let known = match &self.state {
            State::Greeting => None,
            State::Registering(_, known) | State::Open(known) => Some(known),
            State::Ending(known) => known.as_ref(),
        }?;
        Some((&known.client, &known.pushes))
    }

    /// Where the conversation stands, for people: the state, watches, pushes that wait, requests under way, answers
    /// owed.
    #[must_use]
    pub fn standing(&self) -> (&'static str, [usize; 4]) {
        let state = match self.state {
            State::Greeting => "greeting",
            State::Registering(..) => "registering",
            State::Open(_) => "open",
            State::Ending(_) => "ending",
        };
        let (watches, pushes) = self.known().map_or((0, 0), |known| (known.watches.len(), known.pushes.len()));
        (state, [watches, pushes, self.under_way, self.owed.len()])
    }

    fn known(&self) -> Option<&Known<W>> {
        match &self.state {
            State::Registering(_, known) | State::Open(known) => Some(known),
            State::Greeting | State::Ending(_) => None,
        }
    }

    fn known_mut(&mut self) -> Option<&mut Known<W>> {
        match &mut self.state {
            State::Registering(_, known) | State::Open(known) => Some(known),
            State::Greeting | State::Ending(_) => None,
        }
    }

    /// Goes to the end; false when it was there.
    fn close(&mut self) -> bool {
        let known = match std::mem::replace(&mut self.state, State::Ending(None)) {
            State::Greeting => None,
            State::Registering(_, known) | State::Open(known) => Some(known),
            ended @ State::Ending(_) => {
                self.state = ended;
                return false;
            }
        };
        self.state = State::Ending(known);
        true
    }
}

/// What the end of a conversation counts as whose client was sent away.
pub const DRAINED: &str = "drained";

#[cfg(test)]
mod tests;
