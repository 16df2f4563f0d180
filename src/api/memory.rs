//! What requests and answers take up in the memory of a node: counted against what all of them may take up together,
//! and shared between addresses, so that nobody can make a node hold more by sending many messages and ending none, by
//! messages that are long once they are unpacked, or by asking for much and reading nothing. Owns that count; reads
//! nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::share::{ClientNetwork, Full, Rule, Shares};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::gauges::Gauges;
use crate::settings::MemoryOptions;

/// What a request or an answer takes up without being counted, in bytes: nearly all are shorter.
const UNCOUNTED: usize = 4 * 1024;
/// What is taken at a time, in bytes.
const STEP: usize = 16 * 1024;
/// How long most wait for room before they are refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Which of the two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Use {
    /// What comes in, until it is answered.
    Requests,
    /// What is to go out, until it was written.
    Answers,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Answers => "answers",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    budget: &'static str,
    who: &'static str,
}

/// Both budgets of a node. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// For what comes in.
    pub(crate) requests: MemoryBudget,
    /// For what goes out.
    pub(crate) answers: MemoryBudget,
}

impl Memory {
    /// Budgets of which nothing is taken.
    pub(crate) fn new(options: &MemoryOptions) -> Self {
        let refused = Family::default();
        let budget = |of, max: u64| MemoryBudget::new(of, usize::try_from(max).unwrap_or(usize::MAX), &refused);
        Self {
            requests: budget(Use::Requests, options.requests.bytes()),
            answers: budget(Use::Answers, options.answers.bytes()),
        }
    }

    /// Makes the figures known.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let (requests, answers) = (self.requests.clone(), self.answers.clone());
        let rows = move || [&requests, &answers].map(|budget| (budget.0.of.name(), budget.taken() as u64)).to_vec();
        let gauges = Gauges::new("callboard_memory_bytes", "Bytes of requests and answers", "budget", rows);
        registry.register_collector(Box::new(gauges));
        registry.register(
            "callboard_memory_refused",
            "Requests and answers for which there was no room",
            self.requests.0.refused.clone(),
        );
    }
}

#[derive(Debug)]
struct Inner {
    of: Use,
    state: Mutex<Taken>,
    freed: Notify,
    refused: Family<RefusedLabel, Counter>,
}

#[derive(Debug)]
struct Taken {
    shares: Shares,
    /// Contents that are being sent, by their place in memory: however many send the same one, it is there once.
    shared: HashMap<usize, Sharing>,
}

#[derive(Debug)]
struct Sharing {
    network: ClientNetwork,
    bytes: usize,
    users: usize,
}

/// What requests, or answers, may take up, over all connections of a node. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<Inner>);

/// There was no room.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("there is no room for another long {of}: {by} take what they may; try again")]
pub(crate) struct NoRoom {
    of: &'static str,
    by: Full,
}

impl From<NoRoom> for ApiError {
    fn from(none: NoRoom) -> Self {
        Self::new(ErrorCode::Overloaded, none.to_string())
    }
}

impl MemoryBudget {
    fn new(of: Use, max: usize, refused: &Family<RefusedLabel, Counter>) -> Self {
        let state = Taken { shares: Shares::new(max, Rule::AsMuchAsIsLeft), shared: HashMap::new() };
        Self(Arc::new(Inner { of, state: Mutex::new(state), freed: Notify::new(), refused: refused.clone() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How much is taken, in bytes.
    pub(crate) fn taken(&self) -> usize {
        self.with(|taken| taken.shares.taken())
    }

    /// A reservation of nothing yet, for who comes from this address.
    pub(crate) fn reserve(&self, network: ClientNetwork) -> Reservation {
        Reservation { budget: self.clone(), network, asked: 0, taken: 0 }
    }

    /// Takes room for a content that is being sent, unless it is being sent to others already. Waits a moment for it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn share(&self, network: ClientNetwork, content: &Bytes) -> Result<Option<Shared>, NoRoom> {
        let (place, bytes) = (content.as_ptr().addr(), content.len());
        if bytes <= UNCOUNTED {
            return Ok(None);
        }
        let take = |taken: &mut Taken| {
            if let Some(sharing) = taken.shared.get_mut(&place) {
                sharing.users += 1;
                return Ok(());
            }
            taken.shares.take(network, bytes)?;
            taken.shared.insert(place, Sharing { network, bytes, users: 1 });
            Ok(())
        };
        self.wait_for(PATIENCE, || self.with(take)).await?;
        Ok(Some(Shared { budget: self.clone(), place, _content: content.clone() }))
    }

    async fn wait_for(&self, patience: Duration, take: impl Fn() -> Result<(), Full>) -> Result<(), NoRoom> {
        let until = Instant::now() + patience;
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            let Err(full) = take() else { return Ok(()) };
            if timeout_at(until, freed).await.is_err() {
                return Err(self.refuse(full));
            }
        }
    }

    fn refuse(&self, full: Full) -> NoRoom {
        let of = self.0.of.name();
        self.0.refused.get_or_create(&RefusedLabel { budget: of, who: full.as_str() }).inc();
        NoRoom { of: of.strip_suffix('s').unwrap_or(of), by: full }
    }

    fn give_back(&self, network: ClientNetwork, bytes: usize) {
        if bytes > 0 {
            self.with(|taken| taken.shares.give_back(network, bytes));
            self.0.freed.notify_waiters();
        }
    }
}

/// What one request or answer has taken of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    network: ClientNetwork,
    asked: usize,
    taken: usize,
}

impl Reservation {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// There is no room; what was taken before is kept.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.try_take(bytes).map_err(|full| self.budget.refuse(full))
    }

    /// Takes so many bytes more, and waits for them, but not for longer than `patience`.
    ///
    /// # Errors
    /// As [`Reservation::take`].
    pub(crate) async fn wait_for(&mut self, bytes: usize, patience: Duration) -> Result<(), NoRoom> {
        if self.try_take(bytes).is_ok() {
            return Ok(());
        }
        let (budget, network, more) = (self.budget.clone(), self.network, self.missing(bytes));
        budget.wait_for(patience, || budget.with(|taken| taken.shares.take(network, more))).await?;
        self.asked += bytes;
        self.taken += more;
        Ok(())
    }

    /// One beside this one, for what more belongs to the same.
    pub(crate) fn more(&self) -> Self {
        Self { budget: self.budget.clone(), network: self.network, asked: UNCOUNTED, taken: 0 }
    }

    /// Takes over what another one of the same has taken.
    pub(crate) fn add(&mut self, mut more: Self) {
        self.asked += more.asked.saturating_sub(UNCOUNTED);
        self.taken += std::mem::take(&mut more.taken);
    }

    /// How many bytes it is for.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// How much more has to be taken for so many bytes more.
    fn missing(&self, bytes: usize) -> usize {
        let needed = self.asked.saturating_add(bytes).saturating_sub(UNCOUNTED);
        needed.checked_next_multiple_of(STEP).unwrap_or(usize::MAX).saturating_sub(self.taken)
    }

    /// Takes so many bytes more, if there is room; a refusal is not counted.
    pub(crate) fn try_take(&mut self, bytes: usize) -> Result<(), Full> {
        let more = self.missing(bytes);
        if more > 0 {
            self.budget.with(|taken| taken.shares.take(self.network, more))?;
        }
        self.asked += bytes;
        self.taken += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.network, self.taken);
    }
}

/// A content that is being sent; its room is given back when nobody sends it any more.
#[derive(Debug)]
pub(crate) struct Shared {
    budget: MemoryBudget,
    place: usize,
    /// As long as it is there, nothing else is in its place.
    _content: Bytes,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let gone = self.budget.with(|taken| {
            let sharing = taken.shared.get_mut(&self.place)?;
            sharing.users -= 1;
            if sharing.users > 0 { None } else { taken.shared.remove(&self.place) }
        });
        if let Some(Sharing { network, bytes, .. }) = gone {
            self.budget.give_back(network, bytes);
        }
    }
}

#[cfg(test)]
mod tests;
