//! What can be asked of a running cluster on the command line, and which values are refused at once. Opens no
//! connection and reads no file.

mod access;
mod audit;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

pub(crate) use self::access::Keys;
pub use self::access::{
    Area, Credentials, GrantOptions, KeyCommand, LoginOptions, LogoutOptions, Membership, NewPassword, NewRole,
    NewToken, NewUser, Nothing, OneName, OneToken, PasswordOptions, RevokeOptions, RoleCommand, TokenCommand,
    UserCommand,
};
pub use self::audit::{AuditCommand, AuditExport, AuditList, AuditTime, AuditVerify};
use super::preferences;

/// The group of a configuration when nobody names one; the same as in Nacos.
pub(crate) const DEFAULT_GROUP: &str = "DEFAULT_GROUP";

/// What the exit code of a client command says.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server failed, or no node could be reached
  2  wrong usage: nothing was done
  3  there is no such thing
  4  the condition does not hold, or what is there forbids it: nothing was written
  5  it is not known whether the change was made; standard error says how to go on, for a configuration by the
     idempotency key to ask again with
  6  not logged in, or not allowed: nothing was done";

/// A client command: something asked of a running cluster.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Request {
    /// Print the content of a configuration, byte for byte
    Get(GetOptions),
    /// Publish a configuration from a file or from standard input
    Put(PutOptions),
    /// Remove a configuration
    Rm(RemoveOptions),
    /// List configurations
    Ls(ListOptions),
    /// Print every change of configurations, and run a command at each
    ///
    /// The present state of what exists comes first, then each change. Of changes that follow each other faster than
    /// they are taken, only the newest of each configuration is shown. Ctrl-C ends it with exit code 0.
    Watch(WatchOptions),
    /// List the versions of a configuration, newest first
    History(HistoryOptions),
    /// List who is connected to the cluster, or look at one client
    Clients(ClientsOptions),
    /// See which clients were sent a version of a configuration, and what they made of it
    Pushes(PushesOptions),
    /// List the nodes of the cluster, as one of them sees it
    Nodes(NodesOptions),
    /// List the actors of a node, or look at one
    Actors(ActorsOptions),
    /// Log in with a password or by single sign-on, and keep what it gives for the commands that follow
    Login(LoginOptions),
    /// Forget what `callboard login` kept
    Logout(LogoutOptions),
    /// See who you are at a node, and what you may do
    Whoami(Nothing),
    /// Look after users
    #[command(subcommand)]
    User(UserCommand),
    /// Look after roles: what users may do
    #[command(subcommand)]
    Role(RoleCommand),
    /// Add to what a role allows
    Grant(GrantOptions),
    /// Take from what a role allows
    Revoke(RevokeOptions),
    /// Look after tokens: what programs show instead of a password
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look after the keys that sign log-ins
    #[command(subcommand)]
    Key(KeyCommand),
    /// See who did what, and verify that none of it was changed
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// Where to ask, and how to print the answer.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct Common {
    /// Nodes to ask, by the address of native sessions; one is enough
    ///
    /// One of them is chosen at random; it names the others. The port is 8850 when none is given. With callboards://
    /// before one of them, all are connected to by TLS. [env: CALLBOARD_CLIENT_NODES] [file: nodes] [default:
    /// 127.0.0.1:8850]
    #[arg(long, value_name = "[callboards://]HOST[:PORT],...", value_delimiter = ',', value_parser = preferences::node)]
    pub nodes: Vec<String>,
    /// File with the authorities to trust, as PEM, instead of the public ones; nodes are connected to by TLS
    ///
    /// [env: CALLBOARD_CLIENT_CA] [file: ca]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with a certificate to show to nodes, as PEM; nodes are connected to by TLS
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// File with the key of that certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// How long connecting may take, and then the request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive)]
    pub timeout: Duration,
    /// How to print the answer [file: output] [default: table]
    ///
    /// The file is ~/.config/callboard.toml, with the keys nodes, ca, namespace and output.
    #[arg(long, short, value_enum, value_name = "FORMAT", hide_possible_values = false)]
    pub output: Option<Format>,
    /// Who asks.
    #[command(flatten)]
    pub credentials: Credentials,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// The namespace to work in.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Namespace {
    /// Namespace [file: namespace] [default: public]
    #[arg(long, short, value_name = "ID")]
    pub namespace: Option<String>,
}

/// Names one configuration.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Named {
    /// The data id of the configuration
    #[arg(value_name = "DATA_ID")]
    pub data_id: String,
    /// The group of the configuration
    #[arg(long, short, value_name = "GROUP", default_value = DEFAULT_GROUP)]
    pub group: String,
    /// Its namespace.
    #[command(flatten)]
    pub namespace: Namespace,
}

/// How many items to show.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Bound {
    /// At most so many items; all when it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// Options of `get`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GetOptions {
    /// Which configuration.
    #[command(flatten)]
    pub named: Named,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `put`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct PutOptions {
    /// Which configuration.
    #[command(flatten)]
    pub named: Named,
    /// The file with the content; `-`, or none, is standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Its type, such as yaml, json, properties, xml, html, toml or text; unchanged when it is not given
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Under which condition.
    #[command(flatten)]
    pub condition: PutCondition,
    /// Describes the configuration; unchanged when it is not given
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Says whether the content is a secret: sealed in the database, shown by a grant for secrets alone; unchanged when
    /// it is not given
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub secret: Option<bool>,
    /// For the history.
    #[command(flatten)]
    pub record: Record,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// What must hold for a publish.
#[derive(Debug, Clone, PartialEq, Args)]
#[group(multiple = false)]
pub struct PutCondition {
    /// Only if the configuration is at this version
    #[arg(long, value_name = "N", value_parser = version())]
    pub if_version: Option<u64>,
    /// Only if the present content has this MD5 digest
    #[arg(long, value_name = "HEX", value_parser = md5)]
    pub if_md5: Option<String>,
    /// Only if the configuration does not exist
    #[arg(long)]
    pub if_absent: bool,
}

/// What is recorded of a change.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Record {
    /// Says why, for the history
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Names the request: asking again with the same key within a day changes nothing more
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
}

/// Options of `rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RemoveOptions {
    /// Which configuration.
    #[command(flatten)]
    pub named: Named,
    /// Only if the configuration is at this version
    #[arg(long, value_name = "N", value_parser = version())]
    pub if_version: Option<u64>,
    /// For the history.
    #[command(flatten)]
    pub record: Record,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `ls`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ListOptions {
    /// Only data ids that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// Only this group; all groups when it is not given
    #[arg(long, short, value_name = "GROUP")]
    pub group: Option<String>,
    /// Where they are.
    #[command(flatten)]
    pub namespace: Namespace,
    /// How many.
    #[command(flatten)]
    pub bound: Bound,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `watch`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct WatchOptions {
    /// The data ids of the configurations
    #[arg(value_name = "DATA_ID", required_unless_present = "prefix")]
    pub data_ids: Vec<String>,
    /// Instead of data ids: all that begin so; with an empty text, all
    #[arg(long, value_name = "TEXT", conflicts_with = "data_ids")]
    pub prefix: Option<String>,
    /// Their group [default: DEFAULT_GROUP; with --prefix, all groups]
    #[arg(long, short, value_name = "GROUP")]
    pub group: Option<String>,
    /// Where they are.
    #[command(flatten)]
    pub namespace: Namespace,
    /// Run `sh -c COMMAND` at each change, one at a time
    ///
    /// It gets the content on its standard input, and CONFIG_NAMESPACE, CONFIG_GROUP, CONFIG_DATA_ID, CONFIG_VERSION,
    /// CONFIG_TYPE, CONFIG_MD5 and CONFIG_REMOVED (true or false) in its environment. Operators see the version as
    /// applied when it ends with 0, as rejected otherwise.
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// End after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `history`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct HistoryOptions {
    /// Which configuration.
    #[command(flatten)]
    pub named: Named,
    /// Print the content of this version, byte for byte, instead of the list
    #[arg(long, value_name = "N", value_parser = version(), conflicts_with = "limit")]
    pub version: Option<u64>,
    /// How many.
    #[command(flatten)]
    pub bound: Bound,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `clients`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ClientsOptions {
    /// Look at this client alone, with everything that it watches
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Which of them.
    #[command(flatten)]
    pub filter: ClientFilter,
    /// Where the configuration is.
    #[command(flatten)]
    pub namespace: Namespace,
    /// How many.
    #[command(flatten)]
    pub bound: Bound,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Which clients are listed.
#[derive(Debug, Clone, PartialEq, Args)]
#[group(multiple = true, conflicts_with = "id")]
pub struct ClientFilter {
    /// Only clients with this id
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Only clients of this application
    #[arg(long, value_name = "NAME")]
    pub application: Option<String>,
    /// Only clients from this address
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Only clients with this label
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Option<String>,
    /// Only connections of this kind
    #[arg(long, value_name = "KIND", value_parser = ["tcp", "websocket", "stream", "long_poll", "grpc"])]
    pub kind: Option<String>,
    /// Only clients that watch this configuration
    #[arg(long, value_name = "DATA_ID")]
    pub data_id: Option<String>,
    /// The group of that configuration [default: DEFAULT_GROUP]
    #[arg(long, short, value_name = "GROUP", requires = "data_id")]
    pub group: Option<String>,
}

/// Options of `pushes`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct PushesOptions {
    /// Which configuration.
    #[command(flatten)]
    pub named: Named,
    /// The version; the present one when it is not given
    #[arg(long, value_name = "N", value_parser = version())]
    pub version: Option<u64>,
    /// Only clients at which the push stands so: pending, sent, applied, rejected, superseded, lost or held
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// How many.
    #[command(flatten)]
    pub bound: Bound,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `nodes`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct NodesOptions {
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `actors`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ActorsOptions {
    /// Look at this actor alone, such as reader-0
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Where to ask.
    #[command(flatten)]
    pub common: Common,
}

/// Version 0 stands for what never existed, and has an option of its own.
fn version() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

fn positive(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("expected a time longer than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("expected a time with a unit, such as 500ms or 10s: {error}")),
    }
}

fn md5(text: &str) -> Result<String, String> {
    if text.len() == 32 && text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("expected 32 hexadecimal digits".to_owned())
}

fn idempotency_key(text: &str) -> Result<String, String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 128 visible ASCII characters".to_owned())
}

#[cfg(test)]
mod tests;
