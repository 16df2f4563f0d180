//! What is given out to be shown: a signed log-in to who has a password or comes from the provider, and tokens. Owns
//! the form of a token; who somebody is is found out by `looking` and `oidc`.

use std::time::Duration;

use callboard_protocol::access::audit::What;
use callboard_protocol::access::directory::External;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::hex;
use ring::digest;

use super::identity::Denial;
use super::shown::Credentials;
use super::signing::{self, Claims};
use super::{Authenticator, OutcomeLabel, Whence};
use crate::api::error::ApiError;

/// What the secret of a token begins with.
pub(super) const TOKEN_PREFIX: &str = "cbt_";

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

impl Authenticator {
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
}

/// The digest of a token's secret, as it is kept. The secret is random, so nothing slow is needed.
pub(crate) fn digest_of(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}

/// A new token: its id, what is kept of its secret, and what its holder shows.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn new_token() -> Result<(String, String, String), ApiError> {
    let random = |bytes: usize| signing::random(bytes).map_err(|_unspecified| ApiError::internal());
    let (id, secret) = (hex::encode(&random(8)?), hex::encode(&random(32)?));
    let shown = format!("{TOKEN_PREFIX}{id}_{secret}");
    Ok((id, digest_of(&secret), shown))
}
