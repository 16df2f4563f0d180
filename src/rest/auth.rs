//! Logging in, and what somebody may do with what is his own: his log-ins, his password, his tokens. Also the keys that
//! sign log-ins. Says a token's secret once and never again.

use actix_web::http::StatusCode;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_protocol::access::change::Change;
use callboard_protocol::access::directory::{DataKey, Token};
use callboard_protocol::access::grant::{Action, Demand, Grant};
use callboard_protocol::config::check_text;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::json_body;
use super::oidc::{self, LoggedOut};
use super::users::{self, GrantShown, MAX_TEXT, change, directory};
use crate::api::access::Principal;
use crate::api::auth::{self, LogIn};
use crate::api::error::ApiError;
use crate::http::openapi::{Described, schema};
use crate::http::route::{Answer, Call};
use crate::http::{answer, client};

/// Longest life of a token, in days.
const MAX_DAYS: u32 = 3_650;

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// What a log-in gives.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedIn {
    /// For `Authorization: Bearer`.
    token: String,
    /// In seconds.
    expires_in: u64,
    user: String,
    administrator: bool,
}

impl LoggedIn {
    pub(super) fn of(user: String, login: LogIn) -> Self {
        let expires_in = login.lifetime.as_secs();
        Self { token: login.token, expires_in, user, administrator: login.is_administrator }
    }
}

/// Who asks, and what he may do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Oneself {
    /// Null where nobody has to be known.
    user: Option<String>,
    administrator: bool,
    grants: Vec<GrantShown>,
    /// What the token that was shown is limited to; null for no limit.
    limit: Option<Vec<GrantShown>>,
}

/// A new password of oneself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    current: String,
    new: String,
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewToken {
    /// As whom its holder comes; oneself when nobody says.
    user: Option<String>,
    /// What it may be used for, of what the user may; all of it when nobody says.
    grants: Option<Vec<GrantShown>>,
    /// How long it is taken, in days; until it is removed when nobody says.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u32>,
    #[schema(max_length = 256)]
    description: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeToken {
    id: String,
    /// Shown this once.
    token: String,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenShown {
    id: String,
    user: String,
    grants: Option<Vec<GrantShown>>,
    created: String,
    expires: Option<String>,
    description: String,
}

/// Every token that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    items: Vec<TokenShown>,
}

/// A key that signs log-ins, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyShown {
    id: String,
    created: String,
    /// Until when what it signed is taken; null for the one that signs.
    retires: Option<String>,
}

/// Every key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    items: Vec<KeyShown>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeKey {
    id: String,
}

/// `POST` of a name and a password.
pub(super) async fn log_in(mut call: Call) -> Answer {
    call.query(&[])?;
    let Credentials { user, password } = json_body(&mut call).await?;
    let auth = &call.state.shared.auth;
    let address = client::address_or_none(&call.request);
    let login = auth.log_in(&user, &password, call.caller.whence(&address)).await?;
    answer::json(StatusCode::OK, &LoggedIn::of(user, login))
}

/// `POST`: everything that the caller logged in with ends.
pub(super) async fn log_out(call: Call) -> Answer {
    call.query(&[])?;
    let name = user_of(&call)?;
    change(&call, Change::LogOut { name: name.clone() }).await?;
    oidc::log_out(&call, &name)
}

/// `GET` of who asks.
pub(super) async fn oneself(call: Call) -> Answer {
    call.query(&[])?;
    let shown = |grants: &[Grant]| grants.iter().map(GrantShown::of).collect::<Vec<_>>();
    let (grants, limit) = match call.caller.principal() {
        Principal::User(identity) => (shown(&identity.rights.granted), identity.rights.limit.as_deref().map(shown)),
        Principal::Unrestricted | Principal::Anonymous => (shown(&[Grant::of_everything()]), None),
    };
    let administrator = call.caller.may(&Demand::Cluster(Action::Admin));
    answer::json(StatusCode::OK, &Oneself { user: call.caller.principal().operator(), administrator, grants, limit })
}

/// `PUT` of a new password of oneself.
pub(super) async fn set_own_password(mut call: Call) -> Answer {
    call.query(&[])?;
    let name = user_of(&call)?;
    let PasswordChange { current, new } = json_body(&mut call).await?;
    let auth = &call.state.shared.auth;
    // Who found an open session must not be able to take it over.
    let address = client::address_or_none(&call.request);
    auth.log_in(&name, &current, call.caller.whence(&address)).await?;
    users::set_password_of(&call, name, &new).await?;
    users::nothing()
}

/// `GET` of the tokens: of all users for who may administer, else of oneself.
pub(super) async fn tokens(call: Call) -> Answer {
    call.query(&[])?;
    let is_all = call.caller.may(&Demand::Cluster(Action::Admin));
    let own = call.caller.principal().operator();
    let directory = directory(&call.state)?;
    let mine = directory.tokens.iter().filter(|(_, token)| is_all || Some(&token.user) == own.as_ref());
    let items = mine.map(|(id, token)| TokenShown {
        id: id.clone(),
        user: token.user.clone(),
        grants: token.grants.as_ref().map(|grants| grants.iter().map(GrantShown::of).collect()),
        created: answer::rfc3339(token.created),
        expires: token.expires.map(answer::rfc3339),
        description: token.description.clone(),
    });
    answer::json(StatusCode::OK, &Tokens { items: items.collect() })
}

/// `POST` of a new token.
pub(super) async fn make_token(mut call: Call) -> Answer {
    call.query(&[])?;
    let NewToken { user, grants, days, description } = json_body(&mut call).await?;
    let own = call.caller.principal().operator();
    let user = user.or_else(|| own.clone()).ok_or_else(|| ApiError::parameter("user", "name the user"))?;
    // A token can't make one that may more than itself.
    if Some(&user) != own.as_ref() || is_limited(call.caller.principal()) {
        call.caller.require(&Demand::Cluster(Action::Admin))?;
    }
    let description = description.unwrap_or_default();
    check_text("description", &description, MAX_TEXT)?;
    if days.is_some_and(|days| !(1..=MAX_DAYS).contains(&days)) {
        return Err(ApiError::parameter("days", format!("a token lives 1 to {MAX_DAYS} days")));
    }
    let grants =
        grants.map(|grants| grants.into_iter().map(GrantShown::read).collect::<Result<Vec<_>, _>>()).transpose()?;
    let created = SystemClock.wall();
    let expires = days.map(|days| WallMillis(created.0.saturating_add(i64::from(days) * 86_400_000)));
    let (id, digest, shown) = auth::new_token()?;
    let token = Token { user, digest, grants, expires, created, description };
    change(&call, Change::AddToken { id: id.clone(), token }).await?;
    answer::json(StatusCode::CREATED, &MadeToken { id, token: shown })
}

/// `DELETE` of a token: one's own, or anybody's for who may administer.
pub(super) async fn remove_token(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.part("token").to_owned();
    let own = call.caller.principal().operator();
    let directory = directory(&call.state)?;
    let is_own = directory.tokens.get(&id).is_some_and(|token| Some(&token.user) == own.as_ref());
    if !is_own && !call.caller.may(&Demand::Cluster(Action::Admin)) {
        return Err(ApiError::new(ErrorCode::NotFound, format!("there is no token '{id}' of yours")));
    }
    change(&call, Change::RemoveToken { id }).await?;
    users::nothing()
}

/// `GET` of the keys that sign log-ins.
pub(super) async fn keys(call: Call) -> Answer {
    call.query(&[])?;
    let directory = directory(&call.state)?;
    let items = directory.keys.iter().map(|(id, key)| KeyShown {
        id: id.clone(),
        created: answer::rfc3339(key.created),
        retires: key.retires.map(answer::rfc3339),
    });
    answer::json(StatusCode::OK, &Keys { items: items.collect() })
}

/// `POST`: a new key signs from a few seconds on, and nobody has to log in again.
pub(super) async fn rotate(call: Call) -> Answer {
    call.query(&[])?;
    let made = auth::add_key(&call.state.worker.node, &call.state.shared.auth, call.who()).await;
    let id = made.map_err(|error| {
        tracing::warn!(%error, "a signing key could not be made");
        ApiError::new(ErrorCode::Unavailable, "the key could not be made; the log says why")
    })?;
    answer::json(StatusCode::CREATED, &MadeKey { id })
}

/// `GET` of the keys that seal secrets.
pub(super) async fn data_keys(call: Call) -> Answer {
    call.query(&[])?;
    let directory = directory(&call.state)?;
    let shown = |(id, key): (&String, &DataKey)| KeyShown {
        id: id.clone(),
        created: answer::rfc3339(key.created),
        retires: None,
    };
    answer::json(StatusCode::OK, &Keys { items: directory.data_keys.iter().map(shown).collect() })
}

/// `POST`: a new key seals secrets from a few seconds on; what the others sealed stays readable.
pub(super) async fn add_data_key(call: Call) -> Answer {
    call.query(&[])?;
    let made = call.state.shared.auth.content_keys().add(&call.state.worker.node, call.who()).await;
    let id = made.map_err(|error| {
        tracing::warn!(%error, "a key for secrets could not be made");
        ApiError::new(ErrorCode::Unavailable, "the key could not be made: is secrets.key_file set? The log says why")
    })?;
    answer::json(StatusCode::CREATED, &MadeKey { id })
}

fn is_limited(principal: &Principal) -> bool {
    matches!(principal, Principal::User(identity) if identity.rights.limit.is_some())
}

fn user_of(call: &Call) -> Result<String, ApiError> {
    let nobody = || ApiError::new(ErrorCode::InvalidParameter, "nobody is logged in: authentication is off");
    call.caller.principal().operator().ok_or_else(nobody)
}

/// The description of logging in.
pub(super) fn describe_log_in() -> Described {
    Described::new("access", "logIn", "Log in")
        .json_body::<Credentials>("Who")
        .json::<LoggedIn>(200, "Logged in")
        .refuses(&users::BODY_REFUSALS)
        .refuses(&[ErrorCode::Unauthenticated, ErrorCode::TooManyAttempts, ErrorCode::Overloaded])
}

/// The description of logging out.
pub(super) fn describe_log_out() -> Described {
    Described::new("access", "logOut", "End everything that one has logged in with")
        .json::<LoggedOut>(200, "Done; the log-in came from a provider, where there is something left to do")
        .answers(204, "Done")
        .refuses(&users::WRITE_REFUSALS)
}

/// The description of who asks.
pub(super) fn describe_oneself() -> Described {
    Described::new("access", "getOneself", "See who one is here, and what one may do")
        .json::<Oneself>(200, "Who asks")
        .refuses(&users::READ_REFUSALS)
}

/// The description of a new password.
pub(super) fn describe_set_own_password() -> Described {
    Described::new("access", "setOwnPassword", "Change one's password; every log-in ends")
        .json_body::<PasswordChange>("Both passwords")
        .answers(204, "Changed")
        .refuses(&users::WRITE_REFUSALS)
        .refuses(&users::BODY_REFUSALS)
        .refuses(&[ErrorCode::WeakPassword, ErrorCode::TooManyAttempts, ErrorCode::Overloaded])
}

/// The description of the tokens.
pub(super) fn describe_tokens() -> Described {
    Described::new("access", "listTokens", "List the tokens: all for administrators, else one's own")
        .json::<Tokens>(200, "Every token, without its secret")
        .refuses(&users::READ_REFUSALS)
}

/// The description of a new token.
pub(super) fn describe_make_token() -> Described {
    Described::new("access", "createToken", "Make a token for a program")
        .json_body::<NewToken>("The token")
        .json::<MadeToken>(201, "Made; the secret is shown this once")
        .refuses(&users::WRITE_REFUSALS)
        .refuses(&users::BODY_REFUSALS)
}

/// The description of removing a token.
pub(super) fn describe_remove_token() -> Described {
    Described::new("access", "deleteToken", "Remove a token: whoever holds it is cut off")
        .path("token", schema::text(), "The id of the token")
        .answers(204, "Removed")
        .refuses(&users::WRITE_REFUSALS)
}

/// The description of the keys.
pub(super) fn describe_keys() -> Described {
    Described::new("access", "listKeys", "List the keys that sign log-ins")
        .json::<Keys>(200, "Every key, without its secret")
        .refuses(&users::READ_REFUSALS)
}

/// The description of rotation.
pub(super) fn describe_rotate() -> Described {
    Described::new("access", "rotateKeys", "Sign log-ins by a new key; what the old ones signed is taken for its time")
        .json::<MadeKey>(201, "Made")
        .refuses(&users::WRITE_REFUSALS)
}

/// The description of the keys that seal secrets.
pub(super) fn describe_data_keys() -> Described {
    Described::new("access", "listSecretKeys", "List the keys that seal secrets")
        .json::<Keys>(200, "Every key, without its secret")
        .refuses(&users::READ_REFUSALS)
}

/// The description of a new key for secrets.
pub(super) fn describe_add_data_key() -> Described {
    Described::new("access", "addSecretKey", "Seal secrets by a new key; what the old ones sealed stays readable")
        .json::<MadeKey>(201, "Made")
        .refuses(&users::WRITE_REFUSALS)
}
