//! What is written down of what was done and tried: who, from where, by which door, what, with which outcome. Owns the
//! words of that and their form; has no place for a content, a password or a token, and stores nothing.
//!
//! Reading order: this file (an event, and the body of a record) · [`chain`] (how records hold each other) · [`tally`]
//! (what waits to be written).

pub mod chain;
pub mod tally;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use self::chain::Head;
use super::change::Change;
use super::directory::{ADMIN_ROLE, Role};
use super::grant::{Action, Demand, Grant, Names};
use crate::commit::{ChangeRow, Operation};
use crate::error_code::ErrorCode;
use crate::key::ConfigKey;
use crate::time::WallMillis;
use crate::write_request::{self, Source, WriteRequest};

named! {
    /// What happened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum What {
        /// A configuration was published.
        Publish = "publish",
        /// A configuration was removed.
        Remove = "remove",
        /// A namespace was made.
        NamespaceMade = "namespace_made",
        /// Name or description of a namespace were changed.
        NamespaceChanged = "namespace_changed",
        /// A namespace was removed.
        NamespaceRemoved = "namespace_removed",
        /// A password was right.
        LogIn = "log_in",
        /// A password was wrong, or not looked at after many that were.
        LogInRefused = "log_in_refused",
        /// Somebody asked for what he may not, or showed a token that is none.
        AccessRefused = "access_refused",
        /// Everything that a user logged in with was ended.
        LogOut = "log_out",
        /// A user was made.
        UserMade = "user_made",
        /// Somebody came from the provider of single sign-on for the first time, or with other roles.
        SignedOn = "signed_on",
        /// A user was removed.
        UserRemoved = "user_removed",
        /// A user is let in again.
        UserEnabled = "user_enabled",
        /// A user is not let in any longer.
        UserDisabled = "user_disabled",
        /// A user got another password.
        PasswordSet = "password_set",
        /// A user got a role.
        RoleGiven = "role_given",
        /// A role was taken from a user.
        RoleTaken = "role_taken",
        /// A role was made, or got other grants.
        RoleSet = "role_set",
        /// A role was removed.
        RoleRemoved = "role_removed",
        /// Something was added to what a role allows.
        Granted = "granted",
        /// Something was taken from what a role allows.
        Revoked = "revoked",
        /// A token was made.
        TokenMade = "token_made",
        /// A token was removed.
        TokenRemoved = "token_removed",
        /// A signing key was made.
        KeyMade = "key_made",
        /// Keys that seal secrets were sealed by another master key.
        KeysSealed = "keys_sealed",
        /// A node was taken out of the cluster.
        Drained = "drained",
        /// The database was restored: a new timeline began.
        Restored = "restored",
        /// A node began to write.
        Started = "started",
        /// Old records were removed.
        AuditPruned = "audit_pruned",
        /// More happened than could be written down; the count says how much.
        LeftOut = "left_out",
    }
}

impl What {
    /// True for what anybody can make happen as often as he likes: it is summed.
    #[must_use]
    pub fn is_summed(self) -> bool {
        matches!(self, Self::LogInRefused | Self::AccessRefused | Self::LeftOut)
    }
}

named! {
    /// What came of it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Outcome {
        /// It was done.
        Done = "done",
        /// All was so already.
        Unchanged = "unchanged",
        /// It was not done.
        Refused = "refused",
        /// Nobody knows whether it was done.
        Unknown = "unknown",
    }
}

/// Who asks, from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Who {
    /// The user; `None` for nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The address of the other end, without the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// By which door.
    #[serde(serialize_with = "door")]
    pub door: Source,
}

impl Who {
    /// The server itself.
    pub const SERVER: Self = Self { user: None, address: None, door: Source::System };
}

/// What it was about; most of it is absent. All of it are names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A data id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_id: Option<String>,
    /// The version that a configuration has since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// A user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What is granted, one text for each grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// The id of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The id of a signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What somebody wanted to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// A timeline of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u64>,
    /// A number of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
}

impl Target {
    /// A configuration.
    #[must_use]
    pub fn config(key: &ConfigKey, version: Option<u64>) -> Self {
        let [namespace, group, data_id] =
            [key.namespace(), key.group(), key.data_id()].map(|part| Some(part.to_owned()));
        Self { namespace, group, data_id, version, ..Self::default() }
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(id: &str) -> Self {
        Self { namespace: Some(id.to_owned()), ..Self::default() }
    }

    /// What somebody was refused.
    #[must_use]
    pub fn demanded(demand: &Demand<'_>) -> Self {
        let names = |names: &Names<'_>| match names {
            Names::One(name) => (*name).to_owned(),
            Names::Beginning(prefix) => format!("{prefix}*"),
        };
        match demand {
            Demand::Key(action, key) => Self { action: Some(action.as_str()), ..Self::config(key, None) },
            Demand::Area(action, area) => Self {
                group: area.group.as_ref().map(names),
                data_id: area.data_id.as_ref().map(names),
                action: Some(action.as_str()),
                ..Self::namespace(area.namespace)
            },
            Demand::Namespace(id) => Self::namespace(id),
            Demand::Cluster(action) => Self { action: Some(action.as_str()), ..Self::default() },
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, by the clock of the node that writes it down.
    pub at: WallMillis,
    /// What.
    #[serde(serialize_with = "what")]
    pub what: What,
    /// Who did it.
    #[serde(flatten)]
    pub who: Who,
    /// What it was about.
    #[serde(skip_serializing_if = "Target::is_none")]
    pub target: Target,
    /// What came of it.
    #[serde(serialize_with = "outcome")]
    pub outcome: Outcome,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code")]
    pub code: Option<ErrorCode>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How often, where such events are summed; the rest is that of the first one.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

fn door<S: Serializer>(door: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(door.as_str())
}

fn what<S: Serializer>(what: &What, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(what.as_str())
}

fn outcome<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

fn code<S: Serializer>(code: &Option<ErrorCode>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.map_or("", ErrorCode::as_str))
}

impl Event {
    /// Something that was done.
    #[must_use]
    pub fn done(at: WallMillis, what: What, who: Who, target: Target) -> Self {
        Self { at, what, who, target, outcome: Outcome::Done, code: None, request: None, count: 1 }
    }

    /// The same with another end.
    #[must_use]
    pub fn ended(self, outcome: Outcome, code: Option<ErrorCode>) -> Self {
        Self { outcome, code, ..self }
    }

    /// A change of a configuration that was written.
    #[must_use]
    pub fn of_change(change: &ChangeRow, at: WallMillis) -> Self {
        let what = match change.operation {
            Operation::Create | Operation::Update => What::Publish,
            Operation::Remove => What::Remove,
        };
        let target = Target::config(&change.state.key, Some(change.state.version.0));
        let request = Some(change.request_id.as_str().to_owned());
        Self { request, ..Self::done(at, what, who_of(&change.origin), target) }
    }

    /// What was wanted of each key of a request that wrote nothing.
    pub fn of_unwritten(
        unit: &WriteRequest,
        at: WallMillis,
        outcome: Outcome,
        code: Option<ErrorCode>,
    ) -> impl Iterator<Item = Self> {
        unit.items.iter().map(move |item| {
            let what = match &item.change {
                write_request::Change::Put { .. } => What::Publish,
                write_request::Change::Remove => What::Remove,
            };
            let event = Self::done(at, what, who_of(&unit.origin), Target::config(&item.key, None));
            Self { request: Some(unit.request_id.as_str().to_owned()), ..event.ended(outcome, code) }
        })
    }

    /// A change of users, roles, tokens or keys.
    #[must_use]
    pub fn of_access(change: &Change, who: Who, at: WallMillis) -> Self {
        let (what, target) = access(change);
        Self::done(at, what, who, target)
    }
}

fn who_of(origin: &write_request::Origin) -> Who {
    Who { user: origin.operator.clone(), address: origin.source_address.clone(), door: origin.channel }
}

fn access(change: &Change) -> (What, Target) {
    let some = |name: &String| Some(name.clone());
    let user = |name: &String| Target { user: some(name), ..Target::default() };
    let role = |name: &String| Target { role: some(name), ..Target::default() };
    let of_role = |name: &String, grants: &[Grant]| Target { grants: grants.iter().map(text).collect(), ..role(name) };
    match change {
        Change::AddUser { name, roles, .. } => {
            let roles = roles.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            (What::UserMade, Target { role: Some(roles).filter(|roles| !roles.is_empty()), ..user(name) })
        }
        Change::FirstAdministrator { name, .. } => {
            (What::UserMade, Target { role: Some(ADMIN_ROLE.to_owned()), ..user(name) })
        }
        Change::SignOn { name, external } => {
            let roles = external.roles.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            (What::SignedOn, Target { role: Some(roles).filter(|roles| !roles.is_empty()), ..user(name) })
        }
        Change::SetPassword { name, .. } => (What::PasswordSet, user(name)),
        Change::Enable { name, is_enabled: true } => (What::UserEnabled, user(name)),
        Change::Enable { name, is_enabled: false } => (What::UserDisabled, user(name)),
        Change::LogOut { name } => (What::LogOut, user(name)),
        Change::RemoveUser { name } => (What::UserRemoved, user(name)),
        Change::Assign { user, role: given, .. } => (What::RoleGiven, Target { user: some(user), ..role(given) }),
        Change::Withdraw { user: Some(user), role: taken } => {
            (What::RoleTaken, Target { user: some(user), ..role(taken) })
        }
        Change::Withdraw { user: None, role: removed } => (What::RoleRemoved, role(removed)),
        Change::SetRole { name, role: Role { grants, .. } } => (What::RoleSet, of_role(name, grants)),
        Change::Grant { role, grant } => (What::Granted, of_role(role, std::slice::from_ref(grant))),
        Change::Revoke { role, grant } => (What::Revoked, of_role(role, std::slice::from_ref(grant))),
        Change::AddToken { id, token } => {
            let grants = token.grants.iter().flatten().map(text).collect();
            (What::TokenMade, Target { token: some(id), grants, ..user(&token.user) })
        }
        Change::RemoveToken { id } => (What::TokenRemoved, Target { token: some(id), ..Target::default() }),
        Change::AddKey { id, .. } | Change::AddDataKey { id, .. } => {
            (What::KeyMade, Target { key: some(id), ..Target::default() })
        }
        Change::SealDataKeys(sealed) => {
            let ids = sealed.keys().map(String::as_str).collect::<Vec<_>>().join(",");
            (What::KeysSealed, Target { key: Some(ids), ..Target::default() })
        }
    }
}

/// `read,write public/app/*`.
fn text(Grant { scope, actions }: &Grant) -> String {
    let actions = actions.iter().map(|action: &Action| action.as_str()).collect::<Vec<_>>().join(",");
    format!("{actions} {}/{}/{}", scope.namespace.as_str(), scope.group.as_str(), scope.data_id.as_str())
}

/// The body of a record, as JSON: its fields stand in this order.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    /// What happened.
    pub events: &'a [Event],
    /// How far the chains of other nodes go, as the writer sees them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: &'a BTreeMap<String, Head>,
    /// What was removed with this record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<&'a Pruned>,
}

/// The records of a chain up to `through` were removed, by their age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Whose chain.
    pub node: String,
    /// The last that was removed.
    pub through: Head,
}

/// What a body says of chains; the rest of it is not read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Claims {
    /// How far the chains of other nodes went.
    #[serde(default)]
    pub heads: BTreeMap<String, Head>,
    /// What was removed.
    #[serde(default)]
    pub pruned: Option<Pruned>,
}
