//! Passwords: hashed with argon2id, away from the threads that serve, few at a time. Owns how many wait for that; keeps
//! none.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};
use callboard_protocol::access::password::MAX_PASSWORD;
use callboard_protocol::error_code::ErrorCode;
use tokio::sync::Semaphore;

use super::signing;
use crate::api::error::ApiError;

/// Memory of one, in KiB; OWASP's choice, with [`PASSES`] passes and one lane.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// How many are looked at together.
const AT_ONCE: usize = 2;
/// How many wait for that; further ones are refused at once.
const WAITING: usize = 64;
/// Bytes of salt.
const SALT: usize = 16;

/// The one place that hashes.
#[derive(Debug)]
pub(super) struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What the password of somebody who is not there is compared with.
    nobody: tokio::sync::OnceCell<String>,
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&signing::random(SALT).ok()?).ok()?;
    Some(argon2().hash_password(password.as_bytes(), &salt).ok()?.to_string())
}

impl Passwords {
    pub(super) fn new() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { at_once: semaphore(AT_ONCE), waiting: semaphore(WAITING), nobody: tokio::sync::OnceCell::new() }
    }

    /// The hash of a password, with its salt and its cost.
    pub(super) async fn hash(&self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.apart(move || hash(&password)).await?.ok_or_else(ApiError::internal)
    }

    /// Whether `password` is the one of `kept`. Takes as long where nothing is kept.
    pub(super) async fn is_right(&self, password: &str, kept: Option<&str>) -> Result<bool, ApiError> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let nobody = self.nobody.get_or_try_init(|| self.hash("nobody's password")).await?;
        let (kept, is_there) = (kept.unwrap_or(nobody).to_owned(), kept.is_some());
        let password = password.to_owned();
        let is_same = self.apart(move || {
            let kept = PasswordHash::new(&kept).ok()?;
            argon2().verify_password(password.as_bytes(), &kept).ok()
        });
        Ok(is_same.await?.is_some() && is_there)
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let busy = || ApiError::new(ErrorCode::Overloaded, "too many passwords are looked at; come again");
        let _waiting = self.waiting.try_acquire().map_err(|_full| busy())?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_closed| busy())?;
        let work = tokio::task::spawn_blocking(move || {
            // Also when nobody waits for it any longer.
            let _turn = turn;
            work()
        });
        work.await.map_err(|_panicked| ApiError::internal())
    }
}
