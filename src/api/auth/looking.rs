//! Looking at what a caller shows: who that is, found again where it was right a moment ago, and looked up anew where
//! it may have been made on another node. Owns the order of that and who was refused how often; gives nothing out.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use callboard_actors::access_directory::LookNow;
use callboard_protocol::access::directory::Directory;
use callboard_protocol::access::throttle::Throttle;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use ring::{digest, hmac};

use super::identity::{Denial, Identity, Proof};
use super::log_in::{TOKEN_PREFIX, digest_of};
use super::shown::Credentials;
use super::signing::{self, Claims, KeyRing, Untaken};
use super::{Authenticator, OutcomeLabel, Whence};
use crate::api::error::ApiError;

/// How long a password that was right is not looked at again.
const REMEMBER_PASSWORD: Duration = Duration::from_secs(300);
/// Time between two looks for callers who are not known, and how long one may take.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_secs(1);

impl Authenticator {
    /// Who it is, and whether that was looked at anew.
    pub(super) async fn identify(
        &self,
        credentials: Credentials<'_>,
        whence: Whence<'_>,
    ) -> Result<(Arc<Identity>, bool), ApiError> {
        let mut directory = self.directory()?;
        let digest = self.digest(credentials);
        if let Some(identity) = self.remembered(&digest, &directory) {
            return Ok((identity, false));
        }
        let mut looked = self.look_at(credentials, whence.address, &directory).await;
        if looked.as_ref().is_err_and(|error| error.code() == ErrorCode::Unauthenticated)
            && let Some(newer) = self.newer_than(&directory).await
        {
            looked = self.look_at(credentials, whence.address, &newer).await;
            directory = newer;
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

    pub(super) fn remembered(
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
    pub(super) fn digest(&self, credentials: Credentials<'_>) -> [u8; digest::SHA256_OUTPUT_LEN] {
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

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of `directory`, unsealed once.
    pub(super) fn key_ring(&self, directory: &Arc<Directory>) -> Arc<KeyRing> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.0.as_ptr() != Arc::as_ptr(directory) {
            *ring = (Arc::downgrade(directory), Arc::new(KeyRing::of(&directory.keys, &self.secrets)));
        }
        Arc::clone(&ring.1)
    }
}
