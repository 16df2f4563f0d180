//! How a caller becomes known: by a password, by a provider of single sign-on, by what a log-in gave him, or by a
//! token. Owns what was found right a moment ago, so that it costs little to ask again, and who was refused how often.
//! What somebody may do is decided in `callboard_protocol::access`; users and roles are read by the `access_directory`
//! actor.
//!
//! Reading order: `shown` (what a caller shows) · this file · `passwords` (hashing, few at a time) · `signing` (what a
//! log-in gives) · `setup` (the first administrator and the first key) · `oidc` (single sign-on) · `content_keys` (what
//! seals secrets) · `whence` (what is written down of callers).

mod content_keys;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod oidc;
mod passwords;
mod setup;
mod shown;
mod signing;
mod whence;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix::Recipient;
use callboard_actors::access_directory::{Known, LookNow};
use callboard_actors::audit::Trail;
use callboard_actors::clock::SharedClock;
use callboard_protocol::access::audit::What;
use callboard_protocol::access::directory::{Directory, External};
use callboard_protocol::access::grant::Rights;
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
pub(crate) use self::oidc::{Device, Oidc, Person, Returned};
use self::passwords::Passwords;
pub(crate) use self::setup::{Secrets, add_key, prepare};
pub(crate) use self::shown::{Credentials, Shown};
use self::signing::{Claims, KeyRing, Untaken};
pub(crate) use self::whence::Whence;
use super::access::Principal;
use super::error::ApiError;

/// Credentials that were found right and are remembered.
const REMEMBERED: usize = 10_000;
/// How long a password that was right is not looked at again.
const REMEMBER_PASSWORD: Duration = Duration::from_secs(300);
/// Time between two looks for callers who are not known, and how long one may take.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_secs(1);
/// What the secret of a token begins with.
const TOKEN_PREFIX: &str = "cbt_";

/// By what somebody showed who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    /// By something that ends with this generation of the user.
    Generation(u64),
    /// By the token of this id.
    Token(String),
    /// By a certificate that the door has verified.
    Certificate,
}

/// Somebody who showed who he is, as of one reading of users and roles.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// His name.
    pub(crate) name: String,
    /// What he may do.
    pub(crate) rights: Rights,
    proof: Proof,
    /// Until when he need not show it again.
    expires: WallMillis,
    /// The reading that it comes from.
    directory: Weak<Directory>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.rights == other.rights && self.proof == other.proof
    }
}

impl Eq for Identity {}

impl Identity {
    /// The same as of `directory`; `None` when he is not let in any longer.
    fn renewed(&self, directory: &Arc<Directory>, now: WallMillis) -> Option<Self> {
        let rights = match &self.proof {
            _ if now >= self.expires => return None,
            Proof::Generation(generation) => {
                let user = directory.users.get(&self.name)?;
                (user.generation == *generation).then(|| directory.rights_of(&self.name))??
            }
            Proof::Token(id) => directory.rights_of_token(id, now)?,
            Proof::Certificate => directory.rights_of(&self.name)?,
        };
        Some(Self { rights, directory: Arc::downgrade(directory), ..self.clone() })
    }

    fn is_of(&self, directory: &Arc<Directory>) -> bool {
        self.directory.as_ptr() == Arc::as_ptr(directory)
    }
}

/// Why somebody is not let in. Each is told the same way, whether there is such a user or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The name or the password is wrong.
    Password,
    /// The token is none.
    Invalid,
    /// The token was not signed here.
    Forged,
    /// The token was one.
    Expired,
}

impl Denial {
    fn label(self) -> &'static str {
        match self {
            Self::Password => "wrong_password",
            Self::Invalid => "invalid_token",
            Self::Forged => "forged_token",
            Self::Expired => "expired_token",
        }
    }
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        let detail = match denial {
            Denial::Password => "the user name or the password is wrong",
            Denial::Invalid => "the token is not valid",
            Denial::Forged => "the token was not signed by this cluster",
            Denial::Expired => "the token has expired; log in again",
        };
        Self::unauthenticated(detail).with("reason", denial.label())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What a log-in gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogIn {
    /// To be shown from now on.
    pub(crate) token: String,
    /// For how long.
    pub(crate) lifetime: Duration,
    /// Whether the user may do everything.
    pub(crate) is_administrator: bool,
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

    /// Checks a password, and gives what is shown from then on. Also where nobody has to be known: who logs in then has
    /// to be right, too, once there are users.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub(crate) async fn log_in(&self, user: &str, password: &str, whence: Whence<'_>) -> Result<LogIn, ApiError> {
        let (identity, is_told) = self.identify(Credentials::Password(user, password), whence).await?;
        if !is_told {
            self.tell(What::LogIn, whence.who(Some(identity.name.clone())), None);
        }
        self.give(user, identity.rights.are_all())
    }

    /// Gives what is shown from then on to somebody whom the provider knows, and says who he is here.
    ///
    /// # Errors
    /// He is no user, or not let in; users are not known yet.
    pub(crate) fn log_in_external(&self, external: &External, whence: Whence<'_>) -> Result<(String, LogIn), ApiError> {
        let directory = self.directory()?;
        let (name, _) = directory.signed_on(&external.issuer, &external.subject).ok_or(Denial::Expired)?;
        let rights = directory.rights_of(name).ok_or(Denial::Expired)?;
        let given = self.give(name, rights.are_all())?;
        self.tell(What::LogIn, whence.who(Some(name.to_owned())), None);
        Ok((name.to_owned(), given))
    }

    /// Counts what became of a log-in by the provider, and writes down that it was refused.
    pub(crate) fn count_sign_on(&self, refused: Option<ErrorCode>, whence: Whence<'_>) {
        let outcome = if refused.is_none() { "signed_on" } else { "not_signed_on" };
        self.outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
        if refused.is_some() {
            self.tell(What::LogInRefused, whence.who(None), refused);
        }
    }

    fn give(&self, user: &str, is_administrator: bool) -> Result<LogIn, ApiError> {
        let directory = self.directory()?;
        let generation = directory.users.get(user).map(|user| user.generation).ok_or(Denial::Password)?;
        let expires = self.after(self.lifetime);
        let claims = Claims { user: user.to_owned(), generation, expires };
        let token = self
            .key_ring(&directory)
            .sign(&claims, self.clock.wall())
            .ok_or_else(|| ApiError::new(ErrorCode::Unavailable, "there is no key to sign with; the log says why"))?;
        Ok(LogIn { token, lifetime: self.lifetime, is_administrator })
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

    /// Who it is, and whether that was looked at anew.
    async fn identify(
        &self,
        credentials: Credentials<'_>,
        whence: Whence<'_>,
    ) -> Result<(Arc<Identity>, bool), ApiError> {
        let directory = self.directory()?;
        let digest = self.digest(credentials);
        if let Some(identity) = self.remembered(&digest, &directory) {
            return Ok((identity, false));
        }
        let mut looked = self.look_at(credentials, whence.address, &directory).await;
        if looked.as_ref().is_err_and(|error| error.code() == ErrorCode::Unauthenticated)
            && let Some(newer) = self.newer_than(&directory).await
        {
            looked = self.look_at(credentials, whence.address, &newer).await;
        }
        let outcome = match &looked {
            Ok(_) => "accepted",
            Err(error) if error.code() == ErrorCode::Unauthenticated => "denied",
            Err(_) => "not_looked_at",
        };
        self.outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
        if self.trail.is_on() {
            self.tell_of(credentials, whence, (&looked, &directory));
        }
        let identity = looked.map(Arc::new)?;
        let until = match credentials {
            Credentials::Password(..) => self.after(REMEMBER_PASSWORD),
            Credentials::None | Credentials::Token(_) => identity.expires,
        };
        self.found.insert(digest, (Arc::clone(&identity), until));
        Ok((identity, true))
    }

    async fn look_at(
        &self,
        credentials: Credentials<'_>,
        address: &str,
        directory: &Arc<Directory>,
    ) -> Result<Identity, ApiError> {
        match credentials {
            Credentials::None => Err(Denial::Password.into()),
            Credentials::Token(token) => self.look_at_token(token, directory).map_err(ApiError::from),
            Credentials::Password(user, password) => self.look_at_password((user, password), address, directory).await,
        }
    }

    /// What is known when it was looked anew, if that is something else than `directory`: what somebody shows may have
    /// been made on another node a moment ago. However many are not known, it is looked a few times a second.
    async fn newer_than(&self, directory: &Arc<Directory>) -> Option<Arc<Directory>> {
        let asked = self.directory.as_ref()?;
        let came = Instant::now();
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|last| last < came) {
            if let Some(last) = *looked {
                tokio::time::sleep_until((last + BETWEEN_LOOKS).into()).await;
            }
            *looked = Some(Instant::now());
            // One that can't be had leaves what is known.
            drop(tokio::time::timeout(LOOK, asked.send(LookNow)).await);
        }
        drop(looked);
        self.directory().ok().filter(|known| !Arc::ptr_eq(known, directory))
    }

    fn remembered(
        &self,
        digest: &[u8; digest::SHA256_OUTPUT_LEN],
        directory: &Arc<Directory>,
    ) -> Option<Arc<Identity>> {
        let (identity, until) = self.found.get(digest)?;
        let now = self.clock.wall();
        if identity.is_of(directory) && now < until {
            return Some(identity);
        }
        let renewed = identity.renewed(directory, now).filter(|_| now < until).map(Arc::new);
        match &renewed {
            Some(renewed) => self.found.insert(*digest, (Arc::clone(renewed), until)),
            None => drop(self.found.remove(digest)),
        }
        renewed
    }

    /// What was shown, as nobody else can make it: a table of passwords or of their plain hashes is not kept.
    fn digest(&self, credentials: Credentials<'_>) -> [u8; digest::SHA256_OUTPUT_LEN] {
        let mut context = hmac::Context::with_key(&self.digest_key);
        match credentials {
            Credentials::None => {}
            Credentials::Token(token) => {
                context.update(b"t");
                context.update(token.as_bytes());
            }
            Credentials::Password(user, password) => {
                context.update(b"p");
                context.update(&(user.len() as u64).to_le_bytes());
                context.update(user.as_bytes());
                context.update(password.as_bytes());
            }
        }
        let mut digest = [0; digest::SHA256_OUTPUT_LEN];
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn look_at_token(&self, token: &str, directory: &Arc<Directory>) -> Result<Identity, Denial> {
        let now = self.clock.wall();
        if let Some(rest) = token.strip_prefix(TOKEN_PREFIX) {
            let (id, secret) = rest.split_once('_').ok_or(Denial::Invalid)?;
            let kept = directory.tokens.get(id).ok_or(Denial::Invalid)?;
            if !signing::is_same(kept.digest.as_bytes(), digest_of(secret).as_bytes()) {
                return Err(Denial::Invalid);
            }
            let expires = kept.expires.unwrap_or(WallMillis(i64::MAX));
            let rights = directory.rights_of_token(id, now).ok_or(Denial::Expired)?;
            let proof = Proof::Token(id.to_owned());
            return Ok(Identity {
                name: kept.user.clone(),
                rights,
                proof,
                expires,
                directory: Arc::downgrade(directory),
            });
        }
        let claims = self.key_ring(directory).check(token, now).map_err(|untaken| match untaken {
            Untaken::Malformed => Denial::Invalid,
            Untaken::Forged => Denial::Forged,
            Untaken::Expired => Denial::Expired,
        })?;
        let Claims { user, generation, expires } = claims;
        let is_present = directory.users.get(&user).is_some_and(|present| present.generation == generation);
        let rights = directory.rights_of(&user).filter(|_| is_present).ok_or(Denial::Expired)?;
        let proof = Proof::Generation(generation);
        Ok(Identity { name: user, rights, proof, expires, directory: Arc::downgrade(directory) })
    }

    async fn look_at_password(
        &self,
        (user, password): (&str, &str),
        address: &str,
        directory: &Arc<Directory>,
    ) -> Result<Identity, ApiError> {
        let now = self.clock.mono();
        if let Some(wait) = self.throttle().wait(user, address, now) {
            return Err(ApiError::too_many_attempts(wait));
        }
        let present = directory.users.get(user);
        let kept = present.and_then(|present| present.password_hash.as_deref());
        // Who is not there takes as long as who is.
        let is_right = self.passwords.is_right(password, kept).await?;
        let rights = directory.rights_of(user).filter(|_| is_right);
        let (Some(rights), Some(present)) = (rights, present) else {
            self.throttle().failed(user, address, now);
            tracing::info!(client.address = address, "a log-in was refused: wrong name or password");
            return Err(Denial::Password.into());
        };
        self.throttle().succeeded(user, address);
        // What is open goes on until the password or the rights change.
        let (proof, expires) = (Proof::Generation(present.generation), WallMillis(i64::MAX));
        Ok(Identity { name: user.to_owned(), rights, proof, expires, directory: Arc::downgrade(directory) })
    }

    fn after(&self, time: Duration) -> WallMillis {
        WallMillis(self.clock.wall().0.saturating_add(millis(time)))
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of `directory`, unsealed once.
    fn key_ring(&self, directory: &Arc<Directory>) -> Arc<KeyRing> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.0.as_ptr() != Arc::as_ptr(directory) {
            *ring = (Arc::downgrade(directory), Arc::new(KeyRing::of(&directory.keys, &self.secrets)));
        }
        Arc::clone(&ring.1)
    }
}

/// The digest of a token's secret, as it is kept. The secret is random, so nothing slow is needed.
pub(crate) fn digest_of(secret: &str) -> String {
    signing::hex(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}

/// A new token: its id, what is kept of its secret, and what its holder shows.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn new_token() -> Result<(String, String, String), ApiError> {
    let random = |bytes: usize| signing::random(bytes).map_err(|_unspecified| ApiError::internal());
    let (id, secret) = (signing::hex(&random(8)?), signing::hex(&random(32)?));
    let shown = format!("{TOKEN_PREFIX}{id}_{secret}");
    Ok((id, digest_of(&secret), shown))
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
