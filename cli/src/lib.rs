//! The client commands, `callboard get|put|rm|ls|watch|history|clients|pushes|nodes|actors`: what people and scripts
//! ask of a running cluster.
//!
//! Reading order: `arguments` (what can be asked) · `preferences` (which nodes, and how to print) · `failure` (the exit
//! codes) · `session` (the way to a node) · `get`, `put`, `remove`, `list`, `watch` (over the session) · `rest` (the
//! way to that node's REST interface) · `history`, `clients`, `pushes`, `nodes`, `actors` (over it) · `table`, `output`
//! (what is printed).
//!
//! They are a client: they open no data directory and read none of a node's settings. Standard output has the answer
//! and nothing else; what else there is to say goes to standard error.

// They panic where nobody can be told.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod actors;
mod arguments;
mod clients;
mod failure;
mod get;
mod history;
mod list;
mod nodes;
mod output;
mod preferences;
mod pushes;
mod put;
mod remove;
mod rest;
mod session;
mod table;
mod watch;

use std::time::Duration;

pub use arguments::{
    ActorsOptions, Bound, ClientFilter, ClientsOptions, Common, EXIT_CODES, Format, GetOptions, HistoryOptions,
    ListOptions, Named, Namespace, NodesOptions, PushesOptions, PutCondition, PutOptions, Record, RemoveOptions,
    Request, WatchOptions,
};
pub use failure::Failure;

use preferences::Preferences;

/// What a command needs besides its own options.
#[derive(Debug)]
struct Setting {
    preferences: Preferences,
    timeout: Duration,
}

/// Asks, and prints the answer to standard output.
///
/// # Errors
/// [`Failure`] has the exit code, and says what to do.
pub fn run(request: Request) -> Result<(), Failure> {
    let (common, namespace) = request.shared();
    let preferences = Preferences::load(common, namespace, |name| std::env::var_os(name))?;
    let setting = Setting { preferences, timeout: common.timeout };
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
        }
    }
}
