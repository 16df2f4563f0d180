//! What a change of users, roles, tokens or keys writes, or why it is refused: decided from the directory as the same
//! transaction read it. Owns the rule that somebody is always left who may administer; stores nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::directory::{ADMIN_ROLE, DataKey, Directory, External, Role, SigningKey, Token, User, check_name};
use super::grant::Grant;
use crate::error_code::ErrorCode;
use crate::time::WallMillis;

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new user.
    AddUser {
        /// His name.
        name: String,
        /// The hash of his password, if he has one.
        password_hash: Option<String>,
        /// His roles, which must be there.
        roles: BTreeSet<String>,
    },
    /// The very first user, an administrator; refused where there is one already.
    FirstAdministrator {
        /// His name.
        name: String,
        /// The hash of his password.
        password_hash: String,
    },
    /// Somebody has logged in at a provider. He becomes a user, and has the roles that his groups give now; those that
    /// were given by hand stay as they are. Writes nothing where all of this is so already.
    SignOn {
        /// His name there. Who is known already keeps the name that he has here.
        name: String,
        /// Who he is, and the roles that his groups give; those that are not there count for nothing.
        external: External,
    },
    /// Another password. What was given out for the old one ends.
    SetPassword {
        /// Whose.
        name: String,
        /// The hash of the new one.
        password_hash: String,
    },
    /// Lets somebody in, or not any longer.
    Enable {
        /// Whom.
        name: String,
        /// Whether.
        is_enabled: bool,
    },
    /// Ends everything that somebody logged in with.
    LogOut {
        /// Who.
        name: String,
    },
    /// Removes a user, and his tokens.
    RemoveUser {
        /// Whom.
        name: String,
    },
    /// Makes a user a holder of a role. With `makes`, a role that is not there is made, without grants.
    Assign {
        /// The user.
        user: String,
        /// The role.
        role: String,
        /// Whether the role is made.
        makes: bool,
    },
    /// Takes a role from a user; from all, and the role itself, where nobody is named.
    Withdraw {
        /// The user.
        user: Option<String>,
        /// The role.
        role: String,
    },
    /// Makes a role, or gives one other grants.
    SetRole {
        /// Its name.
        name: String,
        /// What it allows from now on.
        role: Role,
    },
    /// Adds to what a role allows.
    Grant {
        /// The role.
        role: String,
        /// What.
        grant: Grant,
    },
    /// Takes from what a role allows: the actions of `grant`, of the grants for the same scope.
    Revoke {
        /// The role.
        role: String,
        /// What.
        grant: Grant,
    },
    /// A new token.
    AddToken {
        /// Its id.
        id: String,
        /// The rest.
        token: Token,
    },
    /// Removes a token.
    RemoveToken {
        /// Its id.
        id: String,
    },
    /// A new signing key; what the others sign is taken until `retire`.
    AddKey {
        /// Its id.
        id: String,
        /// The key.
        key: SigningKey,
        /// Until when the others count.
        retire: WallMillis,
    },
    /// A new key for contents.
    AddDataKey {
        /// Its id.
        id: String,
        /// The key.
        key: DataKey,
    },
    /// Keys for contents, sealed anew: the keys themselves stay.
    SealDataKeys(BTreeMap<String, String>),
}

/// A row that is written: the new value, or `None` for one that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of a user.
    User(String, Option<User>),
    /// Of a role.
    Role(String, Option<Role>),
    /// Of a token.
    Token(String, Option<Token>),
    /// Of a signing key.
    Key(String, Option<SigningKey>),
    /// Of a key for contents.
    DataKey(String, Option<DataKey>),
}

/// Why a change is refused. Nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A name breaks its rule.
    #[error("illegal name: a name is 1 to 128 bytes, without control characters and without space at either end")]
    Name,
    /// It is there already.
    #[error("{what} '{name}' exists already")]
    Exists {
        /// Of which kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is not there.
    #[error("there is no {what} '{name}'")]
    Missing {
        /// Of which kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The role of administrators can't be changed.
    #[error("the role '{ADMIN_ROLE}' is built in: it can be given and taken, not changed")]
    BuiltIn,
    /// Somebody else has the name of who comes from a provider.
    #[error(
        "another user here is named '{name}', whom nobody from the provider takes over: an administrator has to remove \
         that user, or the provider to give another name"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// Whoever comes from a provider and holds no role does not become a user.
    #[error("none of the groups of '{name}' at the provider gives a role here")]
    NoRole {
        /// Who.
        name: String,
    },
    /// The user is not let in.
    #[error("'{name}' is not let in here")]
    ShutOut {
        /// Who.
        name: String,
    },
    /// The role is given by the provider, and would be given again.
    #[error("'{name}' has the role '{role}' by a group at the provider: take it there")]
    GivenElsewhere {
        /// Who.
        name: String,
        /// The role.
        role: String,
    },
    /// Who logs in at a provider has no password here.
    #[error("'{name}' logs in at the provider, and has no password here")]
    NoPassword {
        /// Who.
        name: String,
    },
    /// Nobody would be left who may administer.
    #[error("'{name}' is the last administrator with a log-in of this cluster: make another one first")]
    LastAdministrator {
        /// Who.
        name: String,
    },
}

impl Refusal {
    /// What kind of refusal it is for every interface.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Name => ErrorCode::InvalidParameter,
            Self::Exists { .. } | Self::Taken { .. } => ErrorCode::AccessExists,
            Self::Missing { .. } => ErrorCode::NotFound,
            Self::NoRole { .. } | Self::ShutOut { .. } => ErrorCode::Forbidden,
            Self::BuiltIn | Self::LastAdministrator { .. } | Self::GivenElsewhere { .. } | Self::NoPassword { .. } => {
                ErrorCode::AccessProtected
            }
        }
    }
}

fn missing(what: &'static str, name: &str) -> Refusal {
    Refusal::Missing { what, name: name.to_owned() }
}

/// What `change` writes over `directory`, as of `now`.
///
/// # Errors
/// [`Refusal`].
pub fn decide(directory: &Directory, change: Change, now: WallMillis) -> Result<Vec<Row>, Refusal> {
    let rows = match change {
        Change::AddUser { name, password_hash, roles } => add_user(directory, name, password_hash, roles, now)?,
        Change::FirstAdministrator { name, password_hash } => {
            if let Some(present) = directory.administrators().next() {
                return Err(Refusal::Exists { what: "administrator", name: present.to_owned() });
            }
            add_user(directory, name, Some(password_hash), BTreeSet::from([ADMIN_ROLE.to_owned()]), now)?
        }
        Change::SignOn { name, external } => sign_on(directory, name, external, now)?,
        Change::SetPassword { name, password_hash } => set_password(directory, &name, password_hash)?,
        Change::Enable { name, is_enabled } => with_user(directory, &name, |user| {
            user.is_enabled = is_enabled;
            user.generation += u64::from(!is_enabled);
        })?,
        Change::LogOut { name } => with_user(directory, &name, |user| user.generation += 1)?,
        Change::RemoveUser { name } => remove_user(directory, &name)?,
        Change::Assign { user, role, makes } => assign(directory, &user, role, makes)?,
        Change::Withdraw { user, role } => withdraw(directory, user, role)?,
        Change::SetRole { name, role } => {
            check_role(&name)?;
            vec![Row::Role(name, Some(role))]
        }
        Change::Grant { role, grant } => with_role(directory, &role, |role| add_grant(&mut role.grants, grant))?,
        Change::Revoke { role, grant } => with_role(directory, &role, |role| take_grant(&mut role.grants, &grant))?,
        Change::AddToken { id, token } => {
            if !directory.users.contains_key(&token.user) {
                return Err(missing("user", &token.user));
            }
            vec![Row::Token(id, Some(token))]
        }
        Change::RemoveToken { id } => {
            if !directory.tokens.contains_key(&id) {
                return Err(missing("token", &id));
            }
            vec![Row::Token(id, None)]
        }
        Change::AddKey { id, key, retire } => add_key(directory, id, key, retire, now),
        Change::AddDataKey { id, key } => vec![Row::DataKey(id, Some(key))],
        Change::SealDataKeys(sealed) => {
            let present = |(id, sealed): (String, String)| {
                let key = directory.data_keys.get(&id).ok_or_else(|| missing("data key", &id))?;
                Ok(Row::DataKey(id, Some(DataKey { sealed, ..key.clone() })))
            };
            sealed.into_iter().map(present).collect::<Result<_, Refusal>>()?
        }
    };
    keep_an_administrator(directory, &rows)?;
    Ok(rows)
}

fn add_user(
    directory: &Directory,
    name: String,
    password_hash: Option<String>,
    roles: BTreeSet<String>,
    now: WallMillis,
) -> Result<Vec<Row>, Refusal> {
    check_name(&name).map_err(|_invalid| Refusal::Name)?;
    if directory.users.contains_key(&name) {
        return Err(Refusal::Exists { what: "user", name });
    }
    if let Some(role) = roles.iter().find(|role| !directory.has_role(role)) {
        return Err(missing("role", role));
    }
    // What was given out to somebody of the same name who was removed counts for nothing.
    let generation = u64::try_from(now.0).unwrap_or_default();
    let user = User { password_hash, roles, is_enabled: true, generation, created: now, external: None };
    Ok(vec![Row::User(name, Some(user))])
}

fn sign_on(directory: &Directory, name: String, given: External, now: WallMillis) -> Result<Vec<Row>, Refusal> {
    let roles = given.roles.into_iter().filter(|role| directory.has_role(role)).collect();
    let external = External { roles, ..given };
    if let Some((known, user)) = directory.signed_on(&external.issuer, &external.subject) {
        return match &user.external {
            _ if !user.is_enabled => Err(Refusal::ShutOut { name: known.to_owned() }),
            Some(present) if *present == external => Ok(Vec::new()),
            _ => with_user(directory, known, |user| user.external = Some(external)),
        };
    }
    if external.roles.is_empty() {
        return Err(Refusal::NoRole { name });
    }
    if directory.users.contains_key(&name) {
        return Err(Refusal::Taken { name });
    }
    let mut rows = add_user(directory, name, None, BTreeSet::new(), now)?;
    if let Some(Row::User(_, Some(user))) = rows.first_mut() {
        user.external = Some(external);
    }
    Ok(rows)
}

fn set_password(directory: &Directory, name: &str, password_hash: String) -> Result<Vec<Row>, Refusal> {
    if directory.users.get(name).is_some_and(|user| user.external.is_some()) {
        return Err(Refusal::NoPassword { name: name.to_owned() });
    }
    with_user(directory, name, |user| {
        user.password_hash = Some(password_hash);
        user.generation += 1;
    })
}

fn with_user(directory: &Directory, name: &str, edit: impl FnOnce(&mut User)) -> Result<Vec<Row>, Refusal> {
    let mut user = directory.users.get(name).cloned().ok_or_else(|| missing("user", name))?;
    edit(&mut user);
    Ok(vec![Row::User(name.to_owned(), Some(user))])
}

fn with_role(directory: &Directory, name: &str, edit: impl FnOnce(&mut Role)) -> Result<Vec<Row>, Refusal> {
    if name == ADMIN_ROLE {
        return Err(Refusal::BuiltIn);
    }
    let mut role = directory.roles.get(name).cloned().ok_or_else(|| missing("role", name))?;
    edit(&mut role);
    Ok(vec![Row::Role(name.to_owned(), Some(role))])
}

fn check_role(name: &str) -> Result<(), Refusal> {
    check_name(name).map_err(|_invalid| Refusal::Name)?;
    if name == ADMIN_ROLE { Err(Refusal::BuiltIn) } else { Ok(()) }
}

fn remove_user(directory: &Directory, name: &str) -> Result<Vec<Row>, Refusal> {
    if !directory.users.contains_key(name) {
        return Err(missing("user", name));
    }
    let his = directory.tokens.iter().filter(|(_, token)| token.user == name);
    let tokens = his.map(|(id, _)| Row::Token(id.clone(), None));
    Ok(tokens.chain([Row::User(name.to_owned(), None)]).collect())
}

fn assign(directory: &Directory, user: &str, role: String, makes: bool) -> Result<Vec<Row>, Refusal> {
    let made = if directory.has_role(&role) {
        None
    } else if makes {
        check_role(&role)?;
        Some(Row::Role(role.clone(), Some(Role::default())))
    } else {
        return Err(missing("role", &role));
    };
    let rows = with_user(directory, user, |user| {
        user.roles.insert(role);
    })?;
    Ok(made.into_iter().chain(rows).collect())
}

fn withdraw(directory: &Directory, user: Option<String>, role: String) -> Result<Vec<Row>, Refusal> {
    if !directory.has_role(&role) {
        return Err(missing("role", &role));
    }
    if let Some(name) = user {
        let external = directory.users.get(&name).and_then(|user| user.external.as_ref());
        if external.is_some_and(|external| external.roles.contains(&role)) {
            return Err(Refusal::GivenElsewhere { name, role });
        }
        return with_user(directory, &name, |user| {
            user.roles.remove(&role);
        });
    }
    if role == ADMIN_ROLE {
        return Err(Refusal::BuiltIn);
    }
    let holders = directory.users.iter().filter(|(_, user)| user.all_roles().contains(role.as_str()));
    let without = holders.map(|(name, user)| {
        let mut user = user.clone();
        user.roles.remove(&role);
        if let Some(external) = &mut user.external {
            external.roles.remove(&role);
        }
        Row::User(name.clone(), Some(user))
    });
    Ok(without.chain([Row::Role(role.clone(), None)]).collect())
}

/// Adds a grant to those for the same scope.
fn add_grant(grants: &mut Vec<Grant>, added: Grant) {
    match grants.iter_mut().find(|grant| grant.scope == added.scope) {
        Some(grant) => grant.actions.extend(added.actions),
        None => grants.push(added),
    }
}

fn take_grant(grants: &mut Vec<Grant>, taken: &Grant) {
    for grant in grants.iter_mut().filter(|grant| grant.scope == taken.scope) {
        grant.actions.retain(|action| !taken.actions.contains(action));
    }
    grants.retain(|grant| !grant.actions.is_empty());
}

/// Those that retired are gone, those that signed retire.
fn add_key(directory: &Directory, id: String, key: SigningKey, retire: WallMillis, now: WallMillis) -> Vec<Row> {
    let others = directory.keys.iter().filter_map(|(id, other)| match other.retires {
        Some(end) if end <= now => Some(Row::Key(id.clone(), None)),
        Some(_) => None,
        None => Some(Row::Key(id.clone(), Some(SigningKey { retires: Some(retire), ..other.clone() }))),
    });
    others.chain([Row::Key(id, Some(key))]).collect()
}

/// Once there is an administrator there is always one.
fn keep_an_administrator(directory: &Directory, rows: &[Row]) -> Result<(), Refusal> {
    let Some(name) = directory.administrators().next().map(str::to_owned) else { return Ok(()) };
    let mut after = directory.clone();
    rows.iter().for_each(|row| put(&mut after, row.clone()));
    if after.administrators().next().is_some() { Ok(()) } else { Err(Refusal::LastAdministrator { name }) }
}

/// Puts a row into a directory.
pub fn put(directory: &mut Directory, row: Row) {
    fn set<V>(map: &mut std::collections::BTreeMap<String, V>, name: String, value: Option<V>) {
        match value {
            Some(value) => drop(map.insert(name, value)),
            None => drop(map.remove(&name)),
        }
    }
    match row {
        Row::User(name, user) => set(&mut directory.users, name, user),
        Row::Role(name, role) => set(&mut directory.roles, name, role),
        Row::Token(id, token) => set(&mut directory.tokens, id, token),
        Row::Key(id, key) => set(&mut directory.keys, id, key),
        Row::DataKey(id, key) => set(&mut directory.data_keys, id, key),
    }
}

#[cfg(test)]
mod tests;
