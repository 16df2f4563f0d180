//! How a caller becomes known: by a password, by a provider of single sign-on, by what a log-in gave him, or by a
//! token. Owns what was found right a moment ago, so that it costs little to ask again, and who was refused how often.
//! What somebody may do is decided in `callboard_protocol::access`; users and roles are read by the `access_directory`
//! actor.
//!
//! Reading order: `shown` (what a caller shows) · this file (what doors ask) · `identity` (somebody who is known) ·
//! `looking` (who shows this) · `log_in` (what is given out) · `passwords` (hashing, few at a time) · `signing` (what a
//! log-in gives) · `setup` (the first administrator and the first key) · `oidc` (single sign-on) · `content_keys` (what
//! seals secrets) · `whence` (what is written down of callers).

mod content_keys;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod log_in;
mod looking;
mod oidc;
mod passwords;
mod setup;
mod shown;
mod signing;
mod whence;

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use actix::Recipient;
use callboard_actors::access_directory::{Known, LookNow};
use callboard_actors::audit::Trail;
use callboard_actors::clock::SharedClock;
use callboard_protocol::access::directory::Directory;
use callboard_protocol::access::throttle::Throttle;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quick_cache::sync::Cache;
use ring::rand::SystemRandom;
use ring::{digest, hmac};
use tokio::sync::watch;

pub(crate) use self::content_keys::ContentKeys;
pub(crate) use self::identity::Identity;
use self::identity::Proof;
#[cfg(feature = "fuzzing")]
use self::log_in::digest_of;
pub(crate) use self::log_in::{LogIn, new_token};
pub(crate) use self::oidc::{Device, Oidc, Person, Returned};
use self::passwords::Passwords;
pub(crate) use self::setup::{Secrets, add_key, prepare};
pub(crate) use self::shown::{Credentials, Shown};
use self::signing::KeyRing;
pub(crate) use self::whence::Whence;
use super::access::Principal;
use super::error::ApiError;

/// Credentials that were found right and are remembered.
const REMEMBERED: usize = 10_000;
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Makes callers known.
#[derive(Debug)]
pub(crate) struct Authenticator {
    is_on: bool,
    lifetime: Duration,
    known: watch::Receiver<Known>,
    secrets: Secrets,
    content_keys: Arc<ContentKeys>,
    /// Who looks whether something was changed, and when it was looked last for somebody who was not known.
    directory: Option<Recipient<LookNow>>,
    looked: tokio::sync::Mutex<Option<Instant>>,
    clock: SharedClock,
    /// Where it is told who came and who was refused.
    trail: Trail,
    passwords: Passwords,
    /// By the digest of what was shown: who it was, and until when that is not looked at again.
    found: Cache<[u8; digest::SHA256_OUTPUT_LEN], (Arc<Identity>, WallMillis)>,
    digest_key: hmac::Key,
    throttle: Mutex<Throttle>,
    ring: Mutex<(Weak<Directory>, Arc<KeyRing>)>,
    outcomes: Family<OutcomeLabel, Counter>,
    oidc: Option<Oidc>,
}

impl Authenticator {
    /// One that goes by `known`. While `is_on` is not, everybody may do everything.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn new(
        (is_on, lifetime): (bool, Duration),
        known: watch::Receiver<Known>,
        secrets: Secrets,
        (clock, trail): (SharedClock, Trail),
    ) -> Result<Self, ring::error::Unspecified> {
        Ok(Self {
            is_on,
            lifetime,
            known,
            secrets,
            content_keys: Arc::new(ContentKeys::new(None, clock.clone())),
            directory: None,
            looked: tokio::sync::Mutex::default(),
            clock,
            trail,
            passwords: Passwords::new(),
            found: Cache::new(REMEMBERED),
            digest_key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            throttle: Mutex::default(),
            ring: Mutex::default(),
            outcomes: Family::default(),
            oidc: None,
        })
    }

    /// The same, where contents can be secrets.
    pub(crate) fn with_content_keys(self, content_keys: Arc<ContentKeys>) -> Self {
        Self { content_keys, ..self }
    }

    /// The same, which has `directory` look for those who are not known.
    pub(crate) fn with_directory(self, directory: Recipient<LookNow>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// What seals the contents that are secrets.
    pub(crate) fn content_keys(&self) -> &ContentKeys {
        &self.content_keys
    }

    /// The same, with a provider of single sign-on.
    pub(crate) fn with_provider(self, oidc: Option<Oidc>) -> Self {
        Self { oidc, ..self }
    }

    /// The provider of single sign-on.
    pub(crate) fn oidc(&self) -> Option<&Oidc> {
        self.oidc.as_ref()
    }

    /// Whether callers have to be known.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Who has shown nothing.
    pub(crate) fn nobody(&self) -> Principal {
        if self.is_on { Principal::Anonymous } else { Principal::Unrestricted }
    }

    /// Adds what it counts.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let required = Gauge::<i64>::default();
        required.set(i64::from(self.is_on));
        registry.register("callboard_auth_required", "1 where callers have to be known", required);
        registry.register("callboard_auth_checks", "Credentials that were looked at anew", self.outcomes.clone());
    }

    /// Who shows `credentials`.
    ///
    /// # Errors
    /// [`Denial`] as an error; too many failures; users are not known yet.
    pub(crate) async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        whence: Whence<'_>,
    ) -> Result<Principal, ApiError> {
        if !self.is_on {
            return Ok(Principal::Unrestricted);
        }
        match credentials {
            Credentials::None => Ok(Principal::Anonymous),
            shown => self.identify(shown, whence).await.map(|(identity, _)| Principal::User(identity)),
        }
    }

    /// Who shows `credentials`, if that can be told at once.
    pub(crate) fn recall(&self, credentials: Credentials<'_>) -> Option<Principal> {
        if !self.is_on {
            return Some(Principal::Unrestricted);
        }
        if credentials == Credentials::None {
            return Some(Principal::Anonymous);
        }
        self.remembered(&self.digest(credentials), &self.directory().ok()?).map(Principal::User)
    }

    /// Who showed a certificate for `name`, which the door has verified: the user of this name. `None` for who has
    /// none.
    pub(crate) fn certified(&self, name: &str) -> Option<Principal> {
        if !self.is_on {
            return None;
        }
        let directory = self.directory().ok()?;
        let (rights, expires) = (directory.rights_of(name)?, WallMillis(i64::MAX));
        let directory = Arc::downgrade(&directory);
        let proof = Proof::Certificate;
        Some(Principal::User(Arc::new(Identity { name: name.to_owned(), rights, proof, expires, directory })))
    }

    /// The same caller as of now; `None` when he is not let in any longer.
    pub(crate) fn again(&self, principal: &Principal) -> Option<Principal> {
        let Principal::User(identity) = principal else { return Some(principal.clone()) };
        let directory = self.directory().ok()?;
        let now = self.clock.wall();
        if identity.is_of(&directory) && now < identity.expires {
            return Some(principal.clone());
        }
        identity.renewed(&directory, now).map(|renewed| Principal::User(Arc::new(renewed)))
    }

    /// Comes to an end when what this caller may do has changed, or he is not let in any longer.
    pub(crate) async fn until_changed(&self, principal: &Principal) {
        let Principal::User(identity) = principal else { return std::future::pending().await };
        let mut known = self.known.clone();
        loop {
            known.mark_unchanged();
            match self.again(principal) {
                Some(Principal::User(renewed)) if renewed == *identity => {}
                _ => return,
            }
            let left = u64::try_from(identity.expires.0.saturating_sub(self.clock.wall().0)).unwrap_or_default();
            let expiry = tokio::time::sleep(Duration::from_millis(left));
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                () = expiry => {}
            }
        }
    }

    /// Whether there is anybody who could log in.
    pub(crate) fn has_users(&self) -> bool {
        self.known.borrow().as_ref().is_some_and(|directory| !directory.users.is_empty())
    }

    /// The hash of a password. Takes its time, away from the thread.
    ///
    /// # Errors
    /// Too much of it is asked for at once; the system gives no random bytes.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, ApiError> {
        self.passwords.hash(password).await
    }

    fn directory(&self) -> Result<Arc<Directory>, ApiError> {
        let known = self.known.borrow().clone();
        known.ok_or_else(|| ApiError::new(ErrorCode::Unavailable, "this node has not read its users yet"))
    }

    fn after(&self, time: Duration) -> WallMillis {
        WallMillis(self.clock.wall().0.saturating_add(millis(time)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
impl Authenticator {
    /// One of a node where nobody has to be known.
    pub(crate) fn off() -> Arc<Self> {
        let (_, known) = watch::channel(None);
        let clock = Arc::new(callboard_actors::clock::SystemClock);
        let made =
            Self::new((false, Duration::from_secs(60)), known, Secrets::new(vec![[1; 32]]), (clock, Trail::off()));
        Arc::new(made.expect("the system gives random bytes"))
    }
}

#[cfg(test)]
mod tests;
