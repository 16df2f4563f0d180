//! How often somebody may try to log in: after some failures each further one makes him wait, twice as long each time.
//! Counted by user and by address, within bounds. A user is never shut out of a place where he failed less than
//! strangers did elsewhere. Reads no clock and checks no password.

use std::collections::HashMap;
use std::time::Duration;

use crate::time::Mono;

/// Failures that cost nothing.
const FREE: u32 = 5;
/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// After this long without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// Most addresses and pairs that are remembered; beyond them the oldest is forgotten.
const MOST: usize = 10_000;

/// Who tries: a user from an address, or anybody from an address. Strangers who try one name from many addresses keep
/// nobody else out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Pair(String, String),
    Address(String),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Mono,
}

impl Failures {
    fn until(self, free: u32) -> Mono {
        let Some(beyond) = self.count.checked_sub(free).filter(|beyond| *beyond > 0) else { return self.last };
        let pause = FIRST.saturating_mul(1_u32.checked_shl(beyond - 1).unwrap_or(u32::MAX)).min(LONGEST);
        self.last.after(pause)
    }
}

/// Who failed how often.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<Who, Failures>,
}

impl Throttle {
    /// How long `user` at `address` has to wait before a password is looked at; `None` for not at all.
    #[must_use]
    pub fn wait(&self, user: &str, address: &str, now: Mono) -> Option<Duration> {
        let of = |who: &Who, free: u32| self.failures.get(who).map(|failures| failures.until(free));
        let pair = of(&Who::Pair(user.to_owned(), address.to_owned()), FREE);
        // Many users may come from one address, by way of a proxy.
        let all = of(&Who::Address(address.to_owned()), FREE * 4);
        let until = pair.into_iter().chain(all).max()?;
        Some(until.since(now)).filter(|left| !left.is_zero())
    }

    /// A password was wrong.
    pub fn failed(&mut self, user: &str, address: &str, now: Mono) {
        self.make_room(now);
        for who in [Who::Pair(user.to_owned(), address.to_owned()), Who::Address(address.to_owned())] {
            let failures = self.failures.entry(who).or_insert(Failures { count: 0, last: now });
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// A password was right: this user's failures from there are forgotten, the address's are not.
    pub fn succeeded(&mut self, user: &str, address: &str) {
        self.failures.remove(&Who::Pair(user.to_owned(), address.to_owned()));
    }

    fn make_room(&mut self, now: Mono) {
        if self.failures.len() < MOST {
            return;
        }
        self.failures.retain(|_, failures| now.since(failures.last) < FORGET);
        while self.failures.len() >= MOST {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(who, _)| who.clone());
            match oldest {
                Some(who) => drop(self.failures.remove(&who)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
