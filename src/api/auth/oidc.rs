//! Single sign-on by OpenID Connect: from the beginning of a log-in at the provider to who somebody is. Owns what is
//! kept between both, sealed and with the caller, so that any node can end what another one began; and how many speak
//! with the provider at a time. Makes nobody a user, and lets nobody in.
//!
//! Reading order: this file (both flows) · `provider` (what it is asked) · `id_token` (what it signs). What is believed
//! and which roles groups give is `callboard_protocol::access::sign_on`'s.

mod id_token;
mod provider;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use callboard_actors::clock::SharedClock;
use callboard_protocol::access::directory::External;
use callboard_protocol::access::sign_on::{Expected, IdToken, RoleMap};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use ring::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use self::provider::{Failure, Known, Provider, Tokens};
use super::setup::read_private;
use super::signing::{self, Secrets};
use crate::api::error::ApiError;
use crate::settings::OidcOptions;

/// How many speak with the provider together.
const AT_ONCE: usize = 8;
/// How many wait for that; further ones are refused at once.
const WAITING: usize = 64;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a log-in in a browser may take, in milliseconds.
const BROWSER: i64 = 600_000;
/// Bytes of what nobody may guess.
const RANDOM: usize = 32;
/// Longest text that is opened, in bytes.
const MAX_KEPT: usize = 8 * 1_024;
/// What sealed texts are for: one is never taken for the other.
const FOR_BROWSER: &str = "oidc browser";
const FOR_DEVICE: &str = "oidc device";
/// What the provider says when nobody has answered in time (RFC 8628, 3.5).
const EXPIRED: &str = "expired_token";
/// The grant of RFC 8628.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Somebody as the provider knows him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// His name there.
    pub(crate) name: String,
    /// Who he is, and what his groups give.
    pub(crate) external: External,
}

/// A log-in that has begun in a browser.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the browser goes.
    pub(crate) location: String,
    /// What it keeps until it comes back.
    pub(crate) kept: String,
}

/// What a browser brings back from the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returned<'a> {
    pub(crate) state: &'a str,
    pub(crate) code: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    /// Who sends it, where it says so (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
}

/// A log-in that has begun on another device.
#[derive(Debug)]
pub(crate) struct Device {
    /// What its caller shows to end it.
    pub(crate) kept: String,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: Option<String>,
    /// How often it may be asked about, in seconds.
    pub(crate) interval: u64,
    /// How long it may take, in seconds.
    pub(crate) expires_in: u64,
}

/// What is kept while a browser is at the provider.
#[derive(Serialize, Deserialize)]
struct InBrowser {
    state: String,
    nonce: String,
    verifier: String,
    redirect: String,
    back: String,
    until: i64,
}

/// What is kept while somebody is at the provider with another device.
#[derive(Serialize, Deserialize)]
struct OnDevice {
    code: String,
    until: i64,
}

/// What the provider says to a beginning on another device (RFC 8628, 3.2).
#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Oidc {
    options: OidcOptions,
    roles: RoleMap,
    provider: Provider,
    secrets: Secrets,
    clock: SharedClock,
    at_once: Semaphore,
    waiting: Semaphore,
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        match failure {
            Failure::Away(_) => Self::new(ErrorCode::Unavailable, detail),
            Failure::Untrusted(_) => Self::new(ErrorCode::Unauthenticated, detail).with("reason", "untrusted_provider"),
            Failure::Refused(code) => Self::new(kind_of(&code), detail).with("providerError", code),
        }
    }
}

impl Oidc {
    /// What the settings name; `None` when they name no provider.
    ///
    /// # Errors
    /// A file can't be read or used.
    pub(crate) fn open(options: &OidcOptions, secrets: &Secrets, clock: SharedClock) -> anyhow::Result<Option<Self>> {
        if !options.is_on() {
            return Ok(None);
        }
        let secret = if options.client_secret_file.as_os_str().is_empty() {
            None
        } else {
            let secret = String::from_utf8(read_private(&options.client_secret_file)?);
            Some(secret.map_err(|_secret| anyhow::anyhow!("oidc.client_secret_file: the secret is no text"))?)
        };
        Ok(Some(Self {
            options: options.clone(),
            roles: options.role_map(),
            provider: Provider::new(options, secret)?,
            secrets: secrets.for_purpose(b"callboard single sign-on"),
            clock,
            at_once: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING),
        }))
    }

    /// Who the provider is.
    pub(crate) fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Where the provider sends browsers back to, if that does not depend on the browser.
    pub(crate) fn redirect_url(&self) -> Option<&str> {
        Some(self.options.redirect_url.as_str()).filter(|url| !url.is_empty())
    }

    /// Begins a log-in in a browser, which comes back to `redirect` and then goes to `back`.
    ///
    /// # Errors
    /// The provider can't be asked; too many are.
    pub(crate) async fn begin(&self, redirect: String, back: &str) -> Result<Begun, ApiError> {
        let known = match self.provider.recalled() {
            Some(known) => known,
            None => {
                let _turn = self.turn().await?;
                self.provider.known().await?
            }
        };
        let [state, nonce, verifier] = [random()?, random()?, random()?];
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let mut location =
            Url::parse(&known.description.authorization_endpoint).map_err(|_checked| ApiError::internal())?;
        location.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.options.client_id),
            ("redirect_uri", &redirect),
            ("scope", &self.scope(&known)),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let until = self.clock.wall().0.saturating_add(BROWSER);
        let kept = InBrowser { state, nonce, verifier, redirect, back: back.to_owned(), until };
        Ok(Begun { location: location.into(), kept: self.seal(FOR_BROWSER, &kept)? })
    }

    /// Ends a log-in in a browser that kept `kept`: who it is, and where the browser goes.
    ///
    /// # Errors
    /// It was not begun in this browser, or too long ago; the provider refuses, is not believed, or can't be asked.
    pub(crate) async fn end(&self, kept: &str, returned: Returned<'_>) -> Result<(Person, String), ApiError> {
        let elsewhere = || {
            let detail = "this log-in was not begun in this browser a short while ago; begin it again";
            ApiError::parameter("state", detail)
        };
        let kept: InBrowser = self.unseal(FOR_BROWSER, kept).ok_or_else(elsewhere)?;
        let is_same = signing::is_same(kept.state.as_bytes(), returned.state.as_bytes());
        if !is_same || self.clock.wall().0 >= kept.until {
            return Err(elsewhere());
        }
        if returned.issuer.is_some_and(|issuer| issuer != self.options.issuer) {
            return Err(Failure::Untrusted("another provider sends it".to_owned()).into());
        }
        if let Some(error) = returned.error {
            return Err(Failure::Refused(provider::code(error)).into());
        }
        let code = returned.code.ok_or_else(|| ApiError::parameter("code", "the provider gave no code"))?;
        let _turn = self.turn().await?;
        let known = self.provider.known().await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &kept.redirect),
            ("code_verifier", &kept.verifier),
        ];
        let tokens = self.provider.tokens(&known, &form).await.inspect_err(log)?;
        let person = self.person(&known, tokens, Some(&kept.nonce)).await;
        Ok((person.inspect_err(log)?, kept.back))
    }

    /// Begins a log-in on another device.
    ///
    /// # Errors
    /// The provider refuses, or can't be asked; too many are.
    pub(crate) async fn begin_device(&self) -> Result<Device, ApiError> {
        let _turn = self.turn().await?;
        let known = self.provider.known().await?;
        let answer: DeviceAnswer = self.provider.device(&known, &self.scope(&known)).await.inspect_err(log)?;
        let lifetime = i64::try_from(answer.expires_in).unwrap_or(i64::MAX).saturating_mul(1_000);
        let until = self.clock.wall().0.saturating_add(lifetime);
        Ok(Device {
            kept: self.seal(FOR_DEVICE, &OnDevice { code: answer.device_code, until })?,
            user_code: answer.user_code,
            verification_uri: answer.verification_uri,
            verification_uri_complete: answer.verification_uri_complete,
            interval: answer.interval.unwrap_or(5),
            expires_in: answer.expires_in,
        })
    }

    /// Ends a log-in on another device, once somebody has answered there.
    ///
    /// # Errors
    /// Nobody has answered yet; as [`end`](Self::end).
    pub(crate) async fn end_device(&self, kept: &str) -> Result<Person, ApiError> {
        let unknown = || ApiError::parameter("deviceCode", "this was not given out here");
        let kept: OnDevice = self.unseal(FOR_DEVICE, kept).ok_or_else(unknown)?;
        if self.clock.wall().0 >= kept.until {
            return Err(Failure::Refused(EXPIRED.to_owned()).into());
        }
        let _turn = self.turn().await?;
        let known = self.provider.known().await?;
        let form = [("grant_type", DEVICE_GRANT), ("device_code", &kept.code), ("client_id", &self.options.client_id)];
        let tokens = self.provider.tokens(&known, &form).await.inspect_err(log)?;
        Ok(self.person(&known, tokens, None).await.inspect_err(log)?)
    }

    /// Where somebody logs out at the provider, if it has such a place and is known at present.
    pub(crate) fn end_session(&self) -> Option<String> {
        let known = self.provider.recalled()?;
        let mut address = Url::parse(known.description.end_session_endpoint.as_deref()?).ok()?;
        address.query_pairs_mut().append_pair("client_id", &self.options.client_id);
        Some(address.into())
    }

    /// Who the tokens are of.
    async fn person(&self, known: &Known, tokens: Tokens, nonce: Option<&str>) -> Result<Person, Failure> {
        let mut claims = self.provider.verified(known, &tokens.id_token).await?;
        let malformed = |_error| Failure::Untrusted("its token does not state what it has to".to_owned());
        let stated: IdToken = serde_json::from_value(Value::Object(claims.clone())).map_err(malformed)?;
        let expected = Expected { issuer: &self.options.issuer, client: &self.options.client_id, nonce };
        let now: WallMillis = self.clock.wall();
        stated.check(&expected, now).map_err(|untrusted| Failure::Untrusted(untrusted.to_string()))?;
        let OidcOptions { user_claim, groups_claim, .. } = &self.options;
        let is_complete = claims.contains_key(groups_claim) && claims.contains_key(user_claim);
        if let (false, Some(access_token)) = (is_complete, &tokens.access_token)
            && let Some(more) = self.provider.user_info(known, access_token).await?
        {
            if more.get("sub").and_then(Value::as_str) != Some(&stated.subject) {
                return Err(Failure::Untrusted("it tells of somebody else".to_owned()));
            }
            // What was signed counts.
            for (claim, value) in more {
                claims.entry(claim).or_insert(value);
            }
        }
        let named = claims.get(user_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = named.unwrap_or(&stated.subject).to_owned();
        let roles = self.roles.of(groups_of(&claims, groups_claim));
        Ok(Person { name, external: External { issuer: stated.issuer, subject: stated.subject, roles } })
    }

    /// Of what is asked for, what the provider knows of, if it says so.
    fn scope(&self, known: &Known) -> String {
        let supported = known.description.scopes_supported.as_ref();
        let is_known = |scope: &&String| {
            *scope == "openid" || supported.is_none_or(|supported| supported.iter().any(|known| known == *scope))
        };
        self.options.scopes.iter().filter(is_known).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Waits for the turn to speak with the provider, for as long as a caller may be kept waiting.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let busy = || ApiError::new(ErrorCode::Overloaded, "too many log in by the provider; come again");
        let _waiting = self.waiting.try_acquire().map_err(|_full| busy())?;
        let turn = tokio::time::timeout(PATIENCE, self.at_once.acquire()).await;
        turn.map_err(|_late| busy())?.map_err(|_closed| busy())
    }

    fn seal<T: Serialize>(&self, purpose: &str, value: &T) -> Result<String, ApiError> {
        let text = serde_json::to_vec(value).map_err(|_plain| ApiError::internal())?;
        self.secrets.seal(purpose, &text).ok_or_else(ApiError::internal)
    }

    fn unseal<T: DeserializeOwned>(&self, purpose: &str, sealed: &str) -> Option<T> {
        let text = Some(sealed)
            .filter(|sealed| sealed.len() <= MAX_KEPT)
            .and_then(|sealed| self.secrets.open(purpose, sealed))?;
        serde_json::from_slice(&text).ok()
    }
}

/// What a code of OAuth comes to here. What nobody who logs in can help makes log-ins unavailable.
fn kind_of(code: &str) -> ErrorCode {
    let same = [ErrorCode::AuthorizationPending, ErrorCode::SlowDown].into_iter().find(|kind| kind.as_str() == code);
    match code {
        EXPIRED => ErrorCode::ExpiredDeviceCode,
        "access_denied" => ErrorCode::Forbidden,
        "invalid_grant" => ErrorCode::Unauthenticated,
        _ => same.unwrap_or(ErrorCode::Unavailable),
    }
}

/// Tells whoever runs the node what the provider does wrong. Only what came of asking the provider is told, which
/// strangers can't have as often as they like.
fn log(failure: &Failure) {
    match failure {
        Failure::Refused(code) if kind_of(code) != ErrorCode::Unavailable => {}
        failure => tracing::warn!(error = %failure, "a log-in by the provider of single sign-on failed"),
    }
}

/// A list of names, or one name.
fn groups_of<'a>(claims: &'a Map<String, Value>, claim: &str) -> Vec<&'a str> {
    match claims.get(claim) {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(group)) => vec![group],
        _ => Vec::new(),
    }
}

fn random() -> Result<String, ApiError> {
    let bytes = signing::random(RANDOM).map_err(|_unspecified| ApiError::internal())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests;
