//! The provider: its description, its keys, and the few things that a node asks it. Owns the limits of that: how long
//! an answer may take and how much it may be, and how old what is known may get. Follows no redirection, and believes
//! nothing that is not its own; knows no user.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, RequestBuilder, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::id_token::{Flaw, Key, keys_of, verified};
use crate::settings::{OidcOptions, is_private};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// How long the description and the keys are gone by.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long no other keys are looked for.
const SETTLED: Duration = Duration::from_secs(30);
/// How long a provider that failed is not asked again.
const AWAY: Duration = Duration::from_secs(2);

/// Why the provider gave nothing that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It does not answer, or not as a provider does.
    #[error("the provider of single sign-on can't be asked: {0}")]
    Away(String),
    /// It refuses, by this code of OAuth.
    #[error("the provider of single sign-on refuses: {0}")]
    Refused(String),
    /// It answers, and what it says is not believed.
    #[error("what the provider of single sign-on says is not believed: {0}")]
    Untrusted(String),
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        Self::Untrusted(flaw.to_string())
    }
}

/// How it describes itself (OpenID Connect Discovery 1.0; RFC 8628; RP-Initiated Logout 1.0).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Description {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    pub(super) device_authorization_endpoint: Option<String>,
    pub(super) end_session_endpoint: Option<String>,
    pub(super) scopes_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) description: Description,
    keys: Vec<Key>,
}

/// A set of keys.
#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// What a log-in gives there.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: Option<String>,
}

/// What OAuth says to a request that fails.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    client_id: String,
    secret: Option<Secret>,
    http: Client,
    /// What is known, or why nothing is, and since when.
    kept: Mutex<Option<Look>>,
}

/// When it was asked, and what came of it.
type Look = (Instant, Result<Arc<Known>, Failure>);

/// The secret of the client, which is never shown.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("hidden")
    }
}

impl Provider {
    /// The one that the settings name. It is not asked yet.
    ///
    /// # Errors
    /// A file can't be read or used; TLS can't be had.
    pub(super) fn new(options: &OidcOptions, secret: Option<String>) -> anyhow::Result<Self> {
        let builder = Client::builder()
            .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")))
            .use_preconfigured_tls(tls(&options.ca_file)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            // A connection belongs to the thread that opened it.
            .pool_max_idle_per_host(0);
        let is_here = Url::parse(&options.issuer).is_ok_and(|issuer| issuer.scheme() == "http");
        let builder = if is_here { builder.no_proxy() } else { builder };
        Ok(Self {
            issuer: options.issuer.clone(),
            client_id: options.client_id.clone(),
            secret: secret.map(Secret),
            http: builder.build().context("the provider of single sign-on can't be spoken with")?,
            kept: Mutex::default(),
        })
    }

    /// What is known already; `None` when the provider would have to be asked.
    pub(super) fn recalled(&self) -> Option<Arc<Known>> {
        let kept = self.kept.try_lock().ok()?;
        let (at, outcome) = kept.as_ref()?;
        outcome.as_ref().ok().filter(|_| at.elapsed() < FRESH).cloned()
    }

    /// What is known, asked for if it is missing or old.
    pub(super) async fn known(&self) -> Result<Arc<Known>, Failure> {
        self.known_since(FRESH).await
    }

    async fn known_since(&self, oldest: Duration) -> Result<Arc<Known>, Failure> {
        let mut kept = self.kept.lock().await;
        if let Some((at, outcome)) = kept.as_ref() {
            let limit = if outcome.is_ok() { oldest } else { AWAY };
            if at.elapsed() < limit {
                return outcome.clone();
            }
        }
        let outcome = self.look().await.map(Arc::new);
        if let Err(failure) = &outcome {
            tracing::warn!(error = %failure, "nobody can log in by the provider of single sign-on");
        }
        *kept = Some((Instant::now(), outcome.clone()));
        outcome
    }

    async fn look(&self) -> Result<Known, Failure> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let description: Description = self.read(self.http.get(address)).await?;
        if description.issuer != self.issuer {
            let other: String = description.issuer.chars().take(200).collect();
            return Err(Failure::Away(format!("it names itself {other:?}, and oidc.issuer is {:?}", self.issuer)));
        }
        let optional = [
            &description.userinfo_endpoint,
            &description.device_authorization_endpoint,
            &description.end_session_endpoint,
        ];
        let needed = [&description.authorization_endpoint, &description.token_endpoint, &description.jwks_uri];
        let is_fit = |address: &String| Url::parse(address).is_ok_and(|url| is_private(&url));
        if !needed.into_iter().chain(optional.into_iter().flatten()).all(is_fit) {
            return Err(Failure::Away("its description names an address without TLS".to_owned()));
        }
        let set: KeySet = self.read(self.http.get(&description.jwks_uri)).await?;
        Ok(Known { description, keys: keys_of(set.keys) })
    }

    /// What an ID token says, if a key of the provider has signed it: also one that it began to use a while ago.
    pub(super) async fn verified(&self, known: &Known, token: &str) -> Result<Map<String, Value>, Failure> {
        match verified(token, &known.keys) {
            Err(Flaw::UnknownKey) => Ok(verified(token, &self.known_since(SETTLED).await?.keys)?),
            looked => Ok(looked?),
        }
    }

    /// Exchanges what `form` shows for tokens.
    pub(super) async fn tokens(&self, known: &Known, form: &[(&str, &str)]) -> Result<Tokens, Failure> {
        self.read(self.as_client(known, &known.description.token_endpoint, form)).await
    }

    /// Begins a log-in on another device.
    pub(super) async fn device<T: DeserializeOwned>(&self, known: &Known, scope: &str) -> Result<T, Failure> {
        let none = || Failure::Refused("unsupported_grant_type".to_owned());
        let address = known.description.device_authorization_endpoint.as_ref().ok_or_else(none)?;
        // A client with a secret need not be named again, but some providers look for it.
        self.read(self.as_client(known, address, &[("scope", scope), ("client_id", &self.client_id)])).await
    }

    /// What else it says of whom an access token is of; `None` when it says nothing of anybody.
    pub(super) async fn user_info(
        &self,
        known: &Known,
        access_token: &str,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        let Some(address) = &known.description.userinfo_endpoint else { return Ok(None) };
        self.read(self.http.get(address).bearer_auth(access_token)).await.map(Some)
    }

    /// A request by which the provider knows the client: as it can, by what is sent beside the form if it takes that.
    fn as_client(&self, known: &Known, address: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let request = self.http.post(address);
        let methods = known.description.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let takes = |method: &str| methods.iter().any(|taken| taken == method);
        let mut form: Vec<(&str, &str)> = form.to_vec();
        let named = form.iter().any(|(name, _)| *name == "client_id");
        match &self.secret {
            Some(Secret(secret)) if methods.is_empty() || takes("client_secret_basic") => {
                // RFC 6749, 2.3.1: both are written as in a form first.
                let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                return request.basic_auth(encoded(&self.client_id), Some(encoded(secret))).form(&form);
            }
            Some(Secret(secret)) => form.push(("client_secret", secret)),
            None => {}
        }
        if !named {
            form.push(("client_id", &self.client_id));
        }
        request.form(&form)
    }

    /// Sends a request, and reads its answer within the limits.
    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let away = |error: reqwest::Error| Failure::Away(reason(&error));
        let mut answer = request.header("accept", "application/json").send().await.map_err(away)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(away)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(Failure::Away("it answers too much".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|_other| Failure::Away("its answer makes no sense".to_owned()));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if status.is_client_error() => Err(Failure::Refused(code(&refusal.error))),
            _ => Err(Failure::Away(format!("it answers {}", status.as_u16()))),
        }
    }
}

/// A code of OAuth as it may be told and logged, whoever wrote it.
pub(super) fn code(text: &str) -> String {
    let is_code = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_code && !text.is_empty() { text.to_owned() } else { "unknown_error".to_owned() }
}

/// Why there is no answer: the last cause says most, and no address is told.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn tls(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if ca_file.as_os_str().is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        let cannot = || format!("oidc.ca_file: cannot use {}", ca_file.display());
        for authority in CertificateDer::pem_file_iter(ca_file).with_context(cannot)? {
            roots.add(authority.with_context(cannot)?).with_context(cannot)?;
        }
        anyhow::ensure!(!roots.is_empty(), "{}: no certificate is there as PEM", cannot());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
