//! The users, roles, tokens and keys of a cluster as one value: a node has the newest one that it read. Owns
//! who has which rights and the rules of names; holds hashes and sealed keys, never a password or a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::grant::{Grant, Rights};
use crate::time::WallMillis;

/// Longest name of a user or a role, in bytes.
pub const MAX_NAME: usize = 128;
/// The role of administrators. It is built in, and may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// Somebody who can log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What the password is compared with; `None` for who comes from elsewhere, or by tokens alone.
    pub password_hash: Option<String>,
    /// His roles.
    pub roles: BTreeSet<String>,
    /// Whether he is let in.
    pub is_enabled: bool,
    /// Counts up with each change that must end what was given out before: a new password, being shut out.
    pub generation: u64,
    /// When he was made.
    pub created: WallMillis,
    /// Where he logs in, if that is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
}

/// Who somebody is at a provider of single sign-on. He has no password here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The provider.
    pub issuer: String,
    /// Who he is there, whatever his name is at present.
    pub subject: String,
    /// What his groups there gave when he logged in last; beside [`User::roles`], which are given here by hand.
    pub roles: BTreeSet<String>,
}

impl External {
    /// Whether this is who `subject` is at `issuer`.
    #[must_use]
    pub fn is(&self, issuer: &str, subject: &str) -> bool {
        self.issuer == issuer && self.subject == subject
    }
}

impl User {
    /// All his roles, wherever they come from.
    pub fn all_roles(&self) -> BTreeSet<&str> {
        let elsewhere = self.external.iter().flat_map(|external| &external.roles);
        self.roles.iter().chain(elsewhere).map(String::as_str).collect()
    }
}

/// What its holders may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// What and where.
    pub grants: Vec<Grant>,
    /// For people.
    pub description: String,
}

/// A secret by which a program comes as a user, within limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// As whom.
    pub user: String,
    /// The digest of the secret, in hexadecimal digits.
    pub digest: String,
    /// What it may be used for, of what the user may; `None` for all of it.
    pub grants: Option<Vec<Grant>>,
    /// Until when.
    pub expires: Option<WallMillis>,
    /// When it was made.
    pub created: WallMillis,
    /// For people.
    pub description: String,
}

/// A key that signs what users get when they log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// The key, sealed.
    pub sealed: String,
    /// When it was made: the newest one signs, once every node had the time to hear of it.
    pub created: WallMillis,
    /// Until when what it signed is taken; `None` as long as it signs.
    pub retires: Option<WallMillis>,
}

/// A key that seals the contents that are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataKey {
    /// The key, sealed by the master key of the nodes.
    pub sealed: String,
    /// When it was made: the newest one seals, once every node had the time to hear of it.
    pub created: WallMillis,
}

/// All of it, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Counts the changes.
    pub revision: u64,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By name; without the role of administrators, which is built in.
    pub roles: BTreeMap<String, Role>,
    /// By id.
    pub tokens: BTreeMap<String, Token>,
    /// By id.
    pub keys: BTreeMap<String, SigningKey>,
    /// By id. None ever goes: something may be sealed by it.
    pub data_keys: BTreeMap<String, DataKey>,
}

impl Directory {
    /// What a user may do. `None` for who is not there or not let in.
    #[must_use]
    pub fn rights_of(&self, name: &str) -> Option<Rights> {
        let user = self.users.get(name).filter(|user| user.is_enabled)?;
        let held = user.all_roles();
        let admin = held.contains(ADMIN_ROLE).then(Grant::of_everything);
        let roles = held.into_iter().filter_map(|role| self.roles.get(role));
        let granted = admin.into_iter().chain(roles.flat_map(|role| role.grants.iter().cloned())).collect();
        Some(Rights { granted, limit: None })
    }

    /// What may be done with a token, as of `now`. `None` for one that is not there, or not any longer.
    #[must_use]
    pub fn rights_of_token(&self, id: &str, now: WallMillis) -> Option<Rights> {
        let token = self.tokens.get(id).filter(|token| token.expires.is_none_or(|end| now < end))?;
        let limit = token.grants.as_deref().map(Arc::from);
        Some(Rights { limit, ..self.rights_of(&token.user)? })
    }

    /// Who `subject` is here, at `issuer`.
    #[must_use]
    pub fn signed_on(&self, issuer: &str, subject: &str) -> Option<(&str, &User)> {
        let is_he = |user: &User| user.external.as_ref().is_some_and(|external| external.is(issuer, subject));
        self.users.iter().find(|(_, user)| is_he(user)).map(|(name, user)| (name.as_str(), user))
    }

    /// The administrators who are let in, and need no provider for that: who can put things right when it is away.
    pub fn administrators(&self) -> impl Iterator<Item = &str> {
        let is_one = |user: &User| user.is_enabled && user.external.is_none() && user.roles.contains(ADMIN_ROLE);
        self.users.iter().filter(move |(_, user)| is_one(user)).map(|(name, _)| name.as_str())
    }

    /// True when there is such a role.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        name == ADMIN_ROLE || self.roles.contains_key(name)
    }
}

/// A name breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {MAX_NAME} bytes, without control characters and without space at either end")]
pub struct InvalidName;

/// Checks the name of a user or a role.
///
/// # Errors
/// [`InvalidName`].
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let is_fit = (1..=MAX_NAME).contains(&name.len()) && name.trim() == name && !name.chars().any(char::is_control);
    if is_fit { Ok(()) } else { Err(InvalidName) }
}

#[cfg(test)]
mod tests;
