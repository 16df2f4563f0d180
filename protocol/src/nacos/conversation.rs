//! The conversation with a client of Nacos: it opens a stream, says over it who it is, and is set up once it is
//! connected; it may open another stream and begin anew, and the node may end it. Owns in which state it is and what
//! still belongs to it; `T` is what is known of a client that is set up. Opens nothing, asks nobody and reads no clock.
//!
//! # Driving [`Conversation`]
//! 1. A stream opens or ends: [`Conversation::open_stream`], [`Conversation::end_stream`]; give up what they give back,
//!    and leave when the conversation [`has to`](Conversation::has_to_leave).
//! 2. What is said over a stream counts while it [`is current`](Conversation::is_current). When it says who the client
//!    is, [`Conversation::set_up`], and connect it if it says so; then [`Conversation::registered`] and
//!    [`Conversation::begin`].
//! 3. What was asked while a stream was open is finished with [`Conversation::known_at`] that stream.
//! 4. The node stops: [`Conversation::stop`]. It ends the conversation: [`Conversation::leave`].

use std::time::Duration;

use crate::session::presence::Silence;

/// Silence that ends a connection that is not set up.
const NOT_SET_UP: Duration = Duration::from_secs(60);

/// What it means that the coordinator knows the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// The client is set up by it: [`Conversation::begin`].
    First,
    /// The client had lost it, and every watch with it.
    Again,
    /// It belongs to nobody any more, and is to be given back.
    GiveBack,
    /// It was made for a stream that has ended. Another stream has it, or will: a connection is of the number.
    Former,
}

/// One conversation.
#[derive(Debug)]
pub struct Conversation<T> {
    state: State<T>,
    stay: Stay,
    /// How many streams there have been: the number of the last of them.
    stream: u64,
}

#[derive(Debug)]
enum State<T> {
    /// No stream is open.
    NoStream,
    /// A stream is open, and the client has not said who it is.
    Opened,
    /// It has, and is about to be connected.
    Registering,
    /// It is known to be here.
    SetUp(Box<T>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Welcome,
    /// The node stops: who is not set up has nothing to wait for.
    Stopping,
    /// The streams are complete, and what is under way is answered.
    Leaving,
}

impl<T> Default for Conversation<T> {
    fn default() -> Self {
        Self { state: State::NoStream, stay: Stay::Welcome, stream: 0 }
    }
}

impl<T> Conversation<T> {
    /// The number of the last stream.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// True while this stream is the one that is open.
    #[must_use]
    pub fn is_current(&self, stream: u64) -> bool {
        stream == self.stream && !matches!(self.state, State::NoStream) && self.stay != Stay::Leaving
    }

    /// True when the node ends the conversation.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.stay == Stay::Leaving
    }

    /// What is known of the client; `None` when it is not set up.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match &self.state {
            State::SetUp(known) => Some(known),
            State::NoStream | State::Opened | State::Registering => None,
        }
    }

    /// As [`Conversation::known`].
    #[must_use]
    pub fn known_mut(&mut self) -> Option<&mut T> {
        match &mut self.state {
            State::SetUp(known) => Some(known),
            State::NoStream | State::Opened | State::Registering => None,
        }
    }

    /// As [`Conversation::known`], for what began while this stream was open; `None` when the client has begun anew.
    #[must_use]
    pub fn known_at(&mut self, stream: u64) -> Option<&mut T> {
        if stream == self.stream { self.known_mut() } else { None }
    }

    /// The client opens a stream, which takes the place of another one. Answers what was known of it: it begins anew.
    pub fn open_stream(&mut self) -> Option<Box<T>> {
        self.stream += 1;
        // One that leaves has no stream any more: this one is complete at once.
        self.become_of(if self.is_leaving() { State::NoStream } else { State::Opened })
    }

    /// A stream ended. Answers what was known of the client. The streams of a conversation that the node ends are ended
    /// by the node: what was asked before is still answered.
    pub fn end_stream(&mut self, stream: u64) -> Option<Box<T>> {
        if stream == self.stream && !self.is_leaving() { self.become_of(State::NoStream) } else { None }
    }

    /// The connection ended. Answers what was known of the client, and whether a registration is to be
    /// taken back that was on its way.
    pub fn end(&mut self) -> (Option<Box<T>>, bool) {
        let is_registering = matches!(self.state, State::Registering);
        (self.become_of(State::NoStream), is_registering)
    }

    /// The client says who it is. True when it is to be connected: it says so for the first time on this stream.
    pub fn set_up(&mut self) -> bool {
        let is_first = matches!(self.state, State::Opened);
        if is_first {
            self.state = State::Registering;
        }
        is_first
    }

    /// The coordinator knows the connection, as was asked for on this stream.
    #[must_use]
    pub fn registered(&self, stream: u64) -> Registration {
        match (&self.state, self.is_current(stream)) {
            (State::NoStream | State::Opened, _) => Registration::GiveBack,
            (State::Registering | State::SetUp(_), false) => Registration::Former,
            (State::Registering, true) => Registration::First,
            (State::SetUp(_), true) => Registration::Again,
        }
    }

    /// The client is set up, and this is known of it.
    pub fn begin(&mut self, known: T) {
        self.state = State::SetUp(Box::new(known));
    }

    /// The node stops.
    pub fn stop(&mut self) {
        if self.stay == Stay::Welcome {
            self.stay = Stay::Stopping;
        }
    }

    /// True when the client has nothing to wait for: the node stops, and it is not set up.
    #[must_use]
    pub fn has_to_leave(&self) -> bool {
        self.stay != Stay::Welcome && self.known().is_none()
    }

    /// The node ends the conversation.
    pub fn leave(&mut self) {
        self.stay = Stay::Leaving;
    }

    /// What to do about a silence of so long: who is not set up is given more time.
    #[must_use]
    pub fn about(&self, silence: Silence, silent_for: Duration) -> Silence {
        match silence {
            Silence::Gone if self.known().is_none() && silent_for < NOT_SET_UP => {
                Silence::Rest(NOT_SET_UP - silent_for)
            }
            Silence::Gone | Silence::Rest(_) | Silence::Ping { .. } => silence,
        }
    }

    fn become_of(&mut self, state: State<T>) -> Option<Box<T>> {
        match std::mem::replace(&mut self.state, state) {
            State::SetUp(known) => Some(known),
            State::NoStream | State::Opened | State::Registering => None,
        }
    }
}

/// Something that is done again and again, one time after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Again {
    is_under_way: bool,
    is_wanted: bool,
}

impl Again {
    /// It is to be done. True when it is to begin now; otherwise it follows what is under way.
    pub fn begin(&mut self) -> bool {
        self.is_wanted = self.is_under_way;
        !std::mem::replace(&mut self.is_under_way, true)
    }

    /// It was done. True when it is to be done once more, now.
    pub fn end(&mut self) -> bool {
        self.is_under_way = std::mem::take(&mut self.is_wanted);
        self.is_under_way
    }
}

#[cfg(test)]
mod tests;
