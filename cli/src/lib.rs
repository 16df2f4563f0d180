//! The client commands, `callboard get|put|rm|ls|watch|history|clients|pushes|nodes|actors` and those about who may do
//! what: what people and scripts ask of a running cluster.
//!
//! Reading order: `arguments` (what can be asked) · `preferences` (which nodes, and how to print) · `credentials`,
//! `logins` (who asks) · `failure` (the exit codes) · `session` (the way to a node) · `get`, `put`, `remove`, `list`,
//! `watch` (over the session) · `rest` (the way to that node's REST interface) · `history`, `clients`, `pushes`,
//! `nodes`, `actors`, `login`, `single_sign_on`, `users`, `roles`, `tokens`, `audit` (over it) · `table`, `output`
//! (what is printed).
//!
//! They are a client: they open no data directory and read none of a node's settings. Standard output has the answer
//! and nothing else; what else there is to say goes to standard error.

// They panic where nobody can be told.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod actors;
mod arguments;
mod audit;
mod clients;
mod credentials;
mod failure;
mod get;
mod history;
mod list;
mod login;
mod logins;
mod nodes;
mod output;
mod preferences;
mod pushes;
mod put;
mod remove;
mod rest;
mod roles;
mod session;
mod single_sign_on;
mod table;
mod tokens;
mod users;
mod watch;

use std::time::Duration;

pub use arguments::{
    ActorsOptions, Area, AuditCommand, AuditExport, AuditList, AuditTime, AuditVerify, Bound, ClientFilter,
    ClientsOptions, Common, Credentials, EXIT_CODES, Format, GetOptions, GrantOptions, HistoryOptions, KeyCommand,
    ListOptions, LoginOptions, LogoutOptions, Membership, Named, Namespace, NewPassword, NewRole, NewToken, NewUser,
    NodesOptions, Nothing, OneName, OneToken, PasswordOptions, PushesOptions, PutCondition, PutOptions, Record,
    RemoveOptions, Request, RevokeOptions, RoleCommand, TokenCommand, UserCommand, WatchOptions,
};
pub use credentials::Secret;
pub use failure::Failure;

use credentials::Shown;
use preferences::Preferences;

/// What a command needs besides its own options.
#[derive(Debug)]
struct Setting {
    preferences: Preferences,
    shown: Shown,
    timeout: Duration,
}

/// Asks, and prints the answer to standard output.
///
/// # Errors
/// [`Failure`] has the exit code, and says what to do.
pub fn run(request: Request) -> Result<(), Failure> {
    let (common, namespace) = request.shared();
    let environment = |name: &str| std::env::var_os(name);
    let preferences = Preferences::load(common, namespace, environment)?;
    let shown = match &request {
        Request::Login(LoginOptions { sso: Some(_), .. }) => Shown::Nothing,
        Request::Login(_) => login::who(common, environment)?,
        _ => Shown::load(&common.credentials, &preferences, environment)?,
    };
    let setting = Setting { preferences, shown, timeout: common.timeout };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Server(format!("cannot start: {error}")))?;
    runtime.block_on(carry_out(request, &setting))
}

async fn carry_out(request: Request, setting: &Setting) -> Result<(), Failure> {
    match request {
        Request::Get(options) => get::run(&options, setting).await,
        Request::Put(options) => put::run(options, setting).await,
        Request::Rm(options) => remove::run(options, setting).await,
        Request::Ls(options) => list::run(options, setting).await,
        Request::Watch(options) => watch::run(&options, setting).await,
        Request::History(options) => history::run(&options, setting).await,
        Request::Clients(options) => clients::run(&options, setting).await,
        Request::Pushes(options) => pushes::run(&options, setting).await,
        Request::Nodes(_) => nodes::run(setting).await,
        Request::Actors(options) => actors::run(&options, setting).await,
        Request::Login(LoginOptions { sso: Some(address), .. }) => single_sign_on::log_in(&address, setting).await,
        Request::Login(_) => login::log_in(setting).await,
        Request::Logout(options) => login::log_out(&options, setting).await,
        Request::Whoami(_) => login::who_am_i(setting).await,
        Request::User(command) => users::run(&command, setting).await,
        Request::Role(command) => roles::run(&command, setting).await,
        Request::Grant(options) => roles::grant(&options, setting).await,
        Request::Revoke(options) => roles::revoke(&options, setting).await,
        Request::Token(command) => tokens::run(&command, setting).await,
        Request::Key(command) => tokens::keys(&command, setting).await,
        Request::Audit(command) => audit::run(&command, setting).await,
    }
}

impl Request {
    /// The options that every command has, and the namespace where there is one.
    fn shared(&self) -> (&Common, Option<&Namespace>) {
        match self {
            Self::Get(options) => (&options.common, Some(&options.named.namespace)),
            Self::Put(options) => (&options.common, Some(&options.named.namespace)),
            Self::Rm(options) => (&options.common, Some(&options.named.namespace)),
            Self::Ls(options) => (&options.common, Some(&options.namespace)),
            Self::Watch(options) => (&options.common, Some(&options.namespace)),
            Self::History(options) => (&options.common, Some(&options.named.namespace)),
            Self::Clients(options) => (&options.common, Some(&options.namespace)),
            Self::Pushes(options) => (&options.common, Some(&options.named.namespace)),
            Self::Nodes(options) => (&options.common, None),
            Self::Actors(options) => (&options.common, None),
            Self::Login(options) => (&options.common, None),
            Self::Whoami(options) => (&options.common, None),
            Self::Logout(options) => (&options.common, None),
            Self::User(command) => (command.common(), None),
            Self::Role(command) => (command.common(), None),
            Self::Grant(options) => (&options.common, None),
            Self::Revoke(options) => (&options.common, None),
            Self::Token(command) => (command.common(), None),
            Self::Key(command) => (command.common(), None),
            Self::Audit(command) => (command.common(), None),
        }
    }
}
