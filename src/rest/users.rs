//! Users and roles: who there is, and what each may do. Only who may administer the cluster gets here. Shows no hash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use callboard_actors::access_directory::{ChangeAccess, ChangeFailure};
use callboard_actors::runtime::ask;
use callboard_actors::store::{CommitError, WriteError};
use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::directory::{ADMIN_ROLE, Directory, Role, User};
use callboard_protocol::access::grant::{Action, Grant, Pattern, Scope};
use callboard_protocol::access::password;
use callboard_protocol::config::check_text;
use callboard_protocol::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::json_body;
use crate::api::error::ApiError;
use crate::api::state::State;
use crate::http::answer;
use crate::http::openapi::{Described, schema};
use crate::http::query::Query;
use crate::http::route::{Answer, Call};

/// Longest description, in characters.
pub(super) const MAX_TEXT: usize = 256;
/// Grants of one role or token.
const MAX_GRANTS: usize = 1_000;
/// How long a change may take until its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// What may be done where.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GrantShown {
    /// Namespaces; `*` stands for any text.
    #[serde(default = "any")]
    namespace: String,
    /// Groups; `*` stands for any text.
    #[serde(default = "any")]
    group: String,
    /// Data ids; `*` stands for any text.
    #[serde(default = "any")]
    data_id: String,
    /// Of `read`, `write`, `gray`, `manage` and `admin`.
    actions: Vec<String>,
}

fn any() -> String {
    "*".to_owned()
}

impl GrantShown {
    pub(super) fn of(grant: &Grant) -> Self {
        let Scope { namespace, group, data_id } = &grant.scope;
        Self {
            namespace: namespace.as_str().to_owned(),
            group: group.as_str().to_owned(),
            data_id: data_id.as_str().to_owned(),
            actions: grant.actions.iter().map(|action| action.as_str().to_owned()).collect(),
        }
    }

    pub(super) fn read(self) -> Result<Grant, ApiError> {
        let pattern = |name: &'static str, text: &str| {
            Pattern::new(text).map_err(|error| ApiError::parameter(name, error.to_string()))
        };
        let scope = Scope {
            namespace: pattern("namespace", &self.namespace)?,
            group: pattern("group", &self.group)?,
            data_id: pattern("dataId", &self.data_id)?,
        };
        let read =
            |text: &String| text.parse::<Action>().map_err(|error| ApiError::parameter("actions", error.to_string()));
        let actions = self.actions.iter().map(read).collect::<Result<BTreeSet<_>, _>>()?;
        if actions.is_empty() {
            return Err(ApiError::parameter("actions", "name at least one action"));
        }
        Ok(Grant { scope, actions })
    }
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserShown {
    name: String,
    enabled: bool,
    /// Those that were given here.
    roles: Vec<String>,
    has_password: bool,
    created: String,
    /// The provider that the user logs in at; null for none.
    provider: Option<String>,
    /// Those that the user's groups at the provider gave at the last log-in.
    provider_roles: Vec<String>,
}

impl UserShown {
    fn of(name: &str, user: &User) -> Self {
        Self {
            name: name.to_owned(),
            enabled: user.is_enabled,
            roles: user.roles.iter().cloned().collect(),
            has_password: user.password_hash.is_some(),
            created: answer::rfc3339(user.created),
            provider: user.external.as_ref().map(|external| external.issuer.clone()),
            provider_roles: user.external.iter().flat_map(|external| external.roles.iter().cloned()).collect(),
        }
    }
}

/// Every user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    items: Vec<UserShown>,
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    /// None for somebody who comes by tokens alone.
    password: Option<String>,
    #[serde(default)]
    roles: BTreeSet<String>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    password: String,
}

/// Whether a user is let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enabled {
    enabled: bool,
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoleShown {
    name: String,
    description: String,
    grants: Vec<GrantShown>,
    /// It can't be changed.
    built_in: bool,
}

/// Every role.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Roles {
    items: Vec<RoleShown>,
}

/// What a role is from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    #[serde(default)]
    grants: Vec<GrantShown>,
    #[serde(default)]
    #[schema(max_length = 256)]
    description: String,
}

/// What is known of users and roles.
pub(super) fn directory(state: &State) -> Result<Arc<Directory>, ApiError> {
    let known = state.worker.node.access.borrow().clone();
    known.ok_or_else(|| ApiError::new(ErrorCode::Unavailable, "this node has not read its users yet"))
}

/// Makes a change. It holds on this node when this returns, and on the others within two seconds or so.
pub(super) async fn change(call: &Call, change: Change) -> Result<(), ApiError> {
    let unknown =
        || ApiError::new(ErrorCode::OutcomeUnknown, "it is not known whether this was done; look at the list to see");
    let change = ChangeAccess { change, by: call.who() };
    match ask(&call.state.worker.node.access_directory, change, WRITE_DEADLINE).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ChangeFailure::Write(WriteError::AccessRefused(refusal)))) => Err(refused(refusal)),
        Ok(Err(ChangeFailure::Write(WriteError::Failed(CommitError::Aborted { cause, .. })))) => {
            Err(ApiError::new(ErrorCode::Unavailable, format!("{cause}; nothing was written")))
        }
        Ok(Err(ChangeFailure::Write(_) | ChangeFailure::Ask(_))) | Err(_) => Err(unknown()),
    }
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::new(refusal.code(), refusal.to_string())
}

/// The answer to what was done and leaves nothing to say.
pub(super) fn nothing() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}

/// `GET` of all users.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let directory = directory(&call.state)?;
    let items = directory.users.iter().map(|(name, user)| UserShown::of(name, user)).collect();
    answer::json(StatusCode::OK, &Users { items })
}

/// `GET` of one user.
pub(super) async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let (name, directory) = (call.part("user"), directory(&call.state)?);
    let missing = || ApiError::new(ErrorCode::NotFound, format!("there is no user '{name}'"));
    answer::json(StatusCode::OK, &UserShown::of(name, directory.users.get(name).ok_or_else(missing)?))
}

/// `POST` of a new user.
pub(super) async fn create(mut call: Call) -> Answer {
    call.query(&[])?;
    let NewUser { name, password, roles } = json_body(&mut call).await?;
    let password_hash = match password {
        None => None,
        Some(password) => Some(hash(&call.state, &name, &password).await?),
    };
    change(&call, Change::AddUser { name: name.clone(), password_hash, roles }).await?;
    let directory = directory(&call.state)?;
    let made = directory.users.get(&name).map(|user| UserShown::of(&name, user));
    answer::json(StatusCode::CREATED, &made)
}

/// `DELETE` of a user, and of his tokens.
pub(super) async fn remove(call: Call) -> Answer {
    call.query(&[])?;
    change(&call, Change::RemoveUser { name: call.part("user").to_owned() }).await?;
    nothing()
}

/// `PUT` of a new password.
pub(super) async fn set_password(mut call: Call) -> Answer {
    call.query(&[])?;
    let NewPassword { password } = json_body(&mut call).await?;
    set_password_of(&call, call.part("user").to_owned(), &password).await?;
    nothing()
}

/// Gives a user another password.
pub(super) async fn set_password_of(call: &Call, name: String, password: &str) -> Result<(), ApiError> {
    let password_hash = hash(&call.state, &name, password).await?;
    change(call, Change::SetPassword { name, password_hash }).await
}

async fn hash(state: &State, user: &str, password: &str) -> Result<String, ApiError> {
    password::check(password, user).map_err(|weak| ApiError::new(ErrorCode::WeakPassword, weak.to_string()))?;
    state.shared.auth.hash(password).await
}

/// `PUT` of whether a user is let in.
pub(super) async fn enable(mut call: Call) -> Answer {
    call.query(&[])?;
    let Enabled { enabled } = json_body(&mut call).await?;
    change(&call, Change::Enable { name: call.part("user").to_owned(), is_enabled: enabled }).await?;
    nothing()
}

/// `POST`: everything that a user logged in with ends.
pub(super) async fn log_out(call: Call) -> Answer {
    call.query(&[])?;
    change(&call, Change::LogOut { name: call.part("user").to_owned() }).await?;
    nothing()
}

/// `PUT` of a role of a user.
pub(super) async fn assign(call: Call) -> Answer {
    call.query(&[])?;
    let (user, role) = (call.part("user").to_owned(), call.part("role").to_owned());
    change(&call, Change::Assign { user, role, makes: false }).await?;
    nothing()
}

/// `DELETE` of a role of a user; the role stays.
pub(super) async fn withdraw(call: Call) -> Answer {
    call.query(&[])?;
    let (user, role) = (Some(call.part("user").to_owned()), call.part("role").to_owned());
    change(&call, Change::Withdraw { user, role }).await?;
    nothing()
}

fn role_shown(name: &str, role: &Role) -> RoleShown {
    let grants = role.grants.iter().map(GrantShown::of).collect();
    RoleShown { name: name.to_owned(), description: role.description.clone(), grants, built_in: false }
}

fn administrators() -> RoleShown {
    let grants = vec![GrantShown::of(&Grant::of_everything())];
    let description = "administrators: may do everything".to_owned();
    RoleShown { name: ADMIN_ROLE.to_owned(), description, grants, built_in: true }
}

/// `GET` of all roles.
pub(super) async fn roles(call: Call) -> Answer {
    call.query(&[])?;
    let directory = directory(&call.state)?;
    let made = directory.roles.iter().map(|(name, role)| role_shown(name, role));
    answer::json(StatusCode::OK, &Roles { items: [administrators()].into_iter().chain(made).collect() })
}

/// `PUT` of a role: made, or given other grants.
pub(super) async fn set_role(mut call: Call) -> Answer {
    call.query(&[])?;
    let NewRole { grants, description } = json_body(&mut call).await?;
    check_text("description", &description, MAX_TEXT)?;
    if grants.len() > MAX_GRANTS {
        return Err(ApiError::parameter("grants", format!("a role has at most {MAX_GRANTS} grants")));
    }
    let grants = grants.into_iter().map(GrantShown::read).collect::<Result<Vec<_>, _>>()?;
    let role = Role { grants, description };
    let name = call.part("role").to_owned();
    change(&call, Change::SetRole { name: name.clone(), role: role.clone() }).await?;
    answer::json(StatusCode::OK, &role_shown(&name, &role))
}

/// `DELETE` of a role, from all who hold it.
pub(super) async fn remove_role(call: Call) -> Answer {
    call.query(&[])?;
    change(&call, Change::Withdraw { user: None, role: call.part("role").to_owned() }).await?;
    nothing()
}

/// `POST` of a grant: adds to what a role allows.
pub(super) async fn grant(mut call: Call) -> Answer {
    call.query(&[])?;
    let grant = json_body::<GrantShown>(&mut call).await?.read()?;
    change(&call, Change::Grant { role: call.part("role").to_owned(), grant }).await?;
    nothing()
}

/// `DELETE` of a grant, which the query names: takes from what a role allows.
pub(super) async fn revoke(call: Call) -> Answer {
    let query: Query<'_> = call.query(&["namespace", "group", "dataId", "actions"])?;
    let named = |name| query.get(name).unwrap_or("*").to_owned();
    let actions = query.get("actions").map(|actions| actions.split(',').map(str::to_owned).collect());
    let actions = actions.unwrap_or_else(|| Action::ALL.map(|action| action.as_str().to_owned()).to_vec());
    let shown = GrantShown { namespace: named("namespace"), group: named("group"), data_id: named("dataId"), actions };
    let grant = shown.read()?;
    change(&call, Change::Revoke { role: call.part("role").to_owned(), grant }).await?;
    nothing()
}

/// What reading may be refused with.
pub(super) const READ_REFUSALS: [ErrorCode; 3] =
    [ErrorCode::InvalidParameter, ErrorCode::Unauthenticated, ErrorCode::Forbidden];
/// What a change may be refused with.
pub(super) const WRITE_REFUSALS: [ErrorCode; 7] = [
    ErrorCode::InvalidParameter,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::AccessExists,
    ErrorCode::AccessProtected,
    ErrorCode::OutcomeUnknown,
];
/// What a body may be refused with.
pub(super) const BODY_REFUSALS: [ErrorCode; 4] =
    [ErrorCode::BodyTimeout, ErrorCode::TooLarge, ErrorCode::UnsupportedType, ErrorCode::InvalidParameter];

fn of_user(id: &str, summary: &str) -> Described {
    Described::new("access", id, summary).path("user", schema::free(128), "The name of the user")
}

fn of_role(id: &str, summary: &str) -> Described {
    Described::new("access", id, summary).path("role", schema::free(128), "The name of the role")
}

/// The description of the users.
pub(super) fn describe_list() -> Described {
    Described::new("access", "listUsers", "List the users").json::<Users>(200, "Every user").refuses(&READ_REFUSALS)
}

/// The description of one user.
pub(super) fn describe_one() -> Described {
    of_user("getUser", "Look at a user")
        .json::<UserShown>(200, "The user")
        .refuses(&READ_REFUSALS)
        .refuses(&[ErrorCode::NotFound])
}

/// The description of a new user.
pub(super) fn describe_create() -> Described {
    Described::new("access", "createUser", "Make a user")
        .json_body::<NewUser>("The user")
        .json::<UserShown>(201, "Made")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
        .refuses(&[ErrorCode::WeakPassword, ErrorCode::Overloaded])
}

/// The description of removing a user.
pub(super) fn describe_remove() -> Described {
    of_user("deleteUser", "Remove a user and his tokens").answers(204, "Removed").refuses(&WRITE_REFUSALS)
}

/// The description of a new password.
pub(super) fn describe_set_password() -> Described {
    of_user("setPassword", "Give a user another password; his log-ins end")
        .json_body::<NewPassword>("The password")
        .answers(204, "Changed")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
        .refuses(&[ErrorCode::WeakPassword, ErrorCode::Overloaded])
}

/// The description of letting in.
pub(super) fn describe_enable() -> Described {
    of_user("enableUser", "Let a user in, or not any longer")
        .json_body::<Enabled>("Whether")
        .answers(204, "Changed")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
}

/// The description of ending log-ins.
pub(super) fn describe_log_out() -> Described {
    of_user("logOutUser", "End everything that a user logged in with").answers(204, "Done").refuses(&WRITE_REFUSALS)
}

/// The description of giving a role.
pub(super) fn describe_assign() -> Described {
    of_user("assignRole", "Give a user a role")
        .path("role", schema::free(128), "The name of the role")
        .answers(204, "Given")
        .refuses(&WRITE_REFUSALS)
}

/// The description of taking a role.
pub(super) fn describe_withdraw() -> Described {
    of_user("withdrawRole", "Take a role from a user")
        .path("role", schema::free(128), "The name of the role")
        .answers(204, "Taken")
        .refuses(&WRITE_REFUSALS)
}

/// The description of the roles.
pub(super) fn describe_roles() -> Described {
    Described::new("access", "listRoles", "List the roles, with what they allow")
        .json::<Roles>(200, "Every role")
        .refuses(&READ_REFUSALS)
}

/// The description of a role.
pub(super) fn describe_set_role() -> Described {
    of_role("putRole", "Make a role, or replace what it allows")
        .json_body::<NewRole>("The role")
        .json::<RoleShown>(200, "As it is now")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
}

/// The description of removing a role.
pub(super) fn describe_remove_role() -> Described {
    of_role("deleteRole", "Remove a role, from all who hold it").answers(204, "Removed").refuses(&WRITE_REFUSALS)
}

/// The description of granting.
pub(super) fn describe_grant() -> Described {
    of_role("grant", "Add to what a role allows")
        .json_body::<GrantShown>("What is allowed where")
        .answers(204, "Granted")
        .refuses(&WRITE_REFUSALS)
        .refuses(&BODY_REFUSALS)
}

/// The description of revoking.
pub(super) fn describe_revoke() -> Described {
    let pattern = || schema::text().pattern(Some("^[A-Za-z0-9_.:*-]{1,256}$"));
    of_role("revoke", "Take from what a role allows, of the grant for just this scope")
        .query("namespace", pattern(), "The namespaces of the grant; * when nobody says")
        .query("group", pattern(), "The groups of the grant; * when nobody says")
        .query("dataId", pattern(), "The data ids of the grant; * when nobody says")
        .query("actions", schema::text(), "Parted by commas; all when nobody says")
        .answers(204, "Revoked")
        .refuses(&WRITE_REFUSALS)
}
