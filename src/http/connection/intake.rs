//! What a client sends over a connection, counted against the memory for requests, and timed: the head of each request
//! and its body, whichever request of the connection it is. Owns what is counted for the request that is coming in; the
//! request takes it over, and keeps it until it is answered. Reads nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use callboard_protocol::progress::Patience;
use callboard_protocol::share::ClientNetwork;

use crate::api::memory::{MemoryBudget, NoRoom, PATIENCE, Reservation};
use crate::socket::Watched;

/// What may be sent, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct IntakeOptions {
    /// The memory for requests.
    pub(crate) memory: MemoryBudget,
    /// For a whole head.
    pub(crate) head: Duration,
    /// For a body to go on.
    pub(crate) body: Duration,
}

/// Where in the requests of a connection the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between two requests.
    Between,
    /// In the head of this request; counted from one.
    Head(u64),
    /// In the body of this request, or in what could not be told apart after it.
    Body(u64),
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Broken {
    /// The client was too slow.
    TooSlow,
    /// There was no room for what it sent.
    NoRoom(NoRoom),
}

/// What was counted for a request.
pub(super) type Counted = Rc<RefCell<Reservation>>;

/// What the connection and the handlers of its requests know of what came in.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Requests that no handler has yet, by their number.
    counted: RefCell<VecDeque<(u64, Counted)>>,
    /// How many requests have a handler, or had one.
    settled: Cell<u64>,
    /// Why nothing more comes.
    pub(super) broken: Cell<Option<Broken>>,
    /// What comes is no request any more: somebody else looks at it.
    pub(super) is_session: Cell<bool>,
}

impl Account {
    /// The next request has a handler: what was counted for it, so far as anything was.
    pub(super) fn settle(&self) -> Option<Counted> {
        let number = self.settled.get() + 1;
        self.settled.set(number);
        let mut counted = self.counted.borrow_mut();
        while counted.front().is_some_and(|(of, _)| *of < number) {
            counted.pop_front();
        }
        let is_it = counted.front().is_some_and(|(of, _)| *of == number);
        if is_it { counted.pop_front().map(|(_, counted)| counted) } else { None }
    }
}

/// Somebody who waits for room.
type Waiting = Pin<Box<dyn Future<Output = Result<Reservation, NoRoom>>>>;

/// See the module.
pub(super) struct Intake {
    limits: IntakeOptions,
    network: ClientNetwork,
    place: Place,
    counted: Option<(u64, Counted)>,
    /// Room is waited for before more is read.
    waiting: Option<Waiting>,
    timed: Option<Watched>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Intake").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Intake {
    /// That of a connection from this address.
    pub(super) fn new(limits: IntakeOptions, network: ClientNetwork) -> Self {
        Self { limits, network, place: Place::Between, counted: None, waiting: None, timed: None }
    }

    /// So many bytes came, the last of them at this place.
    pub(super) fn came(&mut self, bytes: usize, place: Place, account: &Account) {
        self.go_to(place, bytes);
        let (Place::Head(number) | Place::Body(number)) = place else {
            self.counted = None;
            return;
        };
        if account.is_session.get() {
            self.counted = None;
            return;
        }
        let counted = match &self.counted {
            Some((of, counted)) if *of == number => Rc::clone(counted),
            Some(_) | None => {
                let counted = Rc::new(RefCell::new(self.limits.memory.reserve(self.network)));
                account.counted.borrow_mut().push_back((number, Rc::clone(&counted)));
                self.counted = Some((number, Rc::clone(&counted)));
                counted
            }
        };
        let mut reservation = counted.borrow_mut();
        if reservation.try_take(bytes).is_err() {
            let mut more = reservation.more();
            self.waiting = Some(Box::pin(async move {
                more.wait_for(bytes, PATIENCE).await?;
                Ok(more)
            }));
        }
    }

    fn go_to(&mut self, place: Place, bytes: usize) {
        let is_same = std::mem::discriminant(&place) == std::mem::discriminant(&self.place);
        if is_same && let Some(timed) = &mut self.timed {
            timed.moved(bytes, false);
        }
        if self.place == place {
            return;
        }
        self.place = place;
        let IntakeOptions { head, body, .. } = self.limits;
        self.timed = match place {
            // What came before the first byte of a head is none of it; and the framework times the first head itself.
            Place::Between | Place::Head(0 | 1) => None,
            Place::Head(_) => Some(Watched::new(Patience { silence: head, total: head })),
            Place::Body(_) => Some(Watched::new(Patience { silence: body + HANDLER_FIRST, total: Duration::MAX })),
        };
    }

    /// Ready when more may be read.
    pub(super) fn poll_room(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let waited = ready!(waiting.as_mut().poll(task));
        self.waiting = None;
        match (waited, &self.counted) {
            (Ok(more), Some((_, counted))) => {
                counted.borrow_mut().add(more);
                Poll::Ready(Ok(()))
            }
            (Ok(_), None) => Poll::Ready(Ok(())),
            (Err(none), _) => Poll::Ready(Err(Broken::NoRoom(none))),
        }
    }

    /// The client is waited for; ready when it is too slow.
    pub(super) fn poll_too_slow(&mut self, task: &mut Context<'_>, account: &Account) -> Poll<()> {
        match &mut self.timed {
            Some(timed) if !account.is_session.get() => timed.poll_too_slow(task),
            Some(_) | None => Poll::Pending,
        }
    }
}

/// Whoever reads a body says in words that it is too slow, and gets the time for it.
const HANDLER_FIRST: Duration = Duration::from_millis(500);
