//! What can be asked about who may do what: logging in, users, roles, grants, tokens and keys; and who asks.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Common;
use crate::credentials::Secret;

/// Who asks. Without any of it, what `callboard login` kept is shown.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Who asks")]
pub struct Credentials {
    /// A token; others who are logged in to this machine can see it, so rather use --token-file
    ///
    /// [env: CALLBOARD_CLIENT_TOKEN] Flags win over the variable, and this over what `callboard login` kept.
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with_all = ["token_file", "user"])]
    pub token: Option<Secret>,
    /// The file with a token
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// A user, who is asked for the password where --password-file does not name it [env: CALLBOARD_CLIENT_PASSWORD]
    #[arg(long, value_name = "NAME", value_parser = user)]
    pub user: Option<String>,
    /// The file with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
}

/// Options of a command that takes nothing else.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Nothing {
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of a command about one thing.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct OneName {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `login`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct LoginOptions {
    /// Log in by the cluster's provider of single sign-on, in a browser on any device; URL is where a node serves HTTP,
    /// unless that is port 8848 of the first one of --nodes
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(conflicts_with_all = ["token", "token_file", "user"])]
    pub sso: Option<String>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `logout`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct LogoutOptions {
    /// End every log-in of the user, on all machines and in the console
    #[arg(long)]
    pub everywhere: bool,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// `callboard user …`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum UserCommand {
    /// Make a user
    Add(NewUser),
    /// List the users
    Ls(Nothing),
    /// Look at a user, and at what the user's roles allow
    Show(OneName),
    /// Remove a user, with the tokens of that user
    Rm(OneName),
    /// Let a user in again
    Enable(OneName),
    /// Let a user in no longer, neither by password nor by tokens
    Disable(OneName),
    /// Give a user, or yourself, another password; every log-in of the user ends
    Password(PasswordOptions),
    /// End every log-in of a user; tokens stay
    Logout(OneName),
}

/// Where a new password comes from: asked for twice at a terminal, unless one of these is given.
#[derive(Debug, Clone, PartialEq, Args)]
#[group(multiple = false)]
pub struct NewPassword {
    /// The file with the new password
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
    /// Make a password up, and print it once
    #[arg(long)]
    pub generate: bool,
}

/// Options of `user add`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(group(ArgGroup::new("its_password").args(["new_password_file", "generate", "no_password"])))]
pub struct NewUser {
    /// The name of the user
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A role of the user; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: NewPassword,
    /// For a program, which comes by tokens alone
    #[arg(long)]
    pub no_password: bool,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `user password`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct PasswordOptions {
    /// The user; yourself when none is named, and then the present password is asked for
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: NewPassword,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// `callboard role …`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum RoleCommand {
    /// Make a role, which allows nothing until `callboard grant`
    Add(NewRole),
    /// List the roles, with what they allow
    Ls(Nothing),
    /// Remove a role, from all users who have it
    Rm(OneName),
    /// Give a user a role
    Give(Membership),
    /// Take a role from a user
    Take(Membership),
}

/// Options of `role add`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct NewRole {
    /// The name of the role
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Describes the role
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `role give` and `role take`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Membership {
    /// The user
    #[arg(value_name = "USER")]
    pub member: String,
    /// The role
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// For which configurations something is allowed.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Area {
    /// Their namespaces; `*` stands for any text
    #[arg(long, short, value_name = "PATTERN", default_value = "*")]
    pub namespace: String,
    /// Their groups; `*` stands for any text
    #[arg(long, short, value_name = "PATTERN", default_value = "*")]
    pub group: String,
    /// Their data ids; `*` stands for any text
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub data_id: String,
}

/// Options of `grant`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GrantOptions {
    /// The role
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// What is allowed
    #[arg(value_name = "ACTION", required = true, value_parser = ACTIONS)]
    pub actions: Vec<String>,
    /// For what.
    #[command(flatten)]
    pub area: Area,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `revoke`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RevokeOptions {
    /// The role
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// What is allowed no longer; all when none is named
    #[arg(value_name = "ACTION", value_parser = ACTIONS)]
    pub actions: Vec<String>,
    /// The patterns of the grant, as they were given.
    #[command(flatten)]
    pub area: Area,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// `callboard token …`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a program, and print it once
    Add(NewToken),
    /// List the tokens: all for administrators, else your own
    Ls(Nothing),
    /// Remove a token: whoever holds it is cut off
    Rm(OneToken),
}

/// Options of `token add`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct NewToken {
    /// Limits it to these actions, of what the user may do; no limit when none is named
    #[arg(value_name = "ACTION", value_parser = ACTIONS)]
    pub actions: Vec<String>,
    /// For what they are; only with actions.
    #[command(flatten)]
    pub area: Area,
    /// The user as whom its holder comes; yourself when none is named
    #[arg(long = "for", value_name = "USER")]
    pub holder: Option<String>,
    /// For how many days it is taken; until it is removed when it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: Option<u32>,
    /// Describes the token
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `token rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct OneToken {
    /// The id of the token, as `callboard token ls` shows it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// `callboard key …`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum KeyCommand {
    /// List the keys that sign log-ins
    Ls(Keys),
    /// Sign log-ins by a new key; nobody has to log in again
    Rotate(Keys),
}

/// Options of `key ls` and `key rotate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Keys {
    /// The keys that seal secrets, not those that sign log-ins
    #[arg(long)]
    pub secrets: bool,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// What can be allowed.
pub(crate) const ACTIONS: [&str; 6] = ["read", "write", "gray", "secret", "manage", "admin"];

impl UserCommand {
    /// Where to ask.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Add(options) => &options.common,
            Self::Ls(options) => &options.common,
            Self::Password(options) => &options.common,
            Self::Show(options)
            | Self::Rm(options)
            | Self::Enable(options)
            | Self::Disable(options)
            | Self::Logout(options) => &options.common,
        }
    }
}

impl RoleCommand {
    /// Where to ask.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Add(options) => &options.common,
            Self::Ls(options) => &options.common,
            Self::Rm(options) => &options.common,
            Self::Give(options) | Self::Take(options) => &options.common,
        }
    }
}

impl TokenCommand {
    /// Where to ask.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Add(options) => &options.common,
            Self::Ls(options) => &options.common,
            Self::Rm(options) => &options.common,
        }
    }
}

impl KeyCommand {
    /// Where to ask.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Ls(options) | Self::Rotate(options) => &options.common,
        }
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() {
        return Err("expected a token".to_owned());
    }
    Ok(Secret::from(text))
}

/// What stands before the colon of `user:password`.
fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(':') {
        return Err("expected the name of a user; the password is asked for, or comes by --password-file".to_owned());
    }
    Ok(text.to_owned())
}
