//! The command line: which command was asked for and which settings were given as flags.
//! Every setting gets its flag from the table of keys; values are only checked by [`crate::settings::load`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches as _};

use crate::bench::{self, Measure};
use crate::settings::{Flags, Key};

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run the node. Also when no command is given.
    Serve,
    /// Bring the database to the form this version expects, then stop.
    Migrate,
    /// Print the settings in force.
    ShowConfig {
        /// Say for each value where it came from.
        with_origin: bool,
    },
    /// Measure a server. Takes no settings.
    Bench(Measure),
    /// Print a new cluster key.
    ClusterKey,
    /// Take the row of a dead node out of the database.
    RemoveNode {
        /// Its id.
        id: String,
    },
}

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// The settings given as flags.
    pub flags: Flags,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Wrong usage, and also `--help` and `--version`: the error prints itself to the right stream and knows its exit code.
pub fn parse<I>(arguments: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let matches = grammar().try_get_matches_from(arguments)?;
    if let Some(("bench", inner)) = matches.subcommand() {
        return parse_bench(inner);
    }
    let (command, innermost) = command_of(&matches);
    Ok(Invocation { command, flags: flags_of(innermost) })
}

/// What follows the word `bench` has a grammar of its own, without the flags of the settings.
fn parse_bench(matches: &ArgMatches) -> Result<Invocation, clap::Error> {
    let flags = flags_of(matches);
    if flags.config.is_some() || !flags.values.is_empty() {
        let message = "the settings of a node do not apply to bench\n";
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
    }
    let arguments = matches.get_many::<OsString>("arguments").unwrap_or_default().cloned();
    let program = OsString::from("callboard bench");
    let matches = bench::grammar().try_get_matches_from([program].into_iter().chain(arguments))?;
    Ok(Invocation { command: Command::Bench(Measure::from_arg_matches(&matches)?), flags })
}

fn grammar() -> clap::Command {
    clap::Command::new("callboard")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A configuration centre: publish over REST, hear of it within milliseconds.")
        .after_help("Without a command the node is served. Flags win over CALLBOARD_… variables, these over --config.")
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .global(true)
                .help("TOML file with settings [env: CALLBOARD_CONFIG]"),
        )
        .args(Key::all().iter().map(setting))
        .subcommand(clap::Command::new("serve").about("Run the node (the default)"))
        .subcommand(clap::Command::new("migrate").about("Bring the database to the form this version expects"))
        .subcommand(
            clap::Command::new("bench")
                .about("Measure a node, or another server that speaks the Nacos v1 interface")
                .disable_help_flag(true)
                .arg(
                    Arg::new("arguments")
                        .num_args(0..)
                        .trailing_var_arg(true)
                        .allow_hyphen_values(true)
                        .value_parser(clap::value_parser!(OsString)),
                ),
        )
        .subcommand(clap::Command::new("cluster").about("Prepare a cluster").subcommand_required(true).subcommand(
            clap::Command::new("key").about("Print a new cluster key, the line of a file for --cluster-key-file"),
        ))
        .subcommand(
            clap::Command::new("node").about("Look after the nodes of a cluster").subcommand_required(true).subcommand(
                clap::Command::new("rm")
                    .about("Take the row of a dead node out of the database, when no node is left to do it")
                    .arg(Arg::new("id").required(true).value_name("ID").help("The id of the node")),
            ),
        )
        .subcommand(
            clap::Command::new("config").about("Look at the settings").subcommand_required(true).subcommand(
                clap::Command::new("show").about("Print the settings in force as TOML, passwords masked").arg(
                    Arg::new("origin")
                        .long("origin")
                        .action(ArgAction::SetTrue)
                        .help("Say for each value where it came from"),
                ),
            ),
        )
}

fn setting(key: &'static Key) -> Arg {
    let usage = format!("Allowed: {}\n[default: {}] [env: {}]", key.allowed(), key.default(), key.variable());
    let alias = (key.path() == "cluster.seeds").then_some("seeds");
    let flag = Arg::new(key.path())
        .long(key.flag())
        .visible_aliases(alias)
        .global(true)
        .help_heading("Settings")
        .help(key.summary())
        .long_help(format!("{}\n{usage}", key.meaning()));
    if key.default().is_bool() {
        flag.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag.value_name("VALUE")
    }
}

/// The command and the matches of its innermost word, to which clap carries the flags given anywhere on the line.
fn command_of(matches: &ArgMatches) -> (Command, &ArgMatches) {
    match matches.subcommand() {
        Some(("migrate", inner)) => (Command::Migrate, inner),
        Some(("cluster", cluster)) => (Command::ClusterKey, innermost(cluster)),
        Some(("node", node)) => {
            let remove = innermost(node);
            let id = remove.get_one::<String>("id").cloned().unwrap_or_default();
            (Command::RemoveNode { id }, remove)
        }
        Some(("config", config)) => match config.subcommand() {
            Some((_, show)) => (Command::ShowConfig { with_origin: show.get_flag("origin") }, show),
            None => (Command::ShowConfig { with_origin: false }, config),
        },
        Some((_, inner)) => (Command::Serve, inner),
        None => (Command::Serve, matches),
    }
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| inner)
}

fn flags_of(matches: &ArgMatches) -> Flags {
    let given = |key: &'static Key| matches.get_one::<String>(key.path()).map(|value| (key, value.clone()));
    Flags {
        config: matches.get_one::<PathBuf>("config").cloned(),
        values: Key::all().iter().filter_map(given).collect(),
    }
}

#[cfg(test)]
mod tests;
