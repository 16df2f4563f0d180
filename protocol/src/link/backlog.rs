//! What waits for a peer that has no link. Small, since all but the newest is worthless after a few seconds: publishers
//! repeat what they need an answer to, and members look in the database. Owns the bounds; never sends.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Mono;

/// Most that waits, in messages and in bytes.
const MAX_MESSAGES: usize = 64;
const MAX_BYTES: usize = 1024 * 1024;
/// What waited longer is not worth sending any more.
const WORTHLESS: Duration = Duration::from_secs(2);

/// Messages that wait for a link, oldest first.
#[derive(Debug, Clone)]
pub struct Backlog<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Waiting<T> {
    since: Mono,
    bytes: usize,
    message: T,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Backlog<T> {
    /// Keeps a message of about so many bytes, in place of older ones if there is no room. Returns how many were
    /// dropped, this one among them when it alone is too large.
    pub fn push(&mut self, now: Mono, bytes: usize, message: T) -> u64 {
        if bytes > MAX_BYTES {
            return 1;
        }
        self.waiting.push_back(Waiting { since: now, bytes, message });
        self.bytes += bytes;
        let mut dropped = 0;
        while self.waiting.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.bytes -= oldest.bytes;
            dropped += 1;
        }
        dropped
    }

    /// Ends the waiting: what is still worth sending, oldest first, and how many were not.
    pub fn take(&mut self, now: Mono) -> (Vec<T>, u64) {
        let before = self.waiting.len();
        let worth = |waiting: &Waiting<T>| now.since(waiting.since) <= WORTHLESS;
        let kept: Vec<T> = self.waiting.drain(..).filter(worth).map(|waiting| waiting.message).collect();
        self.bytes = 0;
        let dropped = (before - kept.len()) as u64;
        (kept, dropped)
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
